/**
 * SDKs count as ready once they have what their stream starts with, and applications evaluate at once. So a client that starts
 * while a flag keeps changing must not be behind what the relay had sent to others when it started.
 */
import { init } from '@launchdarkly/node-server-sdk';
import { startFakeUpstream } from '../support/fake-upstream.ts';
import { silentLog } from '../support/logs.ts';
import { closeAfterEach } from '../support/opened.ts';
import { readStream } from '../support/read-stream.ts';
import { startTestRelay } from '../support/start-relay.ts';
import { drivers, startDriver } from './sdk-driver.ts';

const sdkKey = 'sdk-fresh';
const context = { kind: 'user', key: 'alice' };
const { opened, behind } = closeAfterEach();

/** The flag's value is its version. */
const counter = (version: number) => ({
  ...{ key: 'counter', version, on: true, variations: [version], fallthrough: { variation: 0 }, salt: '' },
});
const filler = (key: string) => ({
  ...{ key, version: 1, on: false, variations: ['x'.repeat(1_000)], fallthrough: { variation: 0 }, salt: '' },
});

/** A relay one of whose flags changes every few milliseconds, and the version that an open stream got last. */
async function startChangingRelay() {
  const fillers = Array.from({ length: 200 }, (_, i) => filler(`filler-${i}`));
  const flags = Object.fromEntries([counter(1), ...fillers].map((flag) => [flag.key, flag]));
  const upstream = opened(await startFakeUpstream({ flags }));
  const relay = opened(await startTestRelay({ LD_ENV_fresh: sdkKey, STREAM_URI: upstream.uri }));
  const watcher = opened(await readStream({ port: relay.port, path: '/all', headers: { Authorization: sdkKey } }));
  await watcher.next();
  let changing = true;
  const changes = (async () => {
    for (let version = 2; changing; version++) {
      await upstream.patch('flags', counter(version));
      await new Promise((resolve) => setTimeout(resolve, 3));
    }
  })();
  behind(() => {
    changing = false;
    return changes;
  });
  const version = () => (watcher.events.length > 1 ? Number(JSON.parse(watcher.events.at(-1)!.data).data.version) : 1);
  return { relay, version };
}

/** Starts a client and returns the flag's value as soon as the SDK says that it is initialised. */
type FirstValue = (uri: string) => Promise<unknown>;

async function firstOfNode(uri: string): Promise<unknown> {
  const client = init(sdkKey, {
    ...{ streamUri: uri, baseUri: uri, eventsUri: uri, sendEvents: false, diagnosticOptOut: true, logger: silentLog },
  });
  await client.waitForInitialization({ timeout: 60 });
  const value = await client.variation('counter', context, 0);
  client.close();
  return value;
}
const firstOf =
  (command: readonly string[]): FirstValue =>
  async (uri) => {
    const driver = await startDriver(command, { sdkKey, mode: 'streaming', relay: uri });
    const { value } = (await driver.evaluate('counter', context, 0)) as { value: unknown };
    await driver.close();
    return value;
  };

const sdks = [
  { name: 'Node', few: 15, firstValue: firstOfNode },
  ...drivers.map(({ language, command }) => ({ name: language, few: 5, firstValue: command && firstOf(command) })),
];

for (const { name, few, firstValue } of sdks) {
  const COUNT = process.env.LONG ? 300 : few;
  const title = `${COUNT} fresh clients of the ${name} SDK have the newest value right after initialisation${name === 'Node' ? '' : ' @heavy'}`;
  (firstValue ? test : test.skip)(title, async () => {
    const { relay, version } = await startChangingRelay();
    const stale: string[] = [];
    for (let done = 0; done < COUNT; done++) {
      const known = version();
      const value = await firstValue!(relay.uri);
      if (!(Number(value) >= known)) stale.push(`${value} instead of ${known} or more`);
    }
    expect(stale).toEqual([]);
    // Otherwise nothing changed meanwhile.
    expect(version()).toBeGreaterThan(COUNT);
  });
}
