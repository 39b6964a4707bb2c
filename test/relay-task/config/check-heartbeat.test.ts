/** Settings of heartbeats without what they need. */
import { parseConfig, type Variables } from '../../../relay-task/config/config.ts';
import { problemsOf } from '../../support/config-rows.ts';

const one = { LD_ENV_a: 'sdk-a' };
const ssm = { KEYS_FROM_SSM: '/shop/environments' };
const autoConfig = { AUTO_CONFIG_KEY: 'rel-a' };
const archive = { FILE_DATA_SOURCE: '/flags.tar.gz' };
const sending = { HEARTBEAT_API_TOKEN: 'api-a', HEARTBEAT_PROJECT: 'shop' };
const inEach = 'HEARTBEAT_API_TOKEN, HEARTBEAT_PROJECT: no effect';

test.each<[string, Variables, readonly string[]]>([
  ['nothing names a flag', { ...one, ...sending }, [`${inEach} without HEARTBEAT_FLAG or LD_HEARTBEAT_FLAG_<name>`]],
  ['an environment has a flag', { ...one, ...sending, LD_HEARTBEAT_FLAG_a: 'heartbeat' }, []],
  [
    'nothing names the project of one that has a flag',
    {
      ...{ ...one, LD_ENV_b: 'sdk-b', LD_ENV_c: 'sdk-c', HEARTBEAT_API_TOKEN: 'api-a', LD_PROJ_KEY_b: 'shop' },
      ...{ LD_HEARTBEAT_FLAG_a: 'heartbeat', LD_HEARTBEAT_FLAG_b: 'heartbeat' },
    },
    [
      'HEARTBEAT_API_TOKEN: no heartbeats are sent to environment a, since nothing names the project of flag heartbeat: set HEARTBEAT_PROJECT or LD_PROJ_KEY_a',
    ],
  ],
  ['there is one flag for all', { ...one, ...sending, HEARTBEAT_FLAG: 'heartbeat' }, []],
  ['environments are in SSM, where any may have a flag', { ...ssm, ...sending }, []],
  // LD_HEARTBEAT_FLAG_<name> would be a second source of environments.
  ['LaunchDarkly names the environments', { ...autoConfig, ...sending }, [`${inEach} without HEARTBEAT_FLAG`]],
  [
    'flags come from an archive',
    { ...archive, HEARTBEAT_FLAG: 'heartbeat', HEARTBEAT_PROJECT: 'shop' },
    ['HEARTBEAT_FLAG, HEARTBEAT_PROJECT: no effect with FILE_DATA_SOURCE: flags of an archive are no heartbeats'],
  ],
  ['flags come from an archive, and nothing is set', archive, []],
])('what is without effect is told while %s', (_, variables, warnings) => {
  expect(parseConfig(variables).warnings).toEqual(warnings);
});

test.each<[string, Variables]>([
  ['with a flag', { ...one, HEARTBEAT_FLAG: 'heartbeat' }],
  ['with environments in SSM', ssm],
])('replicas cannot be asked without the flag table, %s', (_, variables) => {
  expect(problemsOf(() => parseConfig({ ...variables, HEARTBEAT_REPLICAS: 'eu-west-1' }))).toEqual([
    'HEARTBEAT_REPLICAS: needs the flag table: set USE_DYNAMODB and DYNAMODB_TABLE',
  ]);
});
