/** The keys commands with an SSM server, and how a relay reacts. */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { SSMClient } from '@aws-sdk/client-ssm';
import { runKeys } from '../../bin/keys/run.ts';
import { kmsKeyOf, otherRegionsOf } from '../../bin/keys/store.ts';
import { parseRevoked, ssmParameters } from '../../relay-task/environments/ssm-parameters.ts';
import { type SsmSource, startSsmSource } from '../../relay-task/environments/ssm-source.ts';
import type { EnvironmentDescription } from '../../relay-task/ports.ts';
import { eventually } from '../support/eventually.ts';
import { startFakeProxy } from '../support/fake-proxy.ts';
import { type FakeTerminal, personTyping, pipeOf } from '../support/fake-terminal.ts';
import { silentLog } from '../support/logs.ts';
import { type SsmServer, startSsmServer } from '../support/ssm-server.ts';

const root = join(import.meta.dirname, '../..');
const path = '/edge-flag-relay/dev/environments';
const first = 'sdk-11111111-aaaa-4aaa-8aaa-00000000beef';
const second = 'sdk-22222222-bbbb-4bbb-8bbb-00000000cafe';
const third = 'sdk-33333333-cccc-4ccc-8ccc-00000000f00d';
const mobile = 'mob-44444444-dddd-4ddd-8ddd-000000001234';
const secrets = [first, second, third, mobile];

let server: SsmServer;
const before = { ...process.env };

beforeEach(async () => {
  server = await startSsmServer();
  Object.assign(process.env, { AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'test', AWS_MAX_ATTEMPTS: '1' });
});

afterEach(async () => {
  await server.close();
  process.env = { ...before };
});

/** Runs a command, and checks that its output contains no key. */
async function keys(args: string, terminal: FakeTerminal = pipeOf()): Promise<number> {
  const exitCode = await runKeys([...args.split(' ').filter(Boolean), '--endpoint', server.endpoint], terminal);
  for (const secret of secrets) expect(terminal.printed() + terminal.said()).not.toContain(secret);
  return exitCode;
}

const stored = (name: string) => server.parameters.get(`${path}/${name}`);
const written = () => server.calls.filter(({ operation }) => /Put|Delete/.test(operation));

describe('npm run keys -- put', () => {
  test('stores a piped key as a SecureString, encrypted with the given KMS key', async () => {
    const terminal = pipeOf(`${first}\n`);
    expect(await keys('put dev production sdk-key --kms-key alias/flags', terminal)).toBe(0);
    expect(stored('production/sdk-key')).toMatchObject({
      ...{ value: first, type: 'SecureString', version: 1, keyId: 'alias/flags' },
    });
    expect(terminal.printed()).toBe('production/sdk-key …beef is version 1. Relays pick it up within a minute.\n');
  });

  test('prompts on a terminal, without echo', async () => {
    const terminal = personTyping(mobile);
    expect(await keys('put dev production mobile-key', terminal)).toBe(0);
    expect(terminal.said()).toBe('production/mobile-key (hidden): \n');
    expect(stored('production/mobile-key')?.value).toBe(mobile);
  });

  test('stores plain settings as plain strings', async () => {
    expect(await keys('put dev production ttl', pipeOf('1m30s\n'))).toBe(0);
    expect(stored('production/ttl')).toMatchObject({ value: '1m30s', type: 'String' });
  });

  test.each([
    ['sdk-key', '', 'sdk-key must be a value; got none\n'],
    ['sdk-key', 'two words', 'sdk-key must be one word without spaces: the key and nothing else\n'],
    ['ttl', '90', 'ttl must be a duration with a unit, such as 30s, 1m30s or 250ms\n'],
    ['client-side-id', first, 'client-side-id must be a client-side ID, not an SDK key\n'],
    ['sdk-key', mobile, 'sdk-key must be an SDK key, not a mobile key\n'],
    ['mobile-key', '5f0000000000000000000005', 'mobile-key must be a mobile key, not a client-side ID\n'],
    ['prefix', first, 'prefix must be a setting, not a secret key\n'],
    [
      'previous-sdk-key-until',
      'soon',
      'previous-sdk-key-until must be a date and time with its zone, such as 2026-11-22T08:00:00Z\n',
    ],
  ])('rejects %s=%j, says what is expected, and writes nothing', async (what, value, message) => {
    const terminal = pipeOf(value);
    expect(await keys(`put dev production ${what}`, terminal)).toBe(1);
    expect(terminal.said()).toBe(message);
    expect(written()).toEqual([]);
  });

  test('accepts a key with an unusual prefix, and prints a note', async () => {
    const terminal = pipeOf('key-of-another-form');
    expect(await keys('put dev production sdk-key', terminal)).toBe(0);
    expect(terminal.said()).toMatch(/does not begin with sdk-/);
  });

  test.each([
    ['sdk-key', 'sdk-key', first],
    ['sdk-key', 'previous-sdk-key', first],
    ['previous-sdk-key', 'sdk-key', first],
    ['mobile-key', 'mobile-key', mobile],
    ['client-side-id', 'client-side-id', '5f0000000000000000000005'],
  ])(
    'rejects the %s that another environment has as its %s, names that environment, and writes nothing',
    async (what, theirs, value) => {
      server.put(`${path}/production/${theirs}`, value);
      const terminal = pipeOf(value);
      expect(await keys(`put dev staging ${what} --yes`, terminal)).toBe(1);
      expect(terminal.said()).toBe(
        `production/${theirs} already has this value. Each environment needs its own: copy the one of staging from LaunchDarkly\n`,
      );
      expect(written()).toEqual([]);
    },
  );

  test.each([
    ['expired there', () => server.put(`${path}/production/previous-sdk-key-until`, '2020-01-01T00:00:00Z')],
    ['was revoked there', () => server.put(`${path}/production/revoked`, '*')],
  ])('accepts a previous SDK key of another environment that %s', async (_, end) => {
    server.put(`${path}/production/previous-sdk-key`, first);
    end();
    expect(await keys('put dev staging sdk-key', pipeOf(first))).toBe(0);
  });

  test.each([
    ['a person who answers no', () => personTyping(second, 'n'), 'declined'],
    ['a person who presses Ctrl-C', () => personTyping('^C'), 'no answer'],
    ['a pipe, which cannot be prompted', () => pipeOf(second), 'pass --yes'],
  ])('does not replace an SDK key for %s', async (_, open, message) => {
    await keys('put dev production sdk-key', pipeOf(first));
    const terminal = open();
    expect(await keys('put dev production sdk-key', terminal)).toBe(1);
    expect(terminal.said()).toContain(message);
    expect(stored('production/sdk-key')).toMatchObject({ value: first, version: 1 });
  });

  test.each([
    ['a person who answers yes', '', () => personTyping(second, 'y')],
    ['a pipe with --yes', ' --yes', () => pipeOf(second)],
  ])('replaces an SDK key for %s', async (_, more, open) => {
    await keys('put dev production sdk-key', pipeOf(first));
    expect(await keys(`put dev production sdk-key${more}`, open())).toBe(0);
    expect(stored('production/sdk-key')).toMatchObject({ value: second, version: 2 });
  });
});

test.each([
  [`put dev production sdk-key ${first}`, /looks like a key.*Treat this key as compromised/],
  [`put dev production --value=${first}`, /looks like a key/],
  [`put dev production sdk-key=${first}`, /looks like a key/],
  ['put dev production sdk-key hunter2hunter2', /Too many arguments\. The extra one is not shown/],
  ['put dev production sdkkey', /<what> must be one of sdk-key, previous-sdk-key/],
  ['put dev production revoked', /<what> must be one of/],
  ['put dev', /<environment> is required/],
  ['put dev a/b sdk-key', /<environment> is required/],
  ['revoke dev production prefix', /<what> must be one of sdk-key, previous-sdk-key, mobile-key/],
  ['rotate dev production --grace 24', /--grace must be a duration/],
  ['rotate dev production --ends', /--ends does not apply to rotate/],
  ['list dev --frobnicate', /Unknown option --frobnicate: expected one of --region, /],
  ['list', /<stage> is required/],
  ['delete dev', /Unknown command delete: expected one of list, put, rotate, revoke/],
])('npm run keys -- %s is a usage error: exits with 2, without a request to AWS', async (args, message) => {
  const terminal = pipeOf(second);
  expect(await keys(args, terminal)).toBe(2);
  expect(terminal.said()).toMatch(message);
  expect(terminal.said()).not.toContain('hunter2');
  expect(server.calls).toEqual([]);
});

describe('npm run keys -- rotate', () => {
  const rotateTo = (value: string, more = '') => keys(`rotate dev production${more}`, pipeOf(value));

  test('writes the previous key, then its expiry, then the new key', async () => {
    await keys('put dev production sdk-key', pipeOf(first));
    const startedAt = Date.now();
    server.calls.length = 0;
    expect(await rotateTo(second, ' --grace 2h')).toBe(0);
    expect(written().flatMap(({ names }) => names)).toEqual([
      `${path}/production/previous-sdk-key`,
      `${path}/production/previous-sdk-key-until`,
      `${path}/production/sdk-key`,
    ]);
    expect(stored('production/previous-sdk-key')).toMatchObject({ value: first, type: 'SecureString' });
    expect(stored('production/sdk-key')).toMatchObject({ value: second, type: 'SecureString' });
    const until = Date.parse(stored('production/previous-sdk-key-until')?.value ?? '');
    expect(until).toBeGreaterThanOrEqual(startedAt + 7_199_000);
    expect(until).toBeLessThanOrEqual(Date.now() + 7_200_000);
  });

  test('requires an existing key and a new key that differs from it', async () => {
    expect(await rotateTo(second)).toBe(1);
    await keys('put dev production sdk-key', pipeOf(first));
    server.calls.length = 0;
    expect(await rotateTo(first)).toBe(1);
    expect(written()).toEqual([]);
  });

  test('asks before it ends the grace period of an older key', async () => {
    await keys('put dev production sdk-key', pipeOf(first));
    await rotateTo(second);
    expect(await rotateTo(third)).toBe(1);
    expect(stored('production/sdk-key')?.value).toBe(second);
    expect(await rotateTo(third, ' --yes')).toBe(0);
    expect(stored('production/previous-sdk-key')?.value).toBe(second);
  });

  test.each(['sdk-key', 'previous-sdk-key'])(
    'rejects a new key that another environment has as its %s, names that environment, and writes nothing',
    async (theirs) => {
      server.put(`${path}/production/${theirs}`, first);
      server.put(`${path}/staging/sdk-key`, second);
      const terminal = pipeOf(first);
      expect(await keys('rotate dev staging --yes', terminal)).toBe(1);
      expect(terminal.said()).toBe(
        `production/${theirs} already has this value. Each environment needs its own: copy the one of staging from LaunchDarkly\n`,
      );
      expect(written()).toEqual([]);
    },
  );

  test('can be run again after it failed halfway', async () => {
    await keys('put dev production sdk-key', pipeOf(first));
    server.before(({ operation, names }) => {
      if (operation === 'PutParameter' && names[0]?.endsWith('production/sdk-key')) server.deny('PutParameter');
    });
    expect(await rotateTo(second)).toBe(1);
    server.before(undefined);
    server.heal();
    expect(await rotateTo(second)).toBe(0);
    expect(stored('production/previous-sdk-key')?.value).toBe(first);
    expect(stored('production/sdk-key')?.value).toBe(second);
  });
});

describe('npm run keys, while another key of the stage cannot be decrypted', () => {
  const denied = ['aaa/sdk-key', 'production/mobile-key', 'zzz/previous-sdk-key', 'zzz/sdk-key'];

  beforeEach(() => {
    server.put(`${path}/production/sdk-key`, first);
    for (const name of denied) server.put(`${path}/${name}`, third);
    server.put(`${path}/production/mobile-key`, mobile);
    server.forbid(...denied.map((name) => `${path}/${name}`));
  });

  test('list --ends shows all others, and says which one cannot be decrypted', async () => {
    const terminal = pipeOf();
    expect(await keys('list dev --ends', terminal)).toBe(0);
    const rows = terminal
      .printed()
      .trimEnd()
      .split('\n')
      .map((line) => line.split(/ {2,}/));
    expect(rows.map(([name, , , , value]) => [name, value]).slice(1)).toEqual([
      ['aaa/sdk-key', '(cannot be decrypted)'],
      ['production/mobile-key', '(cannot be decrypted)'],
      ['production/sdk-key', '…beef'],
      ['zzz/previous-sdk-key', '(cannot be decrypted)'],
      ['zzz/sdk-key', '(cannot be decrypted)'],
    ]);
    for (const name of denied) expect(terminal.said()).toMatch(`Cannot decrypt ${name}: AccessDeniedException`);
  });

  test('put stores a new key, and says with which it could not be compared', async () => {
    const terminal = pipeOf(second);
    expect(await keys('put dev shop sdk-key', terminal)).toBe(0);
    expect(stored('shop/sdk-key')?.value).toBe(second);
    expect(terminal.said()).toMatch(
      'could not compare it with aaa/sdk-key, zzz/previous-sdk-key, zzz/sdk-key: AccessDeniedException',
    );
  });

  test('put replaces the key that cannot be decrypted', async () => {
    expect(await keys('put dev aaa sdk-key --yes', pipeOf(second))).toBe(0);
    expect(stored('aaa/sdk-key')?.value).toBe(second);
  });

  test('rotate rotates', async () => {
    expect(await keys('rotate dev production', pipeOf(second))).toBe(0);
    expect(stored('production/previous-sdk-key')?.value).toBe(first);
    expect(stored('production/sdk-key')?.value).toBe(second);
  });

  test('rotate changes nothing if the key to be rotated is the one, and says what would', async () => {
    server.calls.length = 0;
    const terminal = pipeOf(second);
    expect(await keys('rotate dev aaa', terminal)).toBe(1);
    expect(terminal.said()).toMatch(
      /^aaa\/sdk-key cannot be decrypted, so it cannot become the previous key: Access.*`put dev aaa sdk-key` replaces it at once$/m,
    );
    expect(written()).toEqual([]);
  });

  test('revoke revokes a key that can be decrypted', async () => {
    expect(await keys('revoke dev production sdk-key --yes')).toBe(0);
    expect(stored('production/sdk-key')).toBeUndefined();
    expect(parseRevoked(stored('production/revoked')?.value).has(first)).toBe(true);
  });

  test('revoke revokes a key that cannot be decrypted once it is entered', async () => {
    const terminal = pipeOf(third);
    expect(await keys('revoke dev zzz previous-sdk-key --yes', terminal)).toBe(0);
    expect(terminal.said()).toMatch('zzz/previous-sdk-key is still to be revoked. For that, enter it.');
    expect(stored('zzz/previous-sdk-key')).toBeUndefined();
    expect(parseRevoked(stored('zzz/revoked')?.value).has(third)).toBe(true);
  });

  test('revoke revokes a whole environment', async () => {
    expect(await keys('revoke dev zzz environment --yes')).toBe(0);
    expect([...server.parameters.keys()].filter((name) => name.includes('zzz'))).toEqual([`${path}/zzz/revoked`]);
    expect(stored('zzz/revoked')?.value).toBe('*');
  });
});

describe('npm run keys -- list', () => {
  test('shows names, versions and plain settings, but no keys', async () => {
    await keys('put dev production sdk-key', pipeOf(first));
    await keys('put dev production ttl', pipeOf('30s'));
    // Stored with the wrong type by mistake, it still must not be shown.
    server.put(`${path}/staging/mobile-key`, mobile, { type: 'String' });
    server.put(`${path}/staging/sdk_key`, second, { type: 'String' });
    server.calls.length = 0;
    const terminal = pipeOf();
    expect(await keys('list dev', terminal)).toBe(0);
    const lines = terminal.printed().trimEnd().split('\n');
    expect(lines.map((line) => line.replace(/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d/, 'DATE').split(/ {2,}/))).toEqual([
      ['parameter', 'type', 'version', 'changed (UTC)', 'value'],
      ['production/sdk-key', 'SecureString', '1', 'DATE'],
      ['production/ttl', 'String', '1', 'DATE', '30s'],
      ['staging/mobile-key', 'String', '1', 'DATE'],
      ['staging/sdk_key', 'String', '1', 'DATE'],
    ]);
    expect(server.calls.some(({ decrypted }) => decrypted)).toBe(false);
    expect(terminal.said()).toBe(
      'Warning: staging/mobile-key is stored unencrypted, as a String: everyone who may list parameters can read the key. ' +
        'Delete it, put it again as a SecureString, and reset the key in LaunchDarkly.\n',
    );
  });

  test('shows the last four characters of keys with --ends', async () => {
    await keys('put dev production sdk-key', pipeOf(first));
    const terminal = pipeOf();
    await keys('list dev --ends', terminal);
    expect(terminal.printed()).toContain('…beef\n');
  });

  test('says that there are no environments', async () => {
    const terminal = pipeOf();
    expect(await keys('list dev', terminal)).toBe(0);
    expect(terminal.printed()).toBe('No environments in eu-west-1 yet.\n');
  });
});

describe('behind a proxy', () => {
  test('SSM is asked through the proxy of the variables', async () => {
    const proxy = await startFakeProxy(Number(new URL(server.endpoint).port));
    process.env.HTTP_PROXY = proxy.uri;
    const terminal = pipeOf(first);
    const words = 'put dev production sdk-key --endpoint http://ssm.example.test'.split(' ');
    expect(await runKeys(words, terminal)).toBe(0);
    expect(proxy.asked[0]?.what).toBe('POST http://ssm.example.test/');
    expect(stored('production/sdk-key')).toMatchObject({ value: first });
    await proxy.close();
  });

  test('an invalid proxy is named, without its password', async () => {
    process.env.HTTPS_PROXY = 'socks5://jane:s3cret@proxy';
    const terminal = pipeOf();
    expect(await keys('list dev', terminal)).toBe(1);
    expect(terminal.said()).toBe('HTTPS_PROXY must be an http or https URL, such as http://proxy:3128\n');
  });
});

describe('a running relay', () => {
  let source: SsmSource;
  let environments: readonly EnvironmentDescription[];
  let client: SSMClient;

  beforeEach(async () => {
    environments = [];
    await keys('put dev production sdk-key', pipeOf(first));
    await keys('put dev production mobile-key', pipeOf(mobile));
    client = new SSMClient({ endpoint: server.endpoint, region: 'eu-west-1' });
    source = startSsmSource({
      ...{ path, client, intervalMs: 20, graceMs: 86_400_000, timings: { spacingMs: 0, confirmMs: 20 } },
      log: silentLog,
      sink: {
        replace(all) {
          environments = all;
        },
      },
    });
    await eventually(() => expect(environments).toHaveLength(1));
  });

  afterEach(async () => {
    await source.close();
    client.destroy();
  });

  const valid = () => environments.flatMap(({ credentials }) => credentials.map(({ value }) => value)).sort();

  test('accepts both keys after rotate, and drops the old one right after revoke without reporting a problem @heavy', async () => {
    await keys('rotate dev production', pipeOf(second));
    await eventually(() => expect(environments[0]?.sdkKey).toBe(second));
    expect(valid()).toEqual([mobile, first, second]);
    const terminal = pipeOf();
    expect(await keys('revoke dev production previous-sdk-key --yes', terminal)).toBe(0);
    expect(terminal.printed()).toMatch(/^production\/previous-sdk-key …beef is revoked\./);
    await eventually(() => expect(valid()).toEqual([mobile, second]));
    expect(environments[0]?.keyProblem).toBeUndefined();
    expect(stored('production/previous-sdk-key-until')).toBeUndefined();
  });

  test('drops a key that was deleted before it was revoked', async () => {
    server.delete(`${path}/production/mobile-key`);
    await eventually(() => expect(environments[0]?.keyProblem).toBeDefined());
    expect(await keys('revoke dev production mobile-key --yes', pipeOf(mobile))).toBe(0);
    await eventually(() => expect(valid()).toEqual([first]));
  });

  test('drops a revoked environment, which can be reopened only with new keys @heavy', async () => {
    expect(await keys('revoke dev production environment --yes')).toBe(0);
    await eventually(() => expect(environments).toEqual([]));
    expect([...server.parameters.keys()]).toEqual([`${path}/production/revoked`]);
    const terminal = pipeOf(first);
    expect(await keys('put dev production sdk-key', terminal)).toBe(1);
    expect(terminal.said()).toMatch(/this key of production was revoked/);
    expect(await keys('put dev production sdk-key', pipeOf(second))).toBe(0);
    await eventually(() => expect(valid()).toEqual([second]));
  });

  test('keeps its keys when a revoke was not confirmed @heavy', async () => {
    server.calls.length = 0;
    expect(await keys('revoke dev production sdk-key')).toBe(1);
    expect(await keys('revoke dev production sdk-key', personTyping('n'))).toBe(1);
    expect(await keys('revoke dev nowhere sdk-key --yes')).toBe(1);
    expect(written()).toEqual([]);
  });
});

test.each([
  [
    'denied',
    () => server.deny(),
    /^AWS denied access; docs\/keys.md and docs\/deploying.md list the required permissions/,
  ],
  ['unreachable', () => server.down(), /^Cannot reach AWS in eu-west-1/],
  ['broken', () => server.break(), /^InternalServerError/],
])('npm run keys prints one sentence and exits with 1 if SSM is %s', async (_, fault, message) => {
  fault();
  const terminal = pipeOf();
  expect(await keys('list dev', terminal)).toBe(1);
  expect(terminal.said()).toMatch(message);
  expect(terminal.said().trimEnd().split('\n')).toHaveLength(1);
});

test('an empty variable is no region, and the next one counts', async () => {
  Object.assign(process.env, { AWS_REGION: '', AWS_DEFAULT_REGION: '' });
  const terminal = pipeOf();
  expect(await keys('list unheard-of', terminal)).toBe(2);
  expect(terminal.said()).toMatch(/^Stage unheard-of is unknown and no region is set/);
  process.env.AWS_DEFAULT_REGION = 'eu-west-1';
  expect(await keys('list unheard-of')).toBe(0);
});

test('a stage with relays in several regions has keys in each region', () => {
  const stage = { homeRegion: 'eu-west-1', replicaRegions: ['us-east-1'], tableName: 'flags', production: false };
  const stages = { alone: stage, both: { ...stage, relayRegions: ['us-east-1'] } };
  expect(otherRegionsOf('alone', 'eu-west-1', stages)).toEqual([]);
  expect(otherRegionsOf('both', 'eu-west-1', stages)).toEqual(['us-east-1']);
  expect(otherRegionsOf('both', 'us-east-1', stages)).toEqual(['eu-west-1']);
  expect(otherRegionsOf('unheard-of', 'us-east-1', stages)).toEqual([]);
});

test('a stage with KMS keys has its parameters encrypted with that of their region', () => {
  const [own, other] = ['eu-west-1', 'us-east-1'].map((region) => `arn:aws:kms:${region}:123456789012:key/1`);
  const stage = { homeRegion: 'eu-west-1', replicaRegions: ['us-east-1'], tableName: 'flags', production: false };
  const stages = { keyed: { ...stage, encryptionKeys: { 'eu-west-1': own, 'us-east-1': other } }, plain: stage };
  expect(kmsKeyOf('keyed', 'eu-west-1', stages)).toBe(own);
  expect(kmsKeyOf('keyed', 'us-east-1', stages)).toBe(other);
  expect(kmsKeyOf('plain', 'eu-west-1', stages)).toBeUndefined();
});

describe('npm run keys', () => {
  function run(args: string[], variables: Record<string, string>, input = '') {
    const { PATH = '' } = process.env;
    const child = spawn(process.execPath, ['--import', 'tsx', 'bin/keys.ts', ...args], {
      ...{ cwd: root, stdio: ['pipe', 'pipe', 'pipe'] as const },
      env: { PATH, AWS_EC2_METADATA_DISABLED: 'true', ...variables },
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk: Buffer) => {
        output += chunk.toString();
      });
    }
    child.stdin.end(input);
    return new Promise<{ exitCode: number | null; output: string }>((resolve) => {
      child.once('close', (exitCode) => resolve({ exitCode, output }));
    });
  }

  test('stores a piped key @heavy', async () => {
    const signedIn = { AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'test' };
    const args = ['put', 'dev', 'production', 'sdk-key', '--endpoint', server.endpoint];
    const { exitCode, output } = await run(args, signedIn, `${first}\n`);
    expect({ exitCode, output }).toEqual({
      exitCode: 0,
      output: 'production/sdk-key …beef is version 1. Relays pick it up within a minute.\n',
    });
    expect(stored('production/sdk-key')?.value).toBe(first);
  });

  test('says how to sign in when there are no credentials @heavy', async () => {
    const { exitCode, output } = await run(['list', 'dev', '--endpoint', server.endpoint], { HOME: '/nowhere' });
    expect(output).toMatch(/^No AWS credentials found: sign in/);
    expect(exitCode).toBe(1);
  });
});

test('docs/keys.md lists every parameter, and no others', () => {
  const rows = readFileSync(join(root, 'docs/keys.md'), 'utf8').matchAll(/^\| `([\w-]+)` \| (.*?) \| (.*?) \|$/gm);
  expect([...rows].map(([, name, type, says]) => [name, type, says])).toEqual(
    Object.entries(ssmParameters).map(([name, { secret, says }]) => [name, secret ? 'SecureString' : 'String', says]),
  );
});
