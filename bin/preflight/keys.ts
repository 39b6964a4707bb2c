import { commandText } from '../../lib/command-text.ts';
import type { Stage } from '../../lib/infrastructure/stages.ts';
import { ssmParameters } from '../../relay-task/environments/ssm-parameters.ts';
import type { EnvironmentDescription } from '../../relay-task/ports.ts';
import { describePrefixProblem } from '../../relay-task/store/redis-store.ts';
import { bad, type Check, good, note } from '../checks/check.ts';
import { isCluster, type RelayView } from './relay-view.ts';

const LONG_GRACE_MS = 31 * 86_400_000;

/** Checks one region's keys: every named environment has one, and every one is valid. */
export function keyChecks(stage: Stage, region: string, view: RelayView): Check[] {
  const { descriptions, remarks, unknown } = view;
  const checks: Check[] = [];
  const command = (verb: string, rest: string) => {
    const elsewhere = region === stage.homeRegion ? '' : ` --region ${region}`;
    return commandText('keys', `${verb} ${stage.name} ${rest}${elsewhere}`);
  };
  for (const name of stage.environments) {
    if (!descriptions.some(({ id }) => id === name)) {
      checks.push(bad('key', name, `environment ${name} has no key in ${region}`, command('put', `${name} sdk-key`)));
    }
  }
  if (descriptions.length === 0 && stage.environments.length === 0) {
    checks.push(bad('key', region, `no environments in ${region}`, command('put', '<environment> sdk-key')));
  }
  for (const description of descriptions) {
    const { problems = [], oddities = [] } = remarks.get(description.id) ?? {};
    for (const problem of problems)
      checks.push(bad('key', description.id, `${region}: ${problem}`, adviceOn(problem, command)));
    for (const oddity of oddities) {
      const advice = /does not begin with/.test(oddity) ? 'check that it is the right key' : undefined;
      checks.push(note('key', description.id, `${region}: ${oddity}`, advice));
    }
    if (problems.length === 0)
      checks.push(good('key', description.id, `environment ${description.id} in ${region}: ${keysOf(description)}`));
    checks.push(...previousChecks(description, region));
    const misfit = describePrefixProblem(description.prefix, { cluster: isCluster(stage.redis) });
    if (misfit !== undefined)
      checks.push(bad('key', description.id, `${region}: ${misfit}`, command('put', `${description.id} prefix`)));
    if (stage.environments.length > 0 && !stage.environments.includes(description.id)) {
      checks.push(
        note(
          'key',
          description.id,
          `environment ${description.id} in ${region} is served, but the stage file does not name it`,
        ),
      );
    }
  }
  for (const name of unknown) {
    const known = Object.keys(ssmParameters).join(', ');
    checks.push(note('key', name, `${region}: the relay ignores the parameter ${name}`, `it knows ${known}`));
  }
  const prefix = stage.edge?.prefix;
  if (prefix !== undefined && region === stage.homeRegion && !descriptions.some((one) => one.prefix === prefix)) {
    const there = descriptions.map((one) => one.prefix).join(', ');
    checks.push(
      bad(
        'edge-prefix',
        prefix,
        `the edge reads the prefix ${prefix}, which no environment has`,
        there === '' ? 'put the environment’s SDK key first' : `set edge.prefix to one of these: ${there}`,
      ),
    );
  }
  if (region === stage.homeRegion) checks.push(...heartbeatChecks(stage, descriptions, command));
  return checks;
}

/** Relay and edge measure the way of one flag. */
function heartbeatChecks(
  { edge, relay }: Stage,
  descriptions: readonly EnvironmentDescription[],
  command: (verb: string, rest: string) => string,
): Check[] {
  const description = descriptions.find(({ prefix }) => prefix === edge?.prefix);
  if (!edge?.heartbeatFlag || !description) return [];
  const { id } = description;
  const followed = description.heartbeatFlag ?? relay.variables.HEARTBEAT_FLAG;
  if (followed === edge.heartbeatFlag) return [];
  const instead = followed === undefined ? 'none' : followed;
  return [
    note(
      'heartbeat-flag',
      id,
      `edge.heartbeatFlag is ${edge.heartbeatFlag}, and the relay's heartbeat flag of ${id} is ${instead}: it sends and measures no heartbeat that reaches the edge`,
      `${command('put', `${id} heartbeat-flag`)}, with ${edge.heartbeatFlag}`,
    ),
  ];
}

/** Each region's relays read that region's keys, so they must be the same. */
export function differenceChecks(home: RelayView, region: string, view: RelayView): Check[] {
  const keysOf = ({ descriptions }: RelayView) => new Map(descriptions.map(({ id, sdkKey }) => [id, sdkKey]));
  const here = keysOf(view);
  return [...keysOf(home)].flatMap(([id, sdkKey]) =>
    here.has(id) && here.get(id) !== sdkKey
      ? [
          bad(
            'key',
            id,
            `environment ${id} has another SDK key in ${region} than at home`,
            'put or rotate the same key in both',
          ),
        ]
      : [],
  );
}

function previousChecks({ id, credentials }: EnvironmentDescription, region: string): Check[] {
  return credentials.flatMap(({ expiresAt = 0 }) =>
    expiresAt - Date.now() > LONG_GRACE_MS
      ? [
          note(
            'key',
            id,
            `${region}: the previous SDK key of ${id} works until ${new Date(expiresAt).toISOString()}`,
            'that is more than a month; check previous-sdk-key-until',
          ),
        ]
      : [],
  );
}

function keysOf({ credentials, flagsFile }: EnvironmentDescription): string {
  const kinds = new Set(credentials.map(({ kind }) => kind));
  const words = [
    ...(kinds.has('sdkKey') ? ['SDK key'] : []),
    ...(kinds.has('mobileKey') ? ['mobile key'] : []),
    ...(kinds.has('environmentId') ? ['client-side ID'] : []),
    ...(flagsFile === undefined ? [] : ['flags file']),
  ];
  return words.join(', ');
}

function adviceOn(problem: string, command: (verb: string, rest: string) => string): string | undefined {
  const [, environment, parameter] = /^([\w.-]+)\/([\w-]+)/.exec(problem) ?? [];
  if (environment === undefined || parameter === undefined) return undefined;
  if (/cannot be read/.test(problem))
    return 'these credentials and the relay’s role need kms:Decrypt for the key that encrypts it (docs/keys.md)';
  return command(
    'put',
    `${environment} ${/no previous-sdk-key-until/.test(problem) ? 'previous-sdk-key-until' : parameter}`,
  );
}
