/** Big Segments through the whole relay: LaunchDarkly's patches, a real table, evaluated flags. */
import type { Variables } from '../../relay-task/config/config.ts';
import { hashOf } from '../../relay-task/store/big-segments.ts';
import { startConsul } from '../support/consul-server.ts';
import { startTable } from '../support/dynalite.ts';
import { eventually } from '../support/eventually.ts';
import { startFakeBigSegments, wirePatch } from '../support/fake-big-segments.ts';
import { startFakeUpstream } from '../support/fake-upstream.ts';
import { startFaultyProxy } from '../support/faulty-proxy.ts';
import { closeAfterEach } from '../support/opened.ts';
import { readStream, type StreamReader } from '../support/read-stream.ts';
import { startTestRelay } from '../support/start-relay.ts';

const clause = { attribute: '', op: 'segmentMatch', values: ['vip'], negate: false };
const club = {
  ...{ key: 'club', version: 1, on: true, salt: '', variations: ['in', 'out'], offVariation: 1 },
  fallthrough: { variation: 1 },
  rules: [{ id: 'r', clauses: [clause], variation: 0 }],
  clientSideAvailability: { usingEnvironmentId: true, usingMobileKey: true },
};
const vip = { key: 'vip', version: 1, salt: '', unbounded: true, generation: 3, included: [], excluded: [], rules: [] };
const context = Buffer.from('{"kind":"user","key":"alice"}').toString('base64url');

const { opened } = closeAfterEach();

const variables = {
  LD_ENV_prod: 'sdk-00000000-1111-2222-3333-444455556666',
  LD_CLIENT_SIDE_ID_prod: 'client-id',
  LD_PREFIX_prod: 'prod',
  USE_DYNAMODB: 'true',
};

test('removing a Big Segment membership changes evalx and open streams, although no version rises @heavy', async () => {
  const member = hashOf('alice');
  const table = opened(await startTable());
  const launchDarkly = opened(await startFakeBigSegments(wirePatch('vip.g3', '', 'v1', [`+${member}`])));
  const upstream = opened(await startFakeUpstream({ flags: { club }, segments: { vip } }));
  upstream.answer = ({ url }) => (url.startsWith('/big-segments') ? 'silent' : 'stream');
  const relay = opened(
    await startTestRelay({
      ...variables,
      STREAM_URI: upstream.uri,
      BASE_URI: launchDarkly.uri,
      DYNAMODB_TABLE: table.tableName,
      DYNAMODB_URL: table.endpoint,
    }),
  );
  const evaluate = async () => {
    const response = await fetch(`${relay.uri}/sdk/evalx/client-id/contexts/${context}?withReasons=true`);
    return ((await response.json()) as { club?: unknown }).club;
  };
  await eventually(async () => {
    expect(await evaluate()).toMatchObject({
      value: 'in',
      reason: { kind: 'RULE_MATCH', bigSegmentsStatus: 'HEALTHY' },
    });
  });
  const { environments } = (await (await fetch(`${relay.uri}/status`)).json()) as {
    environments: { prod: { bigSegmentStatus: unknown } };
  };
  expect(environments.prod.bigSegmentStatus).toMatchObject({ available: true, potentiallyStale: false });

  const stream = opened(await readStream({ port: relay.port, path: `/eval/client-id/${context}` }));
  expect(JSON.parse((await stream.next()).data).club).toMatchObject({ value: 'in', version: 1 });
  const taken = wirePatch('vip.g3', 'v1', 'v2', [`-${member}`]);
  await upstream.event('patch', JSON.stringify([taken]), { to: ({ url }) => url === '/big-segments' });
  const next = await stream.next(10_000);
  expect(next.event).toBe('put');
  expect(JSON.parse(next.data).club).toMatchObject({ value: 'out', version: 1 });
  expect(await evaluate()).toMatchObject({ value: 'out' });
});

test('when two relays share a table, one writes a Big Segments patch, and both notify their clients @heavy', async () => {
  const member = hashOf('alice');
  const table = opened(await startTable());
  const proxy = opened(await startFaultyProxy(table.endpoint));
  const launchDarkly = opened(await startFakeBigSegments(wirePatch('vip.g3', '', 'v1', [`+${member}`])));
  const upstream = opened(await startFakeUpstream({ flags: { club }, segments: { vip } }));
  upstream.answer = ({ url }) => (url.startsWith('/big-segments') ? 'silent' : 'stream');
  const bigSegmentStreams = () => upstream.open().filter(({ url }) => url === '/big-segments');
  const streams: StreamReader[] = [];
  for (let relays = 1; relays <= 2; relays++) {
    const { port } = opened(
      await startTestRelay({
        ...variables,
        STREAM_URI: upstream.uri,
        BASE_URI: launchDarkly.uri,
        DYNAMODB_TABLE: table.tableName,
        DYNAMODB_URL: proxy.endpoint,
      }),
    );
    const stream = opened(await readStream({ port, path: `/eval/client-id/${context}` }));
    streams.push(stream);
    expect(JSON.parse((await stream.next(60_000)).data).club).toMatchObject({ value: 'in' });
    await eventually(() => expect(bigSegmentStreams()).toHaveLength(relays));
  }
  for (const [last, patch] of [
    ['out', wirePatch('vip.g3', 'v1', 'v2', [`-${member}`])],
    ['in', wirePatch('vip.g3', 'v2', 'v3', [`+${member}`])],
  ] as const) {
    launchDarkly.history.push(patch);
    await upstream.event('patch', JSON.stringify([patch]), { to: ({ url }) => url === '/big-segments' });
    for (const stream of streams) {
      expect(JSON.parse((await stream.next(60_000)).data).club).toMatchObject({ value: last });
    }
  }
  const writes = proxy.passed.filter(({ namespace }) => namespace === 'prod:big_segments_user');
  expect(writes.filter(({ operation }) => operation === 'UpdateItem')).toHaveLength(3);
});

describe('where no store holds Big Segments', () => {
  const NOWHERE = 'Flags use Big Segments, but no store holds them; treating all contexts as non-members';

  async function startWith(stores: Variables) {
    const upstream = opened(await startFakeUpstream({ flags: { club } }));
    const relay = opened(
      await startTestRelay({
        ...{ LD_ENV_prod: variables.LD_ENV_prod, LD_CLIENT_SIDE_ID_prod: 'client-id', LD_PREFIX_prod: 'prod' },
        ...{ STREAM_URI: upstream.uri, ...stores },
      }),
    );
    const evaluate = async () => {
      const response = await fetch(`${relay.uri}/sdk/evalx/client-id/contexts/${context}?withReasons=true`);
      return ((await response.json()) as { club?: unknown }).club;
    };
    const warnings = () => relay.lines.filter(({ message }) => message === NOWHERE);
    return { upstream, evaluate, warnings };
  }

  test.each([
    ['Consul is the only store', true, 'consul cannot hold them; add Redis or DynamoDB'],
    ['there is no store', false, 'there is no store; add Redis or DynamoDB'],
  ])('one line of the log says so once a flag set has one: %s', async (_, hasConsul, reason) => {
    const consul = opened(await startConsul());
    const stores = hasConsul ? { USE_CONSUL: 'true', CONSUL_HOST: consul.address } : {};
    const { upstream, evaluate, warnings } = await startWith(stores);
    await eventually(async () => expect(await evaluate()).toMatchObject({ value: 'out' }));
    expect(warnings()).toEqual([]);
    await upstream.patch('segments', vip);
    await eventually(() => expect(warnings()).not.toEqual([]));
    const again = [
      { ...vip, version: 2 },
      { ...club, version: 2 },
    ] as const;
    await upstream.patch('segments', again[0]);
    await upstream.patch('flags', again[1]);
    await eventually(async () => expect(await evaluate()).toMatchObject({ version: 2 }));
    const runbook = 'operations.md#big-segments-stale';
    expect(warnings()).toEqual([{ level: 'warn', message: NOWHERE, fields: { environment: 'prod', reason, runbook } }]);
    expect(await evaluate()).toMatchObject({ value: 'out', reason: { bigSegmentsStatus: 'NOT_CONFIGURED' } });
  });
});
