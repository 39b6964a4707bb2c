import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createCaller } from '../../../lambda/canary/caller.ts';
import type { Answer } from '../../../lambda/canary/check.ts';
import { createCanaryReader } from '../../../lambda/canary/reader.ts';
import { startTable, type TestTable } from '../../support/dynalite.ts';
import { eventually } from '../../support/eventually.ts';
import { exampleEnvironment, exampleFile } from '../../support/example-environment.ts';
import { startTestRelay, type TestRelay } from '../../support/start-relay.ts';
import { item, itemsOf, putSnapshot } from '../edge-reader/table-writer.ts';

const KEY = 'sdk-canary-0123456789';
const path = '/edge-flag-relay/test/environments/shop';

/** SSM and Lambda in one server; it calls the real function as Lambda does. */
let aws: Server;
let endpoint: string;
let table: TestTable;
let relay: TestRelay;
let parameters: Record<string, string>;
let refuse: { target: 'ssm' | 'lambda'; status: number; headers?: Record<string, string>; body: string } | undefined;
let invoked: (question: { sdkKey: string; prefix: string }) => Promise<Answer>;
let lines: string[];

beforeAll(async () => {
  // The reader signs its requests for this region.
  process.env.AWS_REGION = 'eu-west-1';
  table = await startTable();
  relay = await startTestRelay({ LD_ENV_shop: KEY, LD_FLAGS_FILE_shop: exampleFile });
  aws = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk) => {
      body += chunk;
    });
    request.on('end', async () => {
      const target = request.headers['x-amz-target'] === 'AmazonSSM.GetParameters' ? 'ssm' : 'lambda';
      if (refuse?.target === target) return void response.writeHead(refuse.status, refuse.headers).end(refuse.body);
      if (target === 'ssm') {
        const { Names, WithDecryption } = JSON.parse(body) as { Names: string[]; WithDecryption: boolean };
        const Parameters = Names.flatMap((Name) =>
          parameters[Name] && WithDecryption ? [{ Name, Value: parameters[Name] }] : [],
        );
        return void response.end(JSON.stringify({ Parameters, InvalidParameters: [] }));
      }
      expect(request.url).toBe('/2015-03-31/functions/the-reader/invocations');
      response.end(JSON.stringify(await invoked(JSON.parse(body))));
    });
  });
  await new Promise<void>((resolve) => aws.listen(0, '127.0.0.1', resolve));
  endpoint = `http://127.0.0.1:${(aws.address() as AddressInfo).port}`;
});
beforeEach(() => {
  parameters = { [`${path}/sdk-key`]: KEY, [`${path}/prefix`]: 'shop' };
  refuse = undefined;
  lines = [];
  invoked = readerOf(table.tableName);
});
afterAll(async () => {
  await relay.close();
  await table.close();
  aws.closeAllConnections();
  await new Promise((resolve) => aws.close(resolve));
});

const readerOf = (tableName: string, relayUrl: string | undefined = relay.uri) =>
  createCanaryReader({
    ...{
      ...(relayUrl !== '' && { relayUrl }),
      tableName,
      replicas: { default: ['eu-west-1'] },
      timeoutMs: 60_000,
      endpoint: table.endpoint,
    },
  });

async function check(): Promise<{ answer: Answer; line: Record<string, unknown> }> {
  const caller = createCaller({
    ...{
      region: 'eu-west-1',
      parameters: path,
      readerName: 'the-reader',
      namespace: 'EdgeFlagRelayCanary/test',
      endpoint,
    },
    env: { AWS_ACCESS_KEY_ID: 'a', AWS_SECRET_ACCESS_KEY: 'b' },
    write: (line) => lines.push(line),
  });
  const answer = await caller();
  expect(lines).toHaveLength(1);
  expect(lines[0]).not.toContain(KEY);
  return { answer, line: JSON.parse(lines[0]!) };
}

const metricsIn = (line: Record<string, unknown>) =>
  (
    line._aws as {
      CloudWatchMetrics: { Namespace: string; Dimensions: string[][]; Metrics: { Name: string; Unit: string }[] }[];
    }
  ).CloudWatchMetrics[0]!;

test('the check succeeds and reports latencies when relay and table have the same flags', async () => {
  await putSnapshot(table, 'shop', itemsOf(exampleEnvironment()), { epoch: 1, seq: 1 });
  const { answer, line } = await check();
  expect(answer).toMatchObject({ stream: { ok: true }, table: { ok: true }, differing: 0 });
  expect(line).toMatchObject({
    Success: 1,
    DifferingFlags: 0,
    StreamLatency: expect.any(Number),
    TableLatency: expect.any(Number),
  });
  // AWS: "Specification: Embedded metric format".
  expect(metricsIn(line)).toEqual({
    Namespace: 'EdgeFlagRelayCanary/test',
    Dimensions: [[]],
    Metrics: [
      { Name: 'Success', Unit: 'Count' },
      { Name: 'StreamLatency', Unit: 'Milliseconds' },
      { Name: 'TableLatency', Unit: 'Milliseconds' },
      { Name: 'DifferingFlags', Unit: 'Count' },
    ],
  });
});

test('the check is that of the table alone where there is no relay to ask', async () => {
  invoked = readerOf(table.tableName, '');
  await putSnapshot(table, 'shop', itemsOf(exampleEnvironment()), { epoch: 1, seq: 1 });
  const { answer, line } = await check();
  expect(answer).toEqual({ table: { ok: true, ms: expect.any(Number) } });
  expect(line.Success).toBe(1);
  expect(metricsIn(line).Metrics.map(({ Name }) => Name)).toEqual(['Success', 'TableLatency']);
  // A table that cannot be read fails it all the same.
  lines.length = 0;
  invoked = readerOf('nothing', '');
  expect((await check()).line.Success).toBe(0);
});

test('the check counts flags that differ in version or exist on one side only', async () => {
  const [first, ...rest] = itemsOf(exampleEnvironment()).filter(({ kind }) => kind === 'features');
  const newer = item('features', { ...JSON.parse(first!.json), version: first!.version + 1 });
  const more = item('features', {
    key: 'only-here',
    version: 1,
    on: false,
    variations: [1],
    offVariation: 0,
    salt: '',
  });
  await putSnapshot(table, 'shop', [newer, more, ...rest.slice(1)], { epoch: 1, seq: 2 });
  const { answer, line } = await check();
  expect(answer).toMatchObject({ stream: { ok: true }, table: { ok: true } });
  expect(line).toMatchObject({ Success: 1, DifferingFlags: 3 });
});

test('a warm function reads the table on each call @heavy', async () => {
  await putSnapshot(table, 'shop', itemsOf(exampleEnvironment()), { epoch: 2, seq: 1 });
  const ask = () => invoked({ sdkKey: KEY, prefix: 'shop' });
  expect(await ask()).toMatchObject({ differing: 0 });
  await putSnapshot(table, 'shop', itemsOf(exampleEnvironment()).slice(1), { epoch: 2, seq: 2 });
  // Checks are a minute apart; the reader reads again after one second.
  await eventually(async () => expect((await ask()).differing).toBeGreaterThan(0));
});

test.each<[string, () => void, RegExp, RegExp]>([
  [
    'a relay that does not know the key',
    () => {
      parameters[`${path}/sdk-key`] = 'sdk-nobody-0123456789';
    },
    /the relay answered 401/,
    /^$/,
  ],
  [
    'a table that does not exist',
    () => {
      invoked = readerOf('nothing');
    },
    /^$/,
    /could not read the flag table/,
  ],
])('%s fails the check with its own message', async (_, spoil, stream, tableProblem) => {
  await putSnapshot(table, 'shop', itemsOf(exampleEnvironment()), { epoch: 3, seq: 1 });
  spoil();
  const { answer, line } = await check();
  expect(answer.stream?.problem ?? '').toMatch(stream);
  expect(answer.table.problem ?? '').toMatch(tableProblem);
  expect([answer.stream?.ok, answer.table.ok].filter(Boolean)).toHaveLength(1);
  expect(line.Success).toBe(0);
  expect(metricsIn(line).Metrics.map(({ Name }) => Name)).not.toContain('DifferingFlags');
});

test.each<[string, () => void, string]>([
  [
    'a key that is not in SSM',
    () => {
      parameters = {};
    },
    `SSM parameter ${path}/sdk-key does not exist: create it with npm run keys -- put`,
  ],
  [
    'a refused request to SSM',
    () => {
      refuse = { target: 'ssm', status: 400, body: '{"__type":"AccessDeniedException","message":"no"}' };
    },
    `SSM answered 400 to GetParameters of ${path}: AccessDeniedException`,
  ],
  [
    'a reader that does not exist',
    () => {
      refuse = { target: 'lambda', status: 404, body: '{"Type":"User","Message":"Function not found"}' };
    },
    'Lambda answered 404 to Invoke of the-reader: User',
  ],
  [
    'a reader that fails',
    () => {
      const body = `{"errorType":"Sandbox.Timedout","errorMessage":"timed out with ${KEY}"}`;
      refuse = { target: 'lambda', status: 200, headers: { 'x-amz-function-error': 'Unhandled' }, body };
    },
    'the-reader failed: Sandbox.Timedout',
  ],
])('%s fails the check with a reason instead of rejecting', async (_, spoil, problem) => {
  spoil();
  const { answer, line } = await check();
  expect(answer).toEqual({
    stream: { ok: false, ms: expect.any(Number), problem },
    table: { ok: false, ms: expect.any(Number), problem },
  });
  expect(line).toMatchObject({ Success: 0 });
  expect(metricsIn(line).Metrics.map(({ Name }) => Name)).toEqual(['Success']);
});
