/** Whole relays that get their flags by FDv2, also from another relay. */
import type { Variables } from '../../relay-task/config/config.ts';
import { eventually } from '../support/eventually.ts';
import { startFakeFDv2 } from '../support/fake-fdv2.ts';
import { type FakeUpstream, startFakeUpstream } from '../support/fake-upstream.ts';
import { freePort } from '../support/free-port.ts';
import { flagData } from '../support/items.ts';
import { closeAfterEach } from '../support/opened.ts';
import { readStream } from '../support/read-stream.ts';
import { startTestRelay, type TestRelay } from '../support/start-relay.ts';

const sdkKey = 'sdk-00000000-1111-2222-3333-444455556666';
const authorized = { Authorization: sdkKey };
const flag = (key: string, version: number) => flagData(key, version, { variations: ['a', 'b'], future: { field: 1 } });

const { opened } = closeAfterEach();

const start = async (variables: Variables): Promise<TestRelay> =>
  opened(await startTestRelay({ LD_ENV_production: sdkKey, POLL_INTERVAL: '1s', ...variables }));

async function flagsOf(relay: TestRelay): Promise<Record<string, unknown>> {
  const response = await fetch(`${relay.uri}/sdk/latest-all`, { headers: authorized });
  return ((await response.json()) as { flags: Record<string, unknown> }).flags;
}

async function environmentOf(relay: TestRelay): Promise<Record<string, unknown>> {
  const response = await fetch(`${relay.uri}/status`);
  const { environments } = (await response.json()) as { environments: Record<string, Record<string, unknown>> };
  return environments.production!;
}

const change = (upstream: FakeUpstream, key: string, version: number) => upstream.patch('flags', flag(key, version));

describe.each(['fdv2', 'fdv2-streaming', 'fdv2-polling'])('behind another relay, by %s', (protocol) => {
  test('a relay serves what the other one serves, byte for byte, and follows its changes and its restart @heavy', async () => {
    const upstream = opened(await startFakeUpstream({ flags: { a: flag('a', 1), b: flag('b', 1) } }));
    const firstVariables = { STREAM_URI: upstream.uri, PORT: String(await freePort()) };
    const first = await start(firstVariables);
    const second = await start({ STREAM_URI: first.uri, BASE_URI: first.uri, UPSTREAM_PROTOCOL: protocol });
    await eventually(async () => expect(await flagsOf(second)).toEqual({ a: flag('a', 1), b: flag('b', 1) }));
    const stream = opened(await readStream({ port: second.port, path: '/all', headers: authorized }));
    expect((await stream.next()).data).toContain(JSON.stringify(flag('a', 1)));

    await change(upstream, 'a', 2);
    expect(await stream.next()).toMatchObject({
      event: 'patch',
      data: JSON.stringify({ path: '/flags/a', data: flag('a', 2) }),
    });
    await upstream.delete('flags', 'b', 3);
    expect(await stream.next()).toMatchObject({ event: 'delete' });
    await eventually(async () => expect(await flagsOf(second)).toEqual({ a: flag('a', 2) }));

    await first.close();
    await eventually(async () =>
      expect(await environmentOf(second)).toMatchObject({ connectionStatus: { state: 'INTERRUPTED' } }),
    );
    expect(await flagsOf(second)).toEqual({ a: flag('a', 2) });
    await change(upstream, 'c', 1);
    await start(firstVariables);
    await eventually(async () => expect(await flagsOf(second)).toEqual({ a: flag('a', 2), c: flag('c', 1) }));
    await eventually(async () =>
      expect(await environmentOf(second)).toMatchObject({ connectionStatus: { state: 'VALID' } }),
    );
  });
});

test('with a payload filter, each view is asked for by itself', async () => {
  const fake = opened(await startFakeFDv2(flag('a', 1)));
  await start({
    STREAM_URI: fake.uri,
    BASE_URI: fake.uri,
    UPSTREAM_PROTOCOL: 'fdv2',
    LD_PROJ_KEY_production: 'p',
    LD_FILTER_KEYS_p: 'one',
  });
  await eventually(() =>
    expect(
      fake
        .requests('/sdk/stream')
        .map(({ url }) => url)
        .sort(),
    ).toEqual(['/sdk/stream', '/sdk/stream?filter=one']),
  );
});

test('an SDK key that LaunchDarkly rejects is reported as in FDv1', async () => {
  const fake = opened(await startFakeFDv2(flag('a', 1)));
  fake.trouble = () => ({ status: 401 });
  const relay = await start({
    ...{ STREAM_URI: fake.uri, BASE_URI: fake.uri, UPSTREAM_PROTOCOL: 'fdv2' },
    ...{ INIT_TIMEOUT: '100ms', IGNORE_CONNECTION_ERRORS: 'true' },
  });
  await eventually(async () =>
    expect(await environmentOf(relay)).toMatchObject({
      connectionStatus: { state: 'INITIALIZING', lastError: { kind: 'ERROR_RESPONSE' } },
    }),
  );
});
