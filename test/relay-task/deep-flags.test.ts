/** Values that nest deeper than the stack allows: they cost the flag that has them its value, and nobody anything else. */
import { until } from '../support/eventually.ts';
import { startFakeUpstream } from '../support/fake-upstream.ts';
import { flagData } from '../support/items.ts';
import { closeAfterEach } from '../support/opened.ts';
import { readStream } from '../support/read-stream.ts';
import { startTestRelay } from '../support/start-relay.ts';

const sdkKey = 'sdk-00000000-1111-2222-3333-444455556666';
const seen = { clientSideAvailability: { usingMobileKey: true, usingEnvironmentId: true } };
const base64 = Buffer.from('{"kind":"user","key":"alice"}').toString('base64url');
const { opened } = closeAfterEach();

/** As text: `JSON.stringify` cannot write it either. */
const deepFlag = (levels: number, version: number) =>
  JSON.stringify(flagData('deep', version, { ...seen, variations: ['VALUE', false] })).replace(
    '"VALUE"',
    '[['.repeat(levels / 2) + ']]'.repeat(levels / 2),
  );
const patch = (flag: string) => `{"path":"/flags/deep","data":${flag}}`;

async function start(levels = 0) {
  const upstream = opened(
    await startFakeUpstream({ flags: { deep: flagData('deep', 1, seen), plain: flagData('plain', 1, seen) } }),
  );
  const put = `{"path":"/","data":{"flags":{"deep":${deepFlag(levels, 1)},"plain":${JSON.stringify(flagData('plain', 1, seen))}},"segments":{}}}`;
  if (levels > 0) upstream.greetingFor = () => `event: put\ndata: ${put}\n\n`;
  const relay = opened(
    await startTestRelay({ LD_ENV_prod: sdkKey, LD_CLIENT_SIDE_ID_prod: 'client-id', STREAM_URI: upstream.uri }),
  );
  const stream = () => readStream({ port: relay.port, path: `/eval/client-id/${base64}` });
  return { upstream, relay, put, stream };
}

const noValue = (version: number) => ({ value: null, variation: null, version, flagVersion: version });

test.each([[2_400], [3_900], [100_000]])(
  'a value of %i levels that arrives while a stream is open costs its flag the value @heavy',
  async (levels) => {
    const { upstream, relay, stream } = await start();
    const reader = opened(await stream());
    await reader.next();
    await upstream.event('patch', patch(deepFlag(levels, 2)));
    const first = await reader.next();
    expect(first.event).toBe('patch');
    const { value, ...rest } = JSON.parse(first.data.replace(/\[{100,}\]+/, '"deep"'));
    // How deep a stack reaches is not for tests to say: a value that can be written is sent.
    expect({ value: value === 'deep' ? null : value, ...rest }).toMatchObject({ key: 'deep', version: 2, value: null });
    await upstream.patch('flags', flagData('plain', 2, { ...seen, variations: ['later', false] }));
    expect(JSON.parse((await reader.next()).data)).toMatchObject({ key: 'plain', value: 'later' });
    // The same version again, in other words: the two are compared.
    await upstream.event('put', `{"path":"/","data":{"flags":{"deep":${deepFlag(levels, 2).replace('{', '{ ')}}}}`);
    await until('the put has been read', async () =>
      (await relay.metrics.text()).body.includes('launchdarkly_relay_failed_items'),
    );
    await upstream.patch('flags', flagData('plain', 9, { ...seen, variations: ['last', false] }));
    await reader.until(({ events }) => events.at(-1)!.data.includes('last'));
  },
);

test('a value too deep for the stack is named once in the log, in the status and in a metric, until a new version comes @heavy', async () => {
  const { upstream, relay, stream } = await start(8_000);
  const reader = opened(await stream());
  const put = JSON.parse((await reader.next()).data);
  expect(put).toEqual({ deep: noValue(1), plain: expect.objectContaining({ value: true }) });
  opened(await stream());
  const evalx = await fetch(`${relay.uri}/sdk/evalx/client-id/contexts/${base64}?withReasons=true`);
  expect((await evalx.json()).deep).toEqual({ ...noValue(1), reason: { kind: 'ERROR', errorKind: 'EXCEPTION' } });
  const named = relay.lines.filter(({ fields }) => fields.key === 'deep');
  expect(named).toEqual([
    {
      level: 'error',
      message: 'Could not evaluate an item for clients; they get it without a value',
      fields: {
        ...{ environment: 'prod', kind: 'features', key: 'deep', reason: expect.stringContaining('RangeError') },
        runbook: 'operations.md#failed-items',
      },
    },
  ]);
  const failedItems = async () =>
    (await (await fetch(`${relay.uri}/status`)).json()).environments.prod.failedItems as unknown[];
  expect(await failedItems()).toEqual([
    { kind: 'features', key: 'deep', reason: expect.stringContaining('RangeError') },
  ]);
  expect((await relay.metrics.text()).body).toContain('launchdarkly_relay_failed_items{env="prod"} 1');
  // Server SDKs get it as it is.
  const server = opened(await readStream({ port: relay.port, path: '/all', headers: { Authorization: sdkKey } }));
  expect((await server.next()).data).toContain('[[[[');
  await upstream.event('patch', patch(JSON.stringify(flagData('deep', 2, seen))));
  expect(JSON.parse((await reader.next()).data)).toMatchObject({ key: 'deep', value: true });
  expect(await failedItems()).toEqual([]);
});

test('a wrong type that nests too deeply for the stack is an unreadable item @heavy', async () => {
  const { upstream, relay, stream } = await start();
  const reader = opened(await stream());
  await reader.next();
  const deep = '['.repeat(50_000) + ']'.repeat(50_000);
  await upstream.event('patch', patch(`{"key":"deep","version":2,"on":${deep}}`));
  await upstream.event('patch', patch(`{"key":"deep","version":${deep}}`));
  await upstream.event('patch', patch(`{"key":${deep},"version":3}`));
  await upstream.event('patch', `{"path":${deep}}`);
  await upstream.connected(2);
  await upstream.patch('flags', flagData('plain', 2, { ...seen, variations: ['later', false] }));
  await until('the stream goes on', () => reader.events.some(({ data }) => data.includes('later')));
  const { environments } = await (await fetch(`${relay.uri}/status`)).json();
  expect(environments.prod.unreadable).toEqual([]);
  expect(relay.lines.map(({ fields }) => String(fields.reason))).toEqual(
    expect.arrayContaining([expect.stringContaining('on must be true or false')]),
  );
});
