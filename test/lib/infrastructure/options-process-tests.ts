/**
 * Options of a stage, started for real: the relay with the variables that they synthesise, against SSM's and DynamoDB's protocols, a Redis
 * Cluster with TLS and a fake LaunchDarkly, until it is ready. Few processes: each starts options that do not interact.
 */
import { chmodSync } from 'node:fs';
import { dirname } from 'node:path';
import { GetItemCommand } from '@aws-sdk/client-dynamodb';
import { PutParameterCommand, SSMClient } from '@aws-sdk/client-ssm';
import { type Authority, createAuthority } from '../../support/authority.ts';
import { createTable, startTable, type TestTable, testCredentials } from '../../support/dynalite.ts';
import { eventually } from '../../support/eventually.ts';
import { exampleEnvironment } from '../../support/example-environment.ts';
import { environmentRep, startFakeAutoConfig } from '../../support/fake-auto-config.ts';
import { type FakeUpstream, startFakeUpstream } from '../../support/fake-upstream.ts';
import { freePort } from '../../support/free-port.ts';
import { motoIsInstalled, startMoto } from '../../support/moto-server.ts';
import { closeAfterEach } from '../../support/opened.ts';
import { describeWithRedis, startCluster, type TestCluster } from '../../support/redis.ts';
import { autoConfigKey } from '../../support/rotating-sources.ts';
import { startSsmServer } from '../../support/ssm-server.ts';
import { startTask, type TaskProcess } from '../../support/task-process.ts';
import { variant } from './options-tests.ts';

const sdkKey = ['sdk', '01234567', '89ab', 'cdef', '0123', '456789abcdef'].join('-');
const envId = 'cccccccccccccccccccccccc';

const { opened } = closeAfterEach();

async function isReady({ base, lines }: TaskProcess): Promise<void> {
  await eventually(async () => {
    const { status } = await fetch(`${base}/readyz`);
    if (status !== 200) throw new Error(`not ready: ${lines.join('\n')}`);
  });
}

async function hasFlags({ base }: TaskProcess, key: string): Promise<void> {
  const answer = await fetch(`${base}/sdk/latest-all`, { headers: { Authorization: key } });
  const { flags } = (await answer.json()) as { flags: object };
  expect(Object.keys(flags).sort()).toEqual(Object.keys(exampleEnvironment().flags).sort());
}

interface Services {
  readonly table: TestTable;
  readonly ssmEndpoint: string;
  /** Stores a parameter. */
  put(name: string, value: string): Promise<unknown>;
}

const tableName = 'edge-flag-relay-dev';

/** The project's own servers. */
async function startOwnServices(): Promise<Services> {
  const ssm = opened(await startSsmServer());
  const table = opened(await startTable({ tableName }));
  return { table, ssmEndpoint: ssm.endpoint, put: async (name, value) => ssm.put(name, value) };
}

async function startMotoServices(): Promise<Services> {
  const { endpoint } = opened(await startMoto());
  const region = 'eu-west-1';
  const table = opened(await createTable({ port: Number(new URL(endpoint).port), tableName, region }));
  const client = new SSMClient({ endpoint, region, credentials: testCredentials });
  const put = (Name: string, Value: string) =>
    client.send(new PutParameterCommand({ Name, Value, Type: 'SecureString' }));
  return { table, ssmEndpoint: endpoint, put };
}

/** Until the environment is in the table under this prefix. */
async function isStored({ client, tableName: TableName }: TestTable, prefix: string): Promise<void> {
  const marker = { S: `${prefix}:$inited` };
  await eventually(async () => {
    const { Item } = await client.send(new GetItemCommand({ TableName, Key: { namespace: marker, key: marker } }));
    expect(Item).toBeDefined();
  });
}

const emulators = [
  { name: 'the project’s own servers', start: startOwnServices, isThere: true },
  {
    name: 'moto (needs moto, in the long run)',
    start: startMotoServices,
    isThere: motoIsInstalled && process.env.LONG,
  },
];

describeWithRedis('the relay of a stage with a Redis Cluster', () => {
  let authority: Authority;
  let cluster: TestCluster;
  beforeAll(async () => {
    authority = await createAuthority();
    // The relay runs as nobody.
    chmodSync(dirname(authority.file), 0o755);
    const { cert, key } = authority;
    cluster = await startCluster({ size: 1, tls: { ca: cert, cert, key } });
  });
  afterAll(async () => {
    await cluster?.close();
    authority?.close();
  });
  beforeEach(() => cluster.nodes[0]?.client.flushall());
  const isInRedis = (prefix: string, { lines }: TaskProcess) =>
    eventually(async () => {
      if ((await cluster.nodes[0]?.client.exists(`${prefix}:$inited`)) !== 1)
        throw new Error(lines.slice(-5).join('\n'));
    });
  /** Where the cluster is, whose certificate no public authority has signed. */
  const redisHere = () => ({
    REDIS_URL: `rediss://127.0.0.1:${cluster.nodes[0]?.port}`,
    NODE_EXTRA_CA_CERTS: authority.file,
  });

  for (const { name, start, isThere } of emulators) {
    (isThere ? test : test.skip)(
      `\`redis: { serverless: {} }\`, no load balancer, an agent, KMS keys: it is ready and fills both stores; with ${name} @heavy`,
      async () => {
        const upstream = opened(await startFakeUpstream());
        upstream.data = exampleEnvironment() as unknown as FakeUpstream['data'];
        const { table, ssmEndpoint, put } = await start();
        // Without a `prefix` it is the name of the environment, which has no braces.
        await put('/edge-flag-relay/daemon/environments/test/sdk-key', sdkKey);
        const metricsPort = await freePort();
        const task = opened(
          await startTask(variant('daemon').template('Relay'), {
            ...redisHere(),
            STREAM_URI: upstream.uri,
            AWS_ENDPOINT_URL_SSM: ssmEndpoint,
            AWS_ENDPOINT_URL_DYNAMODB: table.endpoint,
            PROMETHEUS_PORT: String(metricsPort),
          }),
        );
        await isReady(task);
        await hasFlags(task, sdkKey);
        await isStored(table, 'test');
        await isInRedis('{test}', task);
        // Without a load balancer it asks for readiness.
        await expect(task.healthCheck()).resolves.toBeDefined();
        // What the agent reads.
        const metrics = await (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text();
        expect(metrics).toMatch(
          /^launchdarkly_relay_store_replica_up\{env="[^"]+",database="redis",prefix="\{test\}"\} 1$/m,
        );
        expect(await task.end()).toBe(0);
      },
    );
  }

  test('auto-configuration, Prometheus, a Redis Cluster of your own: it is ready, with each environment in its own place @heavy', async () => {
    const fake = opened(await startFakeAutoConfig(environmentRep(envId, 1)));
    fake.upstream.data = exampleEnvironment() as unknown as FakeUpstream['data'];
    const table = opened(await startTable({ tableName }));
    const metricsPort = await freePort();
    const task = opened(
      await startTask(variant('prometheus').template('Relay'), {
        ...redisHere(),
        AUTO_CONFIG_KEY: autoConfigKey,
        STREAM_URI: fake.upstream.uri,
        AWS_ENDPOINT_URL_DYNAMODB: table.endpoint,
        PROMETHEUS_PORT: String(metricsPort),
      }),
    );
    await isReady(task);
    await hasFlags(task, `sdk-${envId}`);
    await isStored(table, envId);
    await isInRedis(`{${envId}}`, task);
    expect((await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).status).toBe(200);
    expect(await task.end()).toBe(0);
  });
});
