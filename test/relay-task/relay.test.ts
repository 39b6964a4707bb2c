/** The whole relay on real sockets: what it guarantees when something around it fails. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Variables } from '../../relay-task/config/config.ts';
import { startTable, type TestTable } from '../support/dynalite.ts';
import { eventually } from '../support/eventually.ts';
import { exampleEnvironment } from '../support/example-environment.ts';
import { type FakeUpstream, startFakeUpstream } from '../support/fake-upstream.ts';
import { flagData } from '../support/items.ts';
import { closeAfterEach } from '../support/opened.ts';
import { readStream } from '../support/read-stream.ts';
import { startTestRelay, type TestRelay } from '../support/start-relay.ts';

/** Any response; the tests assert what they read. */
// biome-ignore lint/suspicious/noExplicitAny: the tests reach into answers of many shapes
type Json = any;

const sdkKey = 'sdk-00000000-1111-2222-3333-444455556666';
const authorized = { Authorization: sdkKey };
const flag = (key: string, version: number, more = {}) =>
  flagData(key, version, { variations: ['a', 'b'], offVariation: null, ...more });

const { opened } = closeAfterEach();

const start = async (variables: Variables): Promise<TestRelay> => opened(await startTestRelay(variables));

function upstreamVariables(upstream: FakeUpstream, table?: TestTable): Variables {
  return {
    LD_ENV_production: sdkKey,
    LD_CLIENT_SIDE_ID_production: 'client-id',
    STREAM_URI: upstream.uri,
    ...(table && {
      LD_PREFIX_production: 'production',
      USE_DYNAMODB: 'true',
      DYNAMODB_TABLE: table.tableName,
      DYNAMODB_URL: table.endpoint,
    }),
  };
}

async function getJson(
  relay: TestRelay,
  path: string,
): Promise<{ status: number; retryAfter: string | null; body: Json }> {
  const response = await fetch(`${relay.uri}${path}`, { headers: authorized });
  const text = await response.text();
  return { status: response.status, retryAfter: response.headers.get('retry-after'), body: text && JSON.parse(text) };
}

test("a stream carries LaunchDarkly's items byte for byte, unknown fields included @heavy", async () => {
  const upstream = opened(await startFakeUpstream({ flags: { a: flag('a', 1, { future: { field: 1 } }) } }));
  const relay = await start(upstreamVariables(upstream));
  const stream = opened(await readStream({ port: relay.port, path: '/all', headers: authorized }));
  expect(stream.headers['x-ld-envid']).toBe('client-id');
  const put = await stream.next();
  expect(put.event).toBe('put');
  expect(put.data).toContain(JSON.stringify(flag('a', 1, { future: { field: 1 } })));
  await upstream.patch('flags', flag('a', 2));
  const patch = await stream.next();
  expect(patch).toEqual({ event: 'patch', data: `{"path":"/flags/a","data":${JSON.stringify(flag('a', 2))}}` });
  await upstream.delete('flags', 'a', 3);
  expect(JSON.parse((await stream.next()).data)).toEqual({ path: '/flags/a', version: 3 });
});

test("LaunchDarkly's X-LD-EnvID is passed on with every answer where no client-side ID is configured @heavy", async () => {
  const upstream = opened(await startFakeUpstream({ flags: { a: flag('a', 1) } }));
  upstream.headersFor = () => ({ 'X-LD-EnvID': '64a0c0ffee' });
  const relay = await start({ LD_ENV_production: sdkKey, LD_MOBILE_KEY_production: 'mob-1', STREAM_URI: upstream.uri });
  const context = Buffer.from('{"kind":"user","key":"alice"}').toString('base64url');
  const mobile = { Authorization: 'mob-1' };
  await eventually(async () => expect((await getJson(relay, '/sdk/latest-all')).status).toBe(200));
  for (const path of [
    '/sdk/latest-all',
    '/sdk/flags',
    '/sdk/flags/a',
    '/sdk/poll',
    `/msdk/evalx/contexts/${context}`,
  ]) {
    const response = await fetch(`${relay.uri}${path}`, { headers: path.startsWith('/msdk') ? mobile : authorized });
    expect([path, response.status, response.headers.get('x-ld-envid')]).toEqual([path, 200, '64a0c0ffee']);
  }
  for (const path of ['/all', '/flags', '/sdk/stream', `/meval/${context}`, '/mping']) {
    const headers = path.startsWith('/m') ? mobile : authorized;
    const stream = opened(await readStream({ port: relay.port, path, headers }));
    expect([path, stream.headers['x-ld-envid']]).toEqual([path, '64a0c0ffee']);
  }
});

test('where neither LaunchDarkly nor the configuration names the environment, answers have no X-LD-EnvID', async () => {
  const upstream = opened(await startFakeUpstream({ flags: { a: flag('a', 1) } }));
  const relay = await start({ LD_ENV_production: sdkKey, STREAM_URI: upstream.uri });
  const stream = opened(await readStream({ port: relay.port, path: '/all', headers: authorized }));
  await stream.next();
  expect(stream.headers['x-ld-envid']).toBeUndefined();
});

test("a pattern with RE2's `(?i)` decides in evalx and OFREP as in LaunchDarkly's Go service", async () => {
  const ours = flag('ours', 1, {
    fallthrough: { variation: 1 },
    rules: [
      {
        id: 'staff',
        variation: 0,
        clauses: [{ contextKind: 'user', attribute: 'email', op: 'matches', values: ['(?i)@example\\.com$'] }],
      },
    ],
  });
  const upstream = opened(await startFakeUpstream({ flags: { ours } }));
  const relay = await start(upstreamVariables(upstream));
  await eventually(async () => expect((await getJson(relay, '/sdk/latest-all')).status).toBe(200));
  const answersFor = async (email: string) => {
    const context = Buffer.from(JSON.stringify({ kind: 'user', key: 'u', email })).toString('base64url');
    const evalx = await getJson(relay, `/sdk/evalx/contexts/${context}`);
    const ofrep = await fetch(`${relay.uri}/ofrep/v1/evaluate/flags/ours`, {
      method: 'POST',
      headers: { ...authorized, 'Content-Type': 'application/json' },
      body: JSON.stringify({ context: { targetingKey: 'u', email } }),
    });
    const { value, reason } = (await ofrep.json()) as Json;
    return { evalx: evalx.body.ours?.value, ofrep: value, reason };
  };
  expect(await answersFor('Ann@EXAMPLE.com')).toEqual({ evalx: 'a', ofrep: 'a', reason: 'RULE_MATCH' });
  expect(await answersFor('ann@example.org')).toMatchObject({ evalx: 'b', ofrep: 'b' });
});

test('an upstream reconnect sends readers nothing if the data is the same, and only changes otherwise @heavy', async () => {
  const upstream = opened(await startFakeUpstream({ flags: { a: flag('a', 1), b: flag('b', 1) } }));
  const relay = await start(upstreamVariables(upstream));
  const stream = opened(await readStream({ port: relay.port, path: '/all', headers: authorized }));
  await stream.next();
  upstream.cut();
  await upstream.connected(2);
  upstream.data = { flags: { a: flag('a', 1), b: flag('b', 2) }, segments: {} };
  upstream.cut();
  await upstream.connected(3);
  const next = await stream.next(10_000);
  expect(next).toEqual({ event: 'patch', data: `{"path":"/flags/b","data":${JSON.stringify(flag('b', 2))}}` });
  expect(stream.events).toHaveLength(2);
});

test('a relay with a filled store serves while LaunchDarkly is down, and its status shows the disconnect @heavy', async () => {
  const table = opened(await startTable());
  const upstream = opened(await startFakeUpstream({ flags: { a: flag('a', 5) } }));
  const first = await startTestRelay(upstreamVariables(upstream, table));
  await eventually(async () => expect((await getJson(first, '/sdk/flags/a')).status).toBe(200));
  await first.stored();
  await first.close();

  upstream.answer = { status: 503 };
  const second = await start(upstreamVariables(upstream, table));
  expect((await getJson(second, '/sdk/flags/a')).body).toEqual(flag('a', 5));
  expect((await getJson(second, '/readyz')).status).toBe(200);
  const { body } = await getJson(second, '/status');
  expect(body).toMatchObject({
    status: 'degraded',
    environments: {
      production: { initialized: true, status: 'disconnected', connectionStatus: { state: 'INITIALIZING' } },
    },
  });

  upstream.answer = 'stream';
  upstream.data = { flags: { a: flag('a', 6) }, segments: {} };
  const stream = opened(await readStream({ port: second.port, path: '/all', headers: authorized }));
  expect((await stream.next()).event).toBe('put');
  expect((await stream.next(15_000)).data).toContain('"version":6');
  const later = await getJson(second, '/status');
  expect(later.body).toMatchObject({ status: 'healthy', environments: { production: { status: 'connected' } } });
});

test('a relay without data answers 503 with Retry-After and never 4xx, whether LaunchDarkly is down or rejects its key', async () => {
  const upstream = opened(await startFakeUpstream());
  upstream.answer = { status: 503 };
  const relay = await start({ ...upstreamVariables(upstream), INIT_TIMEOUT: '1ms' });
  for (const path of ['/sdk/latest-all', '/sdk/flags', '/sdk/flags/a', '/sdk/segments/a']) {
    expect(await getJson(relay, path)).toMatchObject({ status: 503, retryAfter: expect.stringMatching(/^\d+$/) });
  }
  expect((await getJson(relay, '/readyz')).status).toBe(503);

  upstream.answer = { status: 401 };
  await eventually(async () => {
    const stream = await readStream({ port: relay.port, path: '/all', headers: authorized });
    stream.close();
    expect(stream).toMatchObject({ status: 503, headers: { 'retry-after': expect.stringMatching(/^\d+$/) } });
  });
  const { body } = await getJson(relay, '/status');
  expect(body.status).toBe('degraded');
  expect(JSON.stringify(body)).not.toContain(sdkKey);
});

test('an unknown key gets 401', async () => {
  const upstream = opened(await startFakeUpstream({ flags: { a: flag('a', 1) } }));
  const relay = await start(upstreamVariables(upstream));
  const response = await fetch(`${relay.uri}/sdk/latest-all`, { headers: { Authorization: 'sdk-other' } });
  expect(response.status).toBe(401);
});

test('an invalid flag is reported by name, its previous version is kept, and the others are served', async () => {
  const upstream = opened(await startFakeUpstream({ flags: { a: flag('a', 1), b: flag('b', 1) } }));
  const relay = await start(upstreamVariables(upstream));
  await eventually(async () => expect((await getJson(relay, '/sdk/flags/a')).status).toBe(200));
  await upstream.put({ flags: { a: flag('a', 2, { rules: 'none' }), b: flag('b', 2) }, segments: {} });
  await eventually(async () => expect((await getJson(relay, '/sdk/flags/b')).body.version).toBe(2));
  expect((await getJson(relay, '/sdk/flags/a')).body).toEqual(flag('a', 1));
  const { unreadable } = (await getJson(relay, '/status/production')).body;
  expect(unreadable).toEqual([{ kind: 'features', key: 'a', reason: expect.stringMatching(/rules must be/) }]);
  const logged = relay.lines.find(({ fields }) => fields.key === 'a');
  expect(logged).toMatchObject({ level: 'warn', fields: { environment: 'production', reason: unreadable[0].reason } });
});

test('of two relays on one table only one writes, and the other takes over when it stops @heavy', async () => {
  const table = opened(await startTable());
  const upstream = opened(await startFakeUpstream({ flags: { a: flag('a', 1) } }));
  const relays = [
    await startTestRelay(upstreamVariables(upstream, table)),
    await startTestRelay(upstreamVariables(upstream, table)),
  ];
  const writers = async () => {
    const flags = await Promise.all(
      relays.map(async (relay) => (await getJson(relay, '/status/production')).body.stores[0].writer as boolean),
    );
    return flags.flatMap((writer, index) => (writer ? [index] : []));
  };
  let holder = -1;
  await eventually(async () => {
    const found = await writers();
    expect(found).toHaveLength(1);
    holder = found[0] ?? -1;
  });
  const [gone] = relays.splice(holder, 1);
  await gone?.close();
  await eventually(async () => expect(await writers()).toEqual([0]));
  for (const relay of relays) await relay.close();
});

test('a port in use is named in the error, and nothing is left open', async () => {
  const blocker = createServer();
  await new Promise<void>((resolve) => blocker.listen(0, '127.0.0.1', resolve));
  const { port } = blocker.address() as { port: number };
  const upstream = opened(await startFakeUpstream());
  await expect(startTestRelay({ ...upstreamVariables(upstream), PORT: String(port) })).rejects.toMatchObject({
    code: 'LISTEN_FAILED',
    message: expect.stringContaining(String(port)),
  });
  expect(upstream.connections).toBe(0);
  await new Promise((resolve) => blocker.close(resolve));
});

test('a certificate for Redis that cannot be read is named in the error, with its setting', async () => {
  const upstream = opened(await startFakeUpstream());
  const redis = { USE_REDIS: 'true', REDIS_TLS: 'true', REDIS_CA_FILE: '/nowhere/ca.pem' };
  await expect(startTestRelay({ ...upstreamVariables(upstream), ...redis })).rejects.toMatchObject({
    code: 'CONFIG_INVALID',
    message: expect.stringMatching(/^Cannot read REDIS_CA_FILE=\/nowhere\/ca\.pem: ENOENT/),
  });
});

describe('an environment from a file', () => {
  let directory: string;
  let file: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'relay-'));
    file = join(directory, 'flags.json');
  });
  afterEach(() => rmSync(directory, { recursive: true }));
  const variables = (): Variables => ({ LD_ENV_production: sdkKey, LD_FLAGS_FILE_production: file });

  test('is served, follows edits, and keeps its last good data while the file is broken', async () => {
    writeFileSync(file, JSON.stringify(exampleEnvironment()));
    const relay = await start(variables());
    const stream = opened(await readStream({ port: relay.port, path: '/all', headers: authorized }));
    await stream.next();
    writeFileSync(file, '{"flags": {"retired": ');
    await eventually(async () => {
      const { body } = await getJson(relay, '/status/production');
      expect(body.connectionStatus).toMatchObject({ state: 'INTERRUPTED', lastError: { kind: 'INVALID_DATA' } });
    });
    expect((await getJson(relay, '/sdk/flags/retired')).body).toMatchObject({ on: false, version: 1 });
    const edited = exampleEnvironment();
    edited.flags.retired = { ...edited.flags.retired, on: true };
    writeFileSync(file, JSON.stringify(edited));
    const patch = JSON.parse((await stream.next()).data);
    expect(patch).toMatchObject({ path: '/flags/retired', data: { on: true, version: 2 } });
  });

  test('fails the start if the file is missing, and the error names the file', async () => {
    await expect(startTestRelay(variables())).rejects.toMatchObject({
      code: 'FLAGS_FILE_INVALID',
      message: `${file}: file not found`,
    });
  });
});
