/** A network that reaches AWS only through an HTTP proxy: real sockets, and host names that only the proxy can resolve. */
import { setMaxListeners } from 'node:events';
import { writeFileSync } from 'node:fs';
import { GetItemCommand } from '@aws-sdk/client-dynamodb';
import type { Variables } from '../../relay-task/config/config.ts';
import { hashOf } from '../../relay-task/store/big-segments.ts';
import { createDynamoDBClient } from '../../relay-task/store/dynamodb-client.ts';
import { createOutbound } from '../../relay-task/upstream/outbound.ts';
import { type Authority, createAuthority, startTlsFront } from '../support/authority.ts';
import { startTable, type TestTable, testCredentials, testRegion } from '../support/dynalite.ts';
import { eventually, turnsOfLoop } from '../support/eventually.ts';
import { startFakeBigSegments, wirePatch } from '../support/fake-big-segments.ts';
import { type FakeProxy, startFakeProxy } from '../support/fake-proxy.ts';
import { startFakeUpstream } from '../support/fake-upstream.ts';
import { closeAfterEach } from '../support/opened.ts';
import { hastyTimings } from '../support/rotating-sources.ts';
import { type SsmServer, startSsmServer } from '../support/ssm-server.ts';
import { startTestRelay } from '../support/start-relay.ts';

const dynamoDBHost = 'dynamodb.eu-west-1.example.test';
const ssmHost = 'ssm.eu-west-1.example.test';
const sdkKey = 'sdk-00000000-1111-2222-3333-444455556666';
const password = 'n0t-in-any-log';
const authorization = `Basic ${Buffer.from(`jane:${password}`).toString('base64')}`;

const { opened, behind } = closeAfterEach();

let authority: Authority;
beforeAll(async () => {
  authority = await createAuthority(dynamoDBHost, ssmHost);
});
afterAll(() => authority.close());

let table: TestTable;
let ssm: SsmServer;
let proxy: FakeProxy;
/** The proxy's address with a user. */
let address: string;
beforeEach(async () => {
  table = opened(await startTable());
  ssm = opened(await startSsmServer());
  const ports = new Map<string, number>();
  for (const [host, { endpoint }] of [[dynamoDBHost, table] as const, [ssmHost, ssm] as const]) {
    const port = Number(new URL(endpoint).port);
    ports.set(`${host}:443`, opened(await startTlsFront(port, authority)).port);
    // Without TLS.
    ports.set(host, port);
  }
  proxy = opened(await startFakeProxy((host) => ports.get(host)));
  // Runs when relays and clients are closed.
  behind(() => eventually(() => expect(proxy.openSockets).toBe(0)));
  address = proxy.uri.replace('//', `//jane:${password}@`);
});

const flagsIn = (version: number, segments = {}) => ({
  flags: { a: { key: 'a', version, on: true, variations: [version], fallthrough: { variation: 0 }, salt: '' } },
  segments,
});

/** A relay with its keys in SSM and its flags in DynamoDB. */
async function startRelay(env: Variables, variables: Variables = {}, data = flagsIn(1)) {
  const upstream = opened(await startFakeUpstream(data));
  upstream.answer = ({ url }) => (url.startsWith('/big-segments') ? 'silent' : 'stream');
  ssm.put('/relay/shop/sdk-key', sdkKey);
  const relay = opened(
    await startTestRelay(
      {
        ...{ KEYS_FROM_SSM: '/relay', SSM_URL: `https://${ssmHost}`, STREAM_URI: upstream.uri },
        ...{ USE_DYNAMODB: 'true', DYNAMODB_TABLE: table.tableName, DYNAMODB_URL: `https://${dynamoDBHost}` },
        ...{ PROXY_CA_CERTS: authority.file, ...variables },
      },
      { env, timings: hastyTimings, secrets: [sdkKey, password, authorization] },
    ),
  );
  return { relay, upstream };
}

/** What `/status` says of the store and of the source of keys. */
async function statesOf({ uri }: { uri: string }) {
  const { environments, keySource } = (await (await fetch(`${uri}/status`)).json()) as {
    environments: Record<string, { dataStoreStatus?: { state: string } }>;
    keySource?: { state: string };
  };
  return { store: environments.shop?.dataStoreStatus?.state, source: keySource?.state };
}

async function storedVersion(): Promise<number> {
  const Key = { namespace: { S: 'shop:features' }, key: { S: 'a' } };
  const { Item } = await table.client.send(new GetItemCommand({ TableName: table.tableName, Key }));
  return (JSON.parse(Item?.item?.S ?? '{}') as { version: number }).version;
}

const askedOf = (host: string) => proxy.asked.filter(({ what }) => what.includes(host));

describe('a relay whose SSM and DynamoDB are only reachable through HTTPS_PROXY', () => {
  test('reads its keys and fills its table, over connections that are kept @heavy', async () => {
    const { relay } = await startRelay({ HTTPS_PROXY: address });
    await eventually(async () => expect(await statesOf(relay)).toEqual({ store: 'VALID', source: 'VALID' }));
    await eventually(async () => expect(await storedVersion()).toBe(1));
    await eventually(() => expect(ssm.calls.length).toBeGreaterThan(20));
    expect(new Set(proxy.asked.map(({ what }) => what))).toEqual(
      new Set([`CONNECT ${dynamoDBHost}:443`, `CONNECT ${ssmHost}:443`]),
    );
    expect(new Set(proxy.asked.map((asked) => asked.authorization))).toEqual(new Set([authorization]));
    expect(askedOf(ssmHost).length).toBeLessThan(ssm.calls.length / 4);
  });

  test.each([
    ['is gone', /socket hang up|ECONNRESET|EPIPE/, () => proxy.cut(), () => proxy.heal()],
    [
      'wants another user',
      /the proxy 127\.0\.0\.1:\d+ answered 407 \(authentication required\)/,
      () => {
        proxy.refuse = 407;
        proxy.cut();
        proxy.heal();
      },
      () => {
        proxy.refuse = undefined;
      },
    ],
  ])('serves from memory while the proxy %s, says why, and catches up @heavy', async (_, reason, breakIt, mendIt) => {
    const { relay, upstream } = await startRelay({ HTTPS_PROXY: address });
    await eventually(async () => expect(await storedVersion()).toBe(1));
    breakIt();
    await upstream.put(flagsIn(2));
    await eventually(async () =>
      expect(await statesOf(relay)).toEqual({ store: 'INTERRUPTED', source: 'INTERRUPTED' }),
    );
    const answer = await fetch(`${relay.uri}/sdk/flags/a`, { headers: { Authorization: sdkKey } });
    expect(await answer.json()).toMatchObject({ version: 2 });
    const reasons = () => relay.lines.map(({ fields }) => String(fields.reason)).join('\n');
    await eventually(() => expect(reasons()).toMatch(reason));
    mendIt();
    await eventually(async () => expect(await statesOf(relay)).toEqual({ store: 'VALID', source: 'VALID' }));
    await eventually(async () => expect(await storedVersion()).toBe(2));
  });

  test('keeps Big Segments in the table @heavy', async () => {
    const member = hashOf('alice');
    const launchDarkly = opened(await startFakeBigSegments(wirePatch('vip.g3', '', 'v1', [`+${member}`])));
    const vip = { key: 'vip', version: 1, salt: '', unbounded: true, generation: 3 };
    await startRelay({ HTTPS_PROXY: address }, { BASE_URI: launchDarkly.uri }, flagsIn(1, { vip }));
    await eventually(async () => {
      const Key = { namespace: { S: 'shop:big_segments_user' }, key: { S: member } };
      const { Item } = await table.client.send(new GetItemCommand({ TableName: table.tableName, Key }));
      expect(Item?.included?.SS).toEqual(['vip.g3']);
    });
  });
});

test('endpoints of the loopback interface are reached directly, whatever the proxies @heavy', async () => {
  const { relay } = await startRelay(
    { HTTPS_PROXY: address, HTTP_PROXY: address },
    { DYNAMODB_URL: table.endpoint, SSM_URL: ssm.endpoint },
  );
  await eventually(async () => expect(await statesOf(relay)).toEqual({ store: 'VALID', source: 'VALID' }));
  expect(proxy.asked).toEqual([]);
});

describe('a client of DynamoDB', () => {
  function openClient(endpoint: string | undefined, env: Variables, more: { user?: string; proxyUrl?: string } = {}) {
    const agents = createOutbound({ caCertFiles: [authority.file], env, ...more, password }).awsAgents();
    const client = createDynamoDBClient({ endpoint, region: testRegion, credentials: testCredentials, agents });
    behind(() => client.destroy());
    return client;
  }
  const ask = (client: ReturnType<typeof openClient>, abortSignal?: AbortSignal) =>
    client.send(
      new GetItemCommand({ TableName: table.tableName, Key: { namespace: { S: 'x' }, key: { S: 'y' } } }),
      ...(abortSignal ? [{ abortSignal }] : []),
    );

  test('asks the proxy by absolute URL where its endpoint has no TLS, over one connection', async () => {
    const client = openClient(`http://${dynamoDBHost}`, { HTTP_PROXY: address });
    for (let time = 0; time < 3; time++) await ask(client);
    expect(proxy.asked).toEqual(Array(3).fill({ what: `POST http://${dynamoDBHost}/`, authorization }));
    expect(proxy.openSockets).toBe(1);
  });

  test.each([
    [{}, 1],
    [{ NO_PROXY: 'example.com,0.0.0.0' }, 0],
    [{ no_proxy: '0.0.0.0/8' }, 0],
    [{ NO_PROXY: '*' }, 0],
  ])('reaches what NO_PROXY names directly: %j', async (env, proxied) => {
    const proxies = opened(await startFakeProxy(Number(new URL(table.endpoint).port)));
    // The operating system takes it for this machine, but it is no address of the loopback interface.
    const client = openClient(table.endpoint.replace('127.0.0.1', '0.0.0.0'), { HTTP_PROXY: proxies.uri, ...env });
    await ask(client);
    expect(proxies.asked).toHaveLength(proxied);
  });

  test.each(['http://169.254.170.2', 'http://169.254.169.254', 'http://[fd00:ec2::254]', 'http://[fd00:ec2::23]'])(
    'never asks a proxy for credentials of a task or an instance: %s',
    async (endpoint) => {
      await ask(openClient(endpoint, { HTTP_PROXY: address }), AbortSignal.timeout(50)).catch(() => {});
      expect(proxy.asked).toEqual([]);
    },
  );

  test('gets the credentials of a role through the proxy', async () => {
    const variables = {
      AWS_ROLE_ARN: 'arn:aws:iam::123456789012:role/relay',
      AWS_WEB_IDENTITY_TOKEN_FILE: `${authority.file}.token`,
      AWS_ENDPOINT_URL_STS: 'https://sts.example.test',
      AWS_ACCESS_KEY_ID: undefined,
      AWS_SECRET_ACCESS_KEY: undefined,
    };
    writeFileSync(variables.AWS_WEB_IDENTITY_TOKEN_FILE, 'token');
    const before = { ...process.env };
    Object.assign(process.env, variables);
    for (const [name, value] of Object.entries(variables)) if (value === undefined) delete process.env[name];
    try {
      const agents = createOutbound({ caCertFiles: [], env: { HTTPS_PROXY: address } }).awsAgents();
      const client = createDynamoDBClient({ region: testRegion, agents });
      behind(() => client.destroy());
      await expect(client.config.credentials()).rejects.toThrow('answered 502');
      expect(askedOf('sts.example.test').length).toBeGreaterThan(0);
    } finally {
      for (const name of Object.keys(variables)) delete process.env[name];
      Object.assign(process.env, before);
    }
  });

  test('has the user of the settings for the proxy of a variable, unless the settings name a proxy @heavy', async () => {
    await ask(openClient(`https://${dynamoDBHost}`, { HTTPS_PROXY: proxy.uri }, { user: 'jane' }));
    const other = { user: 'jane', proxyUrl: 'http://other.example.test:3128' };
    await ask(openClient(`https://${dynamoDBHost}`, { HTTPS_PROXY: proxy.uri }, other));
    expect(proxy.asked.map((asked) => asked.authorization)).toEqual([authorization, undefined]);
  });

  test('opens at most 50 tunnels at a time @heavy', async () => {
    proxy.refuse = 'hang';
    const client = openClient(`https://${dynamoDBHost}`, { HTTPS_PROXY: address });
    const stop = new AbortController();
    setMaxListeners(0, stop.signal);
    const asking = Promise.allSettled(Array.from({ length: 60 }, () => ask(client, stop.signal)));
    await eventually(() => expect(proxy.asked).toHaveLength(50));
    await turnsOfLoop();
    expect(proxy.asked).toHaveLength(50);
    stop.abort();
    expect(new Set((await asking).map(({ status }) => status))).toEqual(new Set(['rejected']));
  });

  test('a request that waited for a place gets it when a tunnel fails @heavy', async () => {
    proxy.refuse = 'hang';
    const client = openClient(`https://${dynamoDBHost}`, { HTTPS_PROXY: address });
    const asking = Array.from({ length: 60 }, () => ask(client).then(() => 'answered', String));
    await eventually(() => expect(proxy.asked).toHaveLength(50));
    proxy.refuse = undefined;
    // The tunnels that hang are given up after 3 s.
    const outcomes = await Promise.all(asking);
    expect(outcomes.filter((one) => one === 'answered')).toHaveLength(10);
    expect(outcomes.filter((one) => one.includes('did not open a tunnel within 3000 ms'))).toHaveLength(50);
  });

  test('trusts the CA files without a proxy, too', async () => {
    const front = opened(await startTlsFront(Number(new URL(table.endpoint).port), authority));
    await expect(ask(openClient(`https://127.0.0.1:${front.port}`, {}))).resolves.toBeDefined();
  });
});
