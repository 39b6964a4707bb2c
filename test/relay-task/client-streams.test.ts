/** Client-side SDKs beside a LaunchDarkly whose versions go down, as they do when an environment is restored. */
import { initialize } from 'launchdarkly-node-client-sdk';
import { until } from '../support/eventually.ts';
import { type FakeUpstream, startFakeUpstream } from '../support/fake-upstream.ts';
import { flagData } from '../support/items.ts';
import { silentLog } from '../support/logs.ts';
import { closeAfterEach } from '../support/opened.ts';
import { readStream } from '../support/read-stream.ts';
import { startTestRelay } from '../support/start-relay.ts';

const sdkKey = 'sdk-00000000-1111-2222-3333-444455556666';
const context = { kind: 'user', key: 'alice' };
const { opened, behind } = closeAfterEach();

const x = (version: number, visible: boolean) =>
  flagData('x', version, {
    variations: [`v${version}`, 'off'],
    clientSideAvailability: { usingMobileKey: visible, usingEnvironmentId: visible },
  });
const other = flagData('other', 1, { clientSideAvailability: { usingMobileKey: true, usingEnvironmentId: true } });

/** A whole set, on the open stream or on the next one. */
const wholeSets: Readonly<
  Record<string, (upstream: FakeUpstream, ...flags: ReturnType<typeof flagData>[]) => Promise<void>>
> = {
  'a put': (upstream, ...flags) =>
    upstream.put({ flags: Object.fromEntries(flags.map((flag) => [flag.key, flag])), segments: {} }),
  'a reconnect': async (upstream, ...flags) => {
    upstream.data = { flags: Object.fromEntries(flags.map((flag) => [flag.key, flag])), segments: {} };
    upstream.cut();
    await upstream.connected(upstream.connections + 1);
  },
};

interface Steps {
  readonly what: string;
  /** What comes before the flag is gone, the whole set with which it comes back hidden, and what makes it visible. */
  run(
    upstream: FakeUpstream,
    sendWhole: (...flags: ReturnType<typeof flagData>[]) => Promise<void>,
    seen: Seen,
  ): Promise<string>;
}
/** Resolves when the relay has sent that many events to its server-side streams, each change in a pass of its own. */
type Seen = (count: number) => Promise<void>;

const steps: readonly Steps[] = [
  {
    what: 'was deleted',
    async run(upstream, sendWhole, seen) {
      await upstream.delete('flags', 'x', 16);
      await seen(2);
      await sendWhole(x(3, false), other);
      await seen(3);
      await upstream.patch('flags', x(4, true));
      return 'v4';
    },
  },
  {
    what: 'was missing from the whole set',
    async run(upstream, sendWhole, seen) {
      await sendWhole(other);
      await seen(2);
      await upstream.patch('flags', x(1, false));
      await seen(3);
      await upstream.patch('flags', x(2, true));
      return 'v2';
    },
  },
  {
    what: 'was hidden from clients',
    async run(upstream, sendWhole, seen) {
      await upstream.patch('flags', x(16, false));
      await seen(2);
      await sendWhole(x(3, false), other);
      await seen(3);
      await upstream.patch('flags', x(4, true));
      return 'v4';
    },
  },
];

describe.each(Object.keys(wholeSets))('with %s that lowers versions', (how) => {
  test.each(steps)(
    'the official client-side SDK has the value of a flag that $what and came back hidden, once it is visible',
    async ({ run }) => {
      const upstream = opened(await startFakeUpstream({ flags: { x: x(5, true), other } }));
      const relay = opened(
        await startTestRelay({ LD_ENV_prod: sdkKey, LD_CLIENT_SIDE_ID_prod: 'client-id', STREAM_URI: upstream.uri }),
      );
      const watcher = opened(await readStream({ port: relay.port, path: '/all', headers: { Authorization: sdkKey } }));
      await watcher.next();
      const client = initialize('client-id', context, {
        ...{ baseUrl: relay.uri, streamUrl: relay.uri, eventsUrl: relay.uri, sendEvents: false },
        ...{ streaming: true, diagnosticOptOut: true, logger: silentLog },
      });
      behind(() => client.close());
      await client.waitForInitialization();
      expect(client.variation('x')).toBe('v5');
      await until('its stream', async () => (await relay.metrics.text()).body.includes('kind="eval"'));
      const seen: Seen = async (count) => {
        await watcher.until(({ events }) => events.length >= count);
        await until('the SDK knows that the flag is gone', () => client.variation('x', 'gone') === 'gone');
      };
      const value = await run(upstream, (...flags) => wholeSets[how]!(upstream, ...flags), seen);
      await until('the SDK has it', () => client.variation('x', 'gone') === value);
      const base64 = Buffer.from(JSON.stringify(context)).toString('base64url');
      const evalx = await fetch(`${relay.uri}/sdk/evalx/client-id/contexts/${base64}`);
      expect(client.allFlags()).toEqual(
        Object.fromEntries(
          Object.entries(await evalx.json()).map(([key, flag]) => [key, (flag as { value: unknown }).value]),
        ),
      );
    },
  );
});
