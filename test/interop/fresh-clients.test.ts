/**
 * SDKs count as ready once they have what their stream starts with, and applications ask at once. So a client that starts while
 * a flag changes all the time must not be behind what the relay had already sent to others when it started.
 */
import { init, type LDOptions } from '@launchdarkly/node-server-sdk';
import { startFakeUpstream } from '../support/fake-upstream.ts';
import { silentLog } from '../support/logs.ts';
import { closeAfterEach } from '../support/opened.ts';
import { readStream } from '../support/read-stream.ts';
import { startTestRelay } from '../support/start-relay.ts';
import { drivers, startDriver } from './sdk-driver.ts';

// Only guards against hanging: a driver takes seconds to start on a busy machine.
jest.setTimeout(process.env.LONG ? 1_800_000 : 180_000);

const sdkKey = 'sdk-fresh';
const { opened, behind } = closeAfterEach();

/** The flag's value is its version. */
const counter = (version: number) => ({
  ...{ key: 'counter', version, on: true, variations: [version], fallthrough: { variation: 0 }, salt: '' },
});
const filler = (key: string) => ({
  ...{ key, version: 1, on: false, variations: ['x'.repeat(1_000)], fallthrough: { variation: 0 }, salt: '' },
});

/** A relay one of whose flags changes every few milliseconds, and the version that its open streams have at least. */
async function startChangingRelay() {
  const fillers = Array.from({ length: 200 }, (_, i) => filler(`filler-${i}`));
  const flags = Object.fromEntries([counter(1), ...fillers].map((flag) => [flag.key, flag]));
  const upstream = opened(await startFakeUpstream({ flags }));
  const relay = opened(await startTestRelay({ LD_ENV_fresh: sdkKey, STREAM_URI: upstream.uri }));
  const authorized = { headers: { Authorization: sdkKey }, port: relay.port };
  const watchers = [
    opened(await readStream({ ...authorized, path: '/all' })),
    opened(await readStream({ ...authorized, path: '/sdk/stream' })),
  ];
  for (const watcher of watchers)
    await watcher.until(({ events }) => events.some(({ data }) => data.includes('"counter"')));
  const versions = [1, 1];
  for (const [index, watcher] of watchers.entries()) {
    let looked = watcher.events.length;
    watcher.socket.on('data', () => {
      for (; looked < watcher.events.length; looked++) {
        const found = /"version":(\d+)/.exec(watcher.events[looked]!.data);
        if (watcher.events[looked]!.data.includes('"counter"')) versions[index] = Number(found?.[1]);
      }
    });
  }
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
  return { relay, version: () => Math.max(...versions) };
}

interface Client {
  counter(): Promise<unknown>;
  close(): unknown;
}

const context = { kind: 'user', key: 'alice' };

function nodeSdk(more: LDOptions) {
  return async (uri: string): Promise<Client> => {
    const client = init(sdkKey, {
      ...{ streamUri: uri, baseUri: uri, eventsUri: uri, sendEvents: false, diagnosticOptOut: true, logger: silentLog },
      ...more,
    });
    await client.waitForInitialization({ timeout: 60 });
    return { counter: () => client.variation('counter', context, 0), close: () => client.close() };
  };
}
const driven = (command: readonly string[]) => async (uri: string) => {
  const driver = await startDriver(command, { sdkKey, mode: 'streaming', relay: uri });
  const { value } = (await driver.evaluate('counter', context, 0)) as { value: unknown };
  return { counter: async () => value, close: () => driver.close() };
};

const clients = [
  { name: 'Node', few: 40, start: nodeSdk({}) },
  {
    name: 'Node, FDv2',
    few: 40,
    start: nodeSdk({ dataSystem: { dataSource: { dataSourceOptionsType: 'streamingOnly' } } }),
  },
  ...drivers.map(({ language, command }) => ({ name: language, few: 5, start: command && driven(command) })),
];

for (const { name, few, start } of clients) {
  const COUNT = process.env.LONG ? 300 : few;
  const title = `${COUNT} fresh clients of the ${name} SDK have the newest value right after initialisation`;
  (start ? test : test.skip)(title, async () => {
    const { relay, version } = await startChangingRelay();
    const stale: string[] = [];
    for (let done = 0; done < COUNT; done++) {
      const known = version();
      const client = await start!(relay.uri);
      const value = await client.counter();
      if (!(Number(value) >= known)) stale.push(`${value} instead of ${known} or more`);
      await client.close();
    }
    expect(stale).toEqual([]);
    // Otherwise nothing changed meanwhile.
    expect(version()).toBeGreaterThan(COUNT);
  });
}
