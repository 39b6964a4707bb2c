/** The three sources that can rotate keys, as real servers and files for a relay. */
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Variables } from '../../relay-task/config/config.ts';
import type { RelayTimings } from '../../relay-task/relay.ts';
import { packArchive } from './archive.ts';
import { environmentRep, startFakeAutoConfig } from './fake-auto-config.ts';
import { type FakeUpstream, type FlagData, startFakeUpstream } from './fake-upstream.ts';
import { type Doorkeeper, keepDoor } from './keyed-upstream.ts';
import { startSsmServer } from './ssm-server.ts';

interface Keys {
  readonly sdkKey: string;
  /** In its grace period until `until`, Unix ms. */
  readonly previous?: { readonly sdkKey: string; readonly until: number };
}

export interface RotatingSource {
  readonly variables: Variables;
  /** LaunchDarkly's streams and events; with an archive it gets no requests for flags. */
  readonly launchDarkly: FakeUpstream;
  readonly door: Doorkeeper;
  readonly mobileKey: string;
  readonly environmentId: string;
  /** Changes what the source says. */
  say(keys: Keys): Promise<void>;
  /** Publishes another version of the flag `a`. */
  change(version: number): Promise<void>;
  close(): Promise<void>;
}

export const autoConfigKey = 'rel-00000000-0000-0000-0000-00000000abcd';

/** Shortens all waits for LaunchDarkly, SSM and stores. */
export const hastyTimings: RelayTimings = {
  ssm: {
    intervalMs: 150,
    timings: { spacingMs: 1, retryBaseMs: 20, retryCapMs: 100, retryMs: 50, confirmMs: 100, settleMs: 300 },
  },
  upstream: { backoff: { firstMs: 20, maxMs: 100 }, refusedBackoff: { firstMs: 50, maxMs: 100 } },
  stores: { publishGapMs: 50, pollMs: 100, renewMs: 500, rereadMs: 50, retryCapMs: 500 },
  eligibilityMs: 200,
};

const environmentId = 'abcdef0123456789abcdef01';
const mobileKey = 'mob-00000000-0000-0000-0000-000000000001';
const flag = (version: number) => ({
  ...{ key: 'a', version, on: true, variations: ['a', 'b'], fallthrough: { variation: version % 2 }, salt: '' },
  clientSideAvailability: { usingEnvironmentId: true, usingMobileKey: true },
});
const flagData = (version: number): FlagData => ({ flags: { a: flag(version) }, segments: {} });

async function changeUpstream(launchDarkly: FakeUpstream, version: number) {
  await launchDarkly.patch('flags', flag(version), { to: ({ url }) => url.startsWith('/all') });
}

export async function startRotatingSsm(first: Keys): Promise<RotatingSource> {
  const launchDarkly = await startFakeUpstream(flagData(1));
  const door = keepDoor(launchDarkly, first.sdkKey);
  const ssm = await startSsmServer();
  const put = (name: string, value: string) => ssm.put(`/relay/environments/shop/${name}`, value);
  const source: RotatingSource = {
    variables: {
      ...{ KEYS_FROM_SSM: '/relay/environments', SSM_URL: ssm.endpoint, STREAM_URI: launchDarkly.uri },
      ...{ USE_EVENTS: 'true', EVENTS_HOST: launchDarkly.uri, DISABLE_INTERNAL_USAGE_METRICS: 'true' },
    },
    ...{ launchDarkly, door, mobileKey, environmentId },
    // In the order in which the `keys` command writes them.
    async say({ sdkKey, previous }) {
      if (previous) {
        put('previous-sdk-key', previous.sdkKey);
        put('previous-sdk-key-until', new Date(previous.until).toISOString());
      }
      put('sdk-key', sdkKey);
    },
    change: (version) => changeUpstream(launchDarkly, version),
    async close() {
      await ssm.close();
      await launchDarkly.close();
    },
  };
  put('mobile-key', mobileKey);
  put('client-side-id', environmentId);
  await source.say(first);
  return source;
}

const record = (version: number, { sdkKey, previous }: Keys) =>
  environmentRep(environmentId, version, {
    mobKey: mobileKey,
    sdkKey: { value: sdkKey, ...(previous && { expiring: { value: previous.sdkKey, timestamp: previous.until } }) },
  });

export async function startRotatingAutoConfig(first: Keys): Promise<RotatingSource> {
  let said = 1;
  const fake = await startFakeAutoConfig(record(said, first));
  const { upstream: launchDarkly } = fake;
  launchDarkly.data = flagData(1);
  const door = keepDoor(launchDarkly, first.sdkKey, autoConfigKey);
  return {
    variables: {
      ...{ AUTO_CONFIG_KEY: autoConfigKey, STREAM_URI: launchDarkly.uri },
      ...{ USE_EVENTS: 'true', EVENTS_HOST: launchDarkly.uri, DISABLE_INTERNAL_USAGE_METRICS: 'true' },
    },
    ...{ launchDarkly, door, mobileKey, environmentId },
    async say(keys) {
      said += 1;
      await fake.patch(record(said, keys));
    },
    change: (version) => changeUpstream(launchDarkly, version),
    close: () => fake.close(),
  };
}

export async function startRotatingArchive(first: Keys): Promise<RotatingSource> {
  const launchDarkly = await startFakeUpstream();
  const door = keepDoor(launchDarkly);
  const directory = mkdtempSync(join(tmpdir(), 'rotation-'));
  const path = join(directory, 'flags.tar.gz');
  let said = 0;
  let keys = first;
  let version = 1;
  async function write() {
    said += 1;
    const env = record(said, keys);
    const bytes = await packArchive({
      [environmentId]: { env, dataId: `data-${version}`, data: flagData(version) },
    });
    writeFileSync(`${path}.new`, bytes);
    renameSync(`${path}.new`, path);
  }
  await write();
  return {
    variables: { FILE_DATA_SOURCE: path, FILE_DATA_SOURCE_MONITORING_INTERVAL: '100ms' },
    ...{ launchDarkly, door, mobileKey, environmentId },
    async say(next) {
      keys = next;
      await write();
    },
    async change(next) {
      version = next;
      await write();
    },
    async close() {
      await launchDarkly.close();
      rmSync(directory, { recursive: true });
    },
  };
}
