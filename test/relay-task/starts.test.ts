/** Starts while something around the relay is down, slow or refusing: the state is as documented, and a good key never gets a final error. */
import { ScanCommand } from '@aws-sdk/client-dynamodb';
import type { Variables } from '../../relay-task/config/config.ts';
import { startTable, type TestTable } from '../support/dynalite.ts';
import { eventually } from '../support/eventually.ts';
import { environmentRep, startFakeAutoConfig } from '../support/fake-auto-config.ts';
import { type FakeUpstream, startFakeUpstream } from '../support/fake-upstream.ts';
import { type FaultyProxy, startFaultyProxy } from '../support/faulty-proxy.ts';
import { freePort } from '../support/free-port.ts';
import { closeAfterEach } from '../support/opened.ts';
import { type PatientClient, startPatientClient } from '../support/patient-client.ts';
import { autoConfigKey, hastyTimings } from '../support/rotating-sources.ts';
import { type SsmServer, startSsmServer } from '../support/ssm-server.ts';
import { startTestRelay, type TestRelay } from '../support/start-relay.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';

/** Any response; the tests assert what they read. */
// biome-ignore lint/suspicious/noExplicitAny: the tests reach into answers of many shapes
type Json = any;

const sdkKey = 'sdk-00000000-1111-2222-3333-444455556666';
const mobileKey = 'mob-00000000-1111-2222-3333-444455556666';
const environmentId = 'cccccccccccccccccccccccc';
const context = Buffer.from('{"kind":"user","key":"k"}').toString('base64url');
/** The documented time to boot from a store, asserted on an idle machine; otherwise only a bound against hanging. */
const PROMISED_MS = process.env.LONG ? 3_000 : 60_000;

const flagsIn = (version: number) => ({
  flags: { a: { key: 'a', version, on: true, variations: [version], fallthrough: { variation: 0 }, salt: '' } },
  segments: {},
});
const everyKind = [
  { path: '/sdk/latest-all', key: sdkKey },
  { path: `/msdk/evalx/contexts/${context}`, key: mobileKey },
  { path: `/sdk/evalx/${environmentId}/contexts/${context}` },
];

const { opened, behind } = closeAfterEach();

/** Starts a relay, and clients that send requests before it listens. */
async function startAsked(
  variables: Variables,
  asked: Parameters<typeof startPatientClient>[1] = everyKind,
): Promise<{ relay: Promise<TestRelay>; client: PatientClient; port: number }> {
  const port = await freePort();
  const client = startPatientClient(port, asked);
  const options = { timings: hastyTimings, secrets: [sdkKey, mobileKey] };
  const relay = startTestRelay({ PORT: String(port), ...variables }, options).then(opened);
  behind(() => client.stop());
  relay.catch(() => {});
  return { relay, client, port };
}

async function versionAt(port: number, key = sdkKey): Promise<number> {
  const response = await fetch(`http://127.0.0.1:${port}/sdk/flags/a`, { headers: { Authorization: key } });
  return ((await response.json()) as Json).version;
}

async function statusAt(port: number): Promise<Json> {
  return (await fetch(`http://127.0.0.1:${port}/status`)).json();
}

/** Everything in the table, as text. */
async function storedIn(table: TestTable): Promise<string> {
  const { Items = [] } = await table.client.send(new ScanCommand({ TableName: table.tableName }));
  return JSON.stringify(Items, (_key, value: unknown) =>
    value instanceof Uint8Array ? Buffer.from(value).toString('latin1') : value,
  );
}

async function expectNothingFatal(client: PatientClient): Promise<void> {
  await client.stop();
  expect(client.fatal).toEqual([]);
}

describe('a relay that starts with LaunchDarkly and a store', () => {
  let upstream: FakeUpstream;
  let table: TestTable;
  let store: FaultyProxy;
  let variables: Variables;
  beforeEach(async () => {
    upstream = opened(await startFakeUpstream(flagsIn(1)));
    table = opened(await startTable());
    store = opened(await startFaultyProxy(table.endpoint));
    variables = {
      ...{ LD_ENV_shop: sdkKey, LD_MOBILE_KEY_shop: mobileKey, LD_CLIENT_SIDE_ID_shop: environmentId },
      ...{ LD_PREFIX_shop: 'shop', STREAM_URI: upstream.uri },
      ...{ USE_DYNAMODB: 'true', DYNAMODB_TABLE: table.tableName, DYNAMODB_URL: store.endpoint },
    };
  });

  async function fill() {
    const relay = await startTestRelay(variables);
    await relay.initialized();
    await relay.stored();
    await relay.close();
  }

  test.each(['cut', 'hang', { status: 503 }] as const)(
    'serves every kind of client from a full store while LaunchDarkly is down (%j) @heavy',
    async (answer) => {
      await fill();
      upstream.answer = answer;
      // A relay that waited for LaunchDarkly would serve nothing in this test.
      const { relay, client, port } = await startAsked({ ...variables, INIT_TIMEOUT: '10m' });
      await eventually(() => expect(client.servedAfterMs).toBeLessThan(PROMISED_MS));
      await relay;
      expect(await versionAt(port)).toBe(1);
      expect((await fetch(`http://127.0.0.1:${port}/readyz`)).status).toBe(200);
      expect((await statusAt(port)).environments.shop).toMatchObject({
        initialized: true,
        connectionStatus: { state: 'INITIALIZING' },
        dataStoreStatus: { state: 'VALID' },
      });
      await expectNothingFatal(client);
    },
  );

  test('answers 503 while both are down, serves once LaunchDarkly is back, and fills the store when that is back @heavy', async () => {
    upstream.answer = 'cut';
    store.cut();
    const { relay, client, port } = await startAsked({ ...variables, INIT_TIMEOUT: '100ms' });
    await relay;
    await eventually(() => expect(client.answers).toContain(503));
    expect(client.answers).not.toContain(200);
    expect((await fetch(`http://127.0.0.1:${port}/readyz`)).status).toBe(503);
    expect((await fetch(`http://127.0.0.1:${port}/livez`)).status).toBe(200);

    upstream.answer = 'stream';
    await eventually(async () => expect(await versionAt(port)).toBe(1));
    expect((await fetch(`http://127.0.0.1:${port}/readyz`)).status).toBe(200);
    expect((await statusAt(port)).environments.shop.stores).toMatchObject([{ state: 'INTERRUPTED', writer: false }]);

    store.heal();
    await eventually(async () => {
      await (await relay).stored(1_000);
      const { Items = [] } = await table.client.send(new ScanCommand({ TableName: table.tableName }));
      expect(Items.map(({ namespace, key }) => `${namespace!.S} ${key!.S}`)).toContain('shop:features a');
    });
    await expectNothingFatal(client);
  });

  test('does not wait for the store if both are slow, and ignores data that the store delivers too late @heavy', async () => {
    await fill();
    upstream.data = flagsIn(2);
    const slowUpstream = opened(await startTcpProxy(Number(new URL(upstream.uri).port)));
    slowUpstream.slow(100);
    // Reading takes several requests in sequence, so the store is slowest by far.
    store.slow(2_500);
    const { relay, client, port } = await startAsked({
      ...variables,
      STREAM_URI: `http://127.0.0.1:${slowUpstream.port}`,
    });
    await eventually(() => expect(client.servedAfterMs).toBeLessThan(PROMISED_MS));
    expect(await versionAt(port)).toBe(2);
    const { lines } = await relay;
    await eventually(() => expect(store.passed.length).toBeGreaterThan(0));
    store.slow(0);
    await (await relay).stored();
    expect(lines.map(({ message }) => message)).not.toContain('Booted from the store');
    expect(await versionAt(port)).toBe(2);
    await expectNothingFatal(client);
  });

  test('answers 503 while LaunchDarkly rejects the key, shows it in the status, and serves once the key is accepted @heavy', async () => {
    upstream.answer = { status: 401 };
    const { relay, client, port } = await startAsked(variables);
    await relay;
    await eventually(async () => {
      const { status, environments } = await statusAt(port);
      expect(status).toBe('degraded');
      expect(environments.shop).toMatchObject({
        initialized: false,
        connectionStatus: { lastError: { kind: 'ERROR_RESPONSE' } },
      });
    });
    await eventually(() => expect(client.answers).toContain(503));
    expect(client.answers).not.toContain(200);
    upstream.answer = 'stream';
    await eventually(async () => expect(await versionAt(port)).toBe(1));
    expect((await statusAt(port)).status).toBe('healthy');
    await expectNothingFatal(client);
  });
});

describe('a relay with keys from SSM', () => {
  let upstream: FakeUpstream;
  let ssm: SsmServer;
  let variables: Variables;
  const put = (name: string, value: string) => ssm.put(`/relay/shop/${name}`, value);
  beforeEach(async () => {
    upstream = opened(await startFakeUpstream(flagsIn(1)));
    ssm = opened(await startSsmServer());
    variables = { KEYS_FROM_SSM: '/relay', SSM_URL: ssm.endpoint, STREAM_URI: upstream.uri };
    put('sdk-key', sdkKey);
    put('mobile-key', mobileKey);
    put('client-side-id', environmentId);
  });
  const keySource = async (port: number) => (await statusAt(port)).keySource;
  const served = (client: PatientClient) => eventually(() => expect(client.answers).toContain(200));

  test.each([
    ['unreachable', () => ssm.down()],
    ['silent', () => ssm.hang()],
    ['throttled', () => ssm.throttle(1_000)],
    ['forbidden', () => ssm.deny()],
    ['broken', () => ssm.break()],
    ['without permission to decrypt', () => ssm.deny('GetParameters')],
  ] as const)('answers 503 if SSM is %s at startup, and serves everyone once it answers @heavy', async (_how, fail) => {
    fail();
    const { relay, client, port } = await startAsked(variables);
    await relay;
    await eventually(() => expect(client.answers.filter((answer) => answer === 503).length).toBeGreaterThan(5));
    expect(client.answers).not.toContain(200);
    expect(await (await fetch(`http://127.0.0.1:${port}/readyz`)).text()).toContain('list of environments');
    ssm.heal();
    await served(client);
    await eventually(async () => expect(await keySource(port)).toMatchObject({ state: 'VALID' }));
    await expectNothingFatal(client);
    // Only now can a key be known to be unknown.
    const unknown = await fetch(`http://127.0.0.1:${port}/sdk/flags`, { headers: { Authorization: 'sdk-other' } });
    expect(unknown.status).toBe(401);
  });

  test.each([
    ['unreachable', () => ssm.down()],
    ['throttled', () => ssm.throttle(1_000)],
    ['forbidden', () => ssm.deny()],
  ] as const)(
    'keeps its keys while SSM is %s, shows it, and answers 503 to a new key until it is read @heavy',
    async (_how, fail) => {
      const newKey = 'sdk-99999999-1111-2222-3333-444455556666';
      const { relay, client, port } = await startAsked(variables);
      await served(client);
      fail();
      await eventually(async () => expect(await keySource(port)).toMatchObject({ state: 'INTERRUPTED' }));
      const { body } = await (await relay).metrics.text();
      expect(body).toMatch(/^launchdarkly_relay_key_source_down(\{[^}]*\})? 1$/m);
      const late = startPatientClient(port, [{ path: '/sdk/latest-all', key: newKey }]);
      behind(() => late.stop());
      put('previous-sdk-key', sdkKey);
      put('sdk-key', newKey);
      await eventually(() => expect(late.answers).toContain(503));
      expect(client.answers.slice(-3)).toEqual([200, 200, 200]);
      ssm.heal();
      await served(late);
      await expectNothingFatal(client);
      await expectNothingFatal(late);
      expect(client.answers).not.toContain('cut');
    },
  );

  test('serves all but the environment that no store can hold, names it, and keeps the former place if a new one is impossible @heavy', async () => {
    const badKey = 'sdk-99999999-1111-2222-3333-444455556666';
    const aside = (name: string, value: string) => ssm.put(`/relay/bad/${name}`, value);
    put('prefix', '{shop}');
    aside('sdk-key', badKey);
    aside('prefix', '}bad');
    // No Redis Cluster can hold such a prefix; there is none to be asked.
    const cluster = { USE_REDIS: 'true', REDIS_CLUSTER_NODES: '127.0.0.1:1' };
    const table = opened(await startTable());
    const dynamoDB = { USE_DYNAMODB: 'true', DYNAMODB_TABLE: table.tableName, DYNAMODB_URL: table.endpoint };
    const relay = opened(await startTestRelay({ ...variables, ...cluster, ...dynamoDB }, { timings: hastyTimings }));
    const statusOf = async (key: string) =>
      (await fetch(`${relay.uri}/sdk/latest-all`, { headers: { Authorization: key } })).status;
    const problemOf = async (id: string) => (await statusAt(relay.port)).environments[id]?.keyProblem?.message;
    await eventually(async () => expect(await statusOf(sdkKey)).toBe(200));
    await eventually(async () =>
      expect(await problemOf('bad')).toMatch(/cannot be set up: the prefix "}bad" must contain/),
    );
    expect(await statusOf(badKey)).toBe(503);
    await eventually(async () => expect((await fetch(`${relay.uri}/readyz`)).status).toBe(200));
    expect((await relay.metrics.text()).body).toMatch(/^launchdarkly_relay_key_problems\{[^}]*env="bad"[^}]*\} 1$/m);
    aside('prefix', '{bad}');
    await eventually(async () => expect(await statusOf(badKey)).toBe(200));
    expect(await problemOf('bad')).toBeUndefined();
    // In a running relay: another one that cannot be used, then one that was in use.
    const lateKey = 'sdk-77777777-1111-2222-3333-444455556666';
    ssm.put('/relay/late/prefix', '}late', { type: 'String' });
    ssm.put('/relay/late/sdk-key', lateKey);
    await eventually(async () =>
      expect(await problemOf('late')).toMatch(/cannot be set up: the prefix "}late" must contain/),
    );
    expect(await statusOf(lateKey)).toBe(503);
    expect(await statusOf(badKey)).toBe(200);
    expect((await relay.metrics.text()).body).toMatch(/^launchdarkly_relay_key_problems\{[^}]*env="late"[^}]*\} 1$/m);
    put('prefix', '}shop');
    await eventually(async () =>
      expect(await problemOf('shop')).toMatch(/cannot be set up: the prefix "}shop" must contain/),
    );
    await eventually(async () =>
      expect((await statusAt(relay.port)).environments.shop.stores[0]).toMatchObject({
        dbPrefix: '{shop}',
        writer: true,
      }),
    );
    const newKey = 'sdk-88888888-1111-2222-3333-444455556666';
    put('previous-sdk-key', sdkKey);
    put('sdk-key', newKey);
    await eventually(async () => expect(await statusOf(newKey)).toBe(200));
    put('prefix', '{other}');
    await eventually(async () =>
      expect((await statusAt(relay.port)).environments.shop.stores[0]).toMatchObject({
        dbPrefix: '{other}',
        writer: true,
      }),
    );
    expect(await problemOf('shop')).not.toMatch(/cannot be set up/);
  });

  test('keeps the previous key if a new one cannot be decrypted, answers 503 to the new one, and shows it @heavy', async () => {
    const newKey = 'sdk-99999999-1111-2222-3333-444455556666';
    const { client, port } = await startAsked(variables);
    await served(client);
    ssm.forbid('/relay/shop/sdk-key');
    put('sdk-key', newKey);
    await eventually(async () => {
      const { keyProblem } = (await statusAt(port)).environments.shop;
      expect(keyProblem?.message).toContain('shop/sdk-key cannot be read');
    });
    const late = startPatientClient(port, [{ path: '/sdk/latest-all', key: newKey }]);
    behind(() => late.stop());
    await eventually(() => expect(late.answers).toContain(503));
    ssm.heal();
    put('previous-sdk-key', sdkKey);
    await served(late);
    await expectNothingFatal(client);
    await expectNothingFatal(late);
    expect(client.answers.at(-1)).toBe(200);
  });
});

describe('a relay with two environments in SSM, one of which cannot be read at startup', () => {
  const [badKey, badMobileKey] = [
    'sdk-11111111-1111-2222-3333-444455556666',
    'mob-11111111-1111-2222-3333-444455556666',
  ];
  const badId = 'dddddddddddddddddddddddd';

  test.each([
    ['any', 200],
    ['all', 503],
  ])(
    'serves the good one, answers 503 and never 401 to the other’s clients, and with READY_REQUIRES=%s /readyz says %i @heavy',
    async (required, ready) => {
      const upstream = opened(await startFakeUpstream(flagsIn(1)));
      const ssm = opened(await startSsmServer());
      for (const [name, sdk, mobile, id] of [
        ['shop', sdkKey, mobileKey, environmentId],
        ['blog', badKey, badMobileKey, badId],
      ]) {
        ssm.put(`/relay/${name}/sdk-key`, `${sdk}`);
        ssm.put(`/relay/${name}/mobile-key`, `${mobile}`);
        ssm.put(`/relay/${name}/client-side-id`, `${id}`);
      }
      ssm.forbid('/relay/blog/sdk-key', '/relay/blog/mobile-key');
      const variables = { KEYS_FROM_SSM: '/relay', SSM_URL: ssm.endpoint, STREAM_URI: upstream.uri };
      const { relay, client, port } = await startAsked({ ...variables, READY_REQUIRES: required, INIT_TIMEOUT: '1h' });
      await relay;
      const bad = startPatientClient(port, [
        { path: '/sdk/latest-all', key: badKey },
        { path: `/msdk/evalx/contexts/${context}`, key: badMobileKey },
        { path: `/sdk/evalx/${badId}/contexts/${context}` },
      ]);
      behind(() => bad.stop());
      await eventually(() => expect(client.answers).toContain(200));
      await eventually(() => expect(bad.answers.filter((answer) => answer === 503).length).toBeGreaterThan(9));
      await eventually(async () => expect((await fetch(`http://127.0.0.1:${port}/readyz`)).status).toBe(ready));
      expect(new Set(bad.answers)).toEqual(new Set([503]));
      expect((await statusAt(port)).environments.blog.keyProblem.message).toContain('blog/sdk-key cannot be read');

      ssm.heal();
      await eventually(() => expect(bad.answers).toContain(200));
      await eventually(async () => expect((await fetch(`http://127.0.0.1:${port}/readyz`)).status).toBe(200));
      await expectNothingFatal(bad);
      await expectNothingFatal(client);
    },
  );
});

describe('auto-configuration cached in the store', () => {
  const shop = environmentRep(environmentId, 1, { sdkKey: { value: sdkKey }, mobKey: mobileKey });

  test('serves a relay that writes and one that only reads while LaunchDarkly is down, and both catch up later @heavy', async () => {
    const fake = opened(await startFakeAutoConfig(shop));
    fake.upstream.data = flagsIn(1);
    const table = opened(await startTable());
    const variables = {
      ...{ AUTO_CONFIG_KEY: autoConfigKey, ENV_DATASTORE_PREFIX: 'ld-$CID', STREAM_URI: fake.upstream.uri },
      ...{ USE_DYNAMODB: 'true', DYNAMODB_TABLE: table.tableName, DYNAMODB_URL: table.endpoint },
    };
    const stored = () => storedIn(table);
    const first = await startTestRelay(variables, { timings: hastyTimings, secrets: [sdkKey, mobileKey] });
    await eventually(async () => expect(await versionAt(first.port)).toBe(1));
    await first.stored();
    await eventually(async () => expect(await stored()).toContain('auto-config'));
    await first.close();
    for (const secret of [sdkKey, mobileKey, autoConfigKey]) expect(await stored()).not.toContain(secret);

    fake.upstream.answer = 'cut';
    const before = await stored();
    const [writing, reading] = [await startAsked(variables), await startAsked({ ...variables, STORE_WRITER: 'never' })];
    for (const { client, port } of [writing, reading]) {
      await eventually(() => expect(client.answers).toContain(200));
      // The wait for LaunchDarkly comes first.
      expect(client.servedAfterMs).toBeLessThan(PROMISED_MS + 1_000);
      const status = await statusAt(port);
      expect(status.keySource).toMatchObject({ kind: 'auto-configuration', state: 'INTERRUPTED' });
      expect(status.environments[environmentId]).toMatchObject({ initialized: true, status: 'disconnected' });
      expect((await fetch(`http://127.0.0.1:${port}/readyz`)).status).toBe(200);
    }
    expect(await stored()).toBe(before);

    // The relay cannot know yet what LaunchDarkly has changed.
    const blog = environmentRep('dddddddddddddddddddddddd', 1);
    const late = startPatientClient(writing.port, [{ path: '/sdk/latest-all', key: blog.sdkKey.value }]);
    behind(() => late.stop());
    await eventually(() => expect(late.answers).toContain(503));
    fake.environments[blog.envId] = blog;
    fake.upstream.answer = 'stream';
    await eventually(() => expect(late.answers).toContain(200));
    for (const client of [writing.client, reading.client, late]) await expectNothingFatal(client);
  });
});

describe('keys from SSM cached in the store', () => {
  const cacheKey = 'a long random secret of the stage';

  test('serve a relay that writes and one that only reads while SSM hangs, and cannot be read in the store @heavy', async () => {
    const upstream = opened(await startFakeUpstream(flagsIn(1)));
    const ssm = opened(await startSsmServer());
    ssm.put('/relay/shop/sdk-key', sdkKey);
    ssm.put('/relay/shop/mobile-key', mobileKey);
    ssm.put('/relay/shop/client-side-id', environmentId);
    const table = opened(await startTable());
    const variables = {
      ...{ KEYS_FROM_SSM: '/relay', SSM_URL: ssm.endpoint, SSM_CACHE_ENCRYPTION_KEY: cacheKey },
      ...{ USE_DYNAMODB: 'true', DYNAMODB_TABLE: table.tableName, DYNAMODB_URL: table.endpoint },
      STREAM_URI: upstream.uri,
    };
    const first = await startTestRelay(variables, { timings: hastyTimings, secrets: [sdkKey, mobileKey] });
    await eventually(async () => expect(await versionAt(first.port)).toBe(1));
    await first.stored();
    await eventually(async () => expect(await storedIn(table)).toContain('ssm-keys'));
    await first.close();
    for (const secret of [sdkKey, mobileKey, cacheKey]) expect(await storedIn(table)).not.toContain(secret);

    ssm.hang();
    const asked = ssm.calls.length;
    const [writing, reading] = [await startAsked(variables), await startAsked({ ...variables, STORE_WRITER: 'never' })];
    for (const { client, port } of [writing, reading]) {
      await eventually(() => expect(client.answers).toContain(200));
      expect(await versionAt(port)).toBe(1);
      const { keySource } = await statusAt(port);
      expect(keySource).toMatchObject({ kind: 'ssm' });
      expect(keySource.state).not.toBe('VALID');
      // Keys may have come since.
      const unknown = await fetch(`http://127.0.0.1:${port}/sdk/flags`, { headers: { Authorization: 'sdk-other' } });
      expect(unknown.status).toBe(503);
    }
    expect(ssm.calls.length).toBeGreaterThan(asked);

    ssm.heal();
    for (const { client, port } of [writing, reading]) {
      await eventually(async () => expect((await statusAt(port)).keySource).toMatchObject({ state: 'VALID' }));
      await expectNothingFatal(client);
    }
  });
});
