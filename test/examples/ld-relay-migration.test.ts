/** examples/ld-relay-migration: old configurations, and the output that its files and docs/migrating-from-ld-relay.md show. */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { runCompare } from '../../bin/compare/run.ts';
import { loadConfig } from '../../relay-task/config/load.ts';
import { type OldRelay, startOldRelay } from '../bin/compare/stand-in.ts';
import { type FlagData, startFakeUpstream } from '../support/fake-upstream.ts';
import { flagData, segmentData } from '../support/items.ts';
import { closeAfterEach } from '../support/opened.ts';
import { startTestRelay } from '../support/start-relay.ts';

const root = join(import.meta.dirname, '../..');
const folder = join(root, 'examples/ld-relay-migration');
const read = (name: string) => readFileSync(join(folder, name), 'utf8');
const { opened } = closeAfterEach();

/** What `--check` prints besides the configuration: warnings, and its last line. */
function check(file: string): string {
  const text = read(file);
  const loaded = loadConfig(['--config', file, '--check'], {}, { readFile: () => text });
  if (loaded.command !== 'check') throw new Error(`not checked but ${loaded.command}`);
  return [
    ...loaded.warnings.map((warning) => `warning: ${warning}`),
    loaded.report.trimEnd().split('\n').at(-1),
    '',
  ].join('\n');
}

describe('--check', () => {
  test('accepts the file of version 6, and says what of it has no effect', () => {
    expect(check('ld-relay.conf')).toBe(read('check.txt'));
    expect(read('check.txt')).toMatch(
      /\n# OK: 2 environments \(Shop Production, Shop Staging\); store redis; \d warnings\n$/,
    );
  });

  test('accepts the file of version 5, and says what each old name is now', () => {
    expect(check('ld-relay-5.conf')).toBe(read('check-5.txt'));
    for (const name of ['heartbeatInterval = 15s', 'flushInterval = 5s', 'ttl = 1m'])
      expect(read('check-5.txt')).toContain(`write ${name}`);
  });

  test('prints so as a process, with its exit code @heavy', async () => {
    const command = ['--import', 'tsx', join(root, 'relay-task/main.ts'), '--config', 'ld-relay.conf', '--check'];
    const { stdout, stderr } = await new Promise<{ stdout: string; stderr: string }>((resolve, reject) =>
      execFile(process.execPath, command, { cwd: folder, env: { PATH: process.env.PATH } }, (error, out, err) =>
        error ? reject(error) : resolve({ stdout: out, stderr: err }),
      ),
    );
    expect(`${stderr}${stdout.trimEnd().split('\n').at(-1)}\n`).toBe(read('check.txt'));
  });
});

const visible = { clientSideAvailability: { usingMobileKey: true, usingEnvironmentId: true } };
const served = (version: number, more = {}): FlagData => ({
  flags: {
    checkout: flagData('checkout', version, { ...visible, ...more }),
    'new-search': flagData('new-search', 4, visible),
  },
  segments: { staff: segmentData('staff', 2) },
});

/** What ld-relay 6 shows of the two environments; https://github.com/launchdarkly/ld-relay/blob/v6/docs/endpoints.md */
const status = (stores = {}) => ({
  ...{ status: 'healthy', version: '6.9.1', clientVersion: '5.10.1' },
  environments: Object.fromEntries(
    [
      { name: 'Shop Production', id: '5f0000000000000000000001', end: '56666', mobile: true },
      { name: 'Shop Staging', end: '56677' },
    ].map(({ name, id, end, mobile }) => [
      name,
      {
        ...{ sdkKey: `sdk-********-****-****-****-*******${end}`, ...(id && { envId: id }) },
        ...(mobile && { mobileKey: `mob-********-****-****-****-*******${end}` }),
        ...{ status: 'connected', connectionStatus: { state: 'VALID', stateSince: 1 } },
        dataStoreStatus: { state: 'VALID', stateSince: 1, ...stores },
      },
    ]),
  ),
});

/** Compares as the page says, and names the relays as it does. */
async function compare(old: OldRelay, fresh: FlagData, variables: Readonly<Record<string, string>> = {}) {
  const upstream = opened(await startFakeUpstream(fresh));
  const relay = opened(
    await startTestRelay(
      {
        STREAM_URI: upstream.uri,
        BASE_URI: upstream.uri,
        EVENTS_HOST: upstream.uri,
        PORT: '0',
        USE_REDIS: 'false',
        ...variables,
      },
      // The example's Redis does not exist here.
      { file: { path: 'ld-relay.conf', text: read('ld-relay.conf').replace(/^\[Redis\][^[]*/m, '') } },
    ),
  );
  await relay.initialized();
  const standIn = opened(await startOldRelay(old));
  let printed = '';
  const exitCode = await runCompare(
    [standIn.uri, relay.uri, '--config', join(folder, 'ld-relay.conf'), '--wait', '0s'],
    {
      ...{ env: {}, pause: async () => {}, say: (text: string) => (printed += text) },
      out: (text) => (printed += text),
    },
  );
  const named = printed.replace(standIn.uri, 'http://localhost:8030').replace(relay.uri, 'http://localhost:8031');
  return { exitCode, printed: named.replace('0.0.0-test', '0.2.0') };
}

const answers = Object.fromEntries(
  [1, 2, 3].map((number) => [
    `compare-${number}`,
    { checkout: { value: true, variation: 0, version: 7 }, 'new-search': { value: true, variation: 0, version: 4 } },
  ]),
);
const keys = {
  sdkKeys: ['sdk-10000000-1111-4222-8333-444455556666', 'sdk-20000000-1111-4222-8333-444455556677'],
  ...{ mobileKey: 'mob-10000000-1111-4222-8333-444455556666', environmentId: '5f0000000000000000000001' },
};

describe('compare', () => {
  test('says that the relays serve the same', async () => {
    const old = { status: status(), data: served(7), answers, keys, forwardsEvents: true };
    expect(await compare(old, served(7))).toEqual({ exitCode: 0, printed: read('compare.txt') });
  });

  test('names what differs, and what to do', async () => {
    const redis = { database: 'redis', dbServer: 'redis://redis:6379', dbPrefix: 'ld:shop' };
    const old = { status: status(redis), data: served(7), answers, keys, forwardsEvents: true };
    const found = await compare(old, served(8, { fallthrough: { variation: 1 } }), { USE_EVENTS: 'false' });
    expect(found).toEqual({ exitCode: 1, printed: read('compare-differs.txt') });
  });
});

test('docs/migrating-from-ld-relay.md shows these files', () => {
  const page = readFileSync(join(root, 'docs/migrating-from-ld-relay.md'), 'utf8');
  for (const name of ['ld-relay.conf', 'check.txt', 'compare.txt', 'compare-differs.txt'])
    expect({ name, shown: page.includes(`\n${read(name)}\`\`\`\n`) }).toEqual({ name, shown: true });
});
