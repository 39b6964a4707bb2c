/** How long heartbeats take to a reader, which a real DynamoDB server gives them. The tests move its clock. */
import { parseReaderConfig } from '../../../lambda/edge-reader/config.ts';
import { createHeartbeats, createReport, startReader } from '../../../lambda/edge-reader/index.ts';
import { startTable, type TestTable } from '../../support/dynalite.ts';
import { closeAfterEach } from '../../support/opened.ts';
import { type Replica, startReplica } from './replica.ts';
import { item, putSnapshot } from './table-writer.ts';

const START = 1_764_547_200_000;
const REFRESH_MS = 10_000;
const env = { AWS_REGION: 'eu-west-1', AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'test' };
const { opened } = closeAfterEach();

let table: TestTable;
let replica: Replica;
let clock: { now: number };
let seq: number;

beforeEach(async () => {
  table = opened(await startTable());
  replica = opened(await startReplica(table.endpoint));
  clock = { now: START };
  seq = 0;
});

/** A heartbeat that is in the table. */
async function send(sentAt: number): Promise<void> {
  seq += 1;
  const flag = { key: 'heartbeat', version: seq, on: false, offVariation: 1, variations: [{}, { sentAt }], salt: '' };
  await putSnapshot(table, 'p', [item('features', flag)], { epoch: 1, seq });
}

/** A reader that holds the first heartbeat. */
async function start() {
  const now = () => clock.now;
  const settings = parseReaderConfig({
    tableName: table.tableName,
    prefix: 'p',
    endpoint: replica.endpoint,
    refreshMs: REFRESH_MS,
    coldDeadlineMs: 60_000,
    replicas: { default: ['eu-west-1'] },
  });
  const heartbeats = createHeartbeats({
    flagKey: 'heartbeat',
    refreshMs: REFRESH_MS,
    status: () => reader.status(),
    now,
  });
  await send(START - 1_000);
  const reader = startReader(settings, { env, now, onData: heartbeats.onData });
  expect(await reader.refresh()).toBe(true);
  return { reader, heartbeats };
}

const told = ({ heartbeats }: Awaited<ReturnType<typeof start>>) => heartbeats.extra();

test('from the sending of a heartbeat to the refresh that finds it; the first data does not count', async () => {
  const one = await start();
  expect(told(one)).toEqual({ metrics: {}, fields: {} });
  await send(START + 2_000);
  clock.now += 9_500;
  await one.reader.refresh();
  expect(told(one)).toEqual({ metrics: { HeartbeatToEdge: [[7.5], 'Seconds'] }, fields: {} });
  expect(told(one)).toEqual({ metrics: {}, fields: {} });
});

test('a change of other flags is none, nor is a heartbeat that is set back', async () => {
  const one = await start();
  for (const sentAt of [START - 1_000, START - 5_000]) {
    await send(sentAt);
    clock.now += 1_000;
    await one.reader.refresh();
  }
  expect(told(one).metrics).toEqual({});
});

test('what a reader slept through is not measured, since it answered nobody meanwhile', async () => {
  const one = await start();
  await send(START + 1_000);
  clock.now += 3_600_000;
  await one.reader.refresh();
  expect(told(one).metrics).toEqual({});
});

test('but it is if reads failed meanwhile, since callers got what was held', async () => {
  const one = await start();
  await send(START + 1_000);
  replica.behave('denied');
  clock.now += 9_000;
  expect(await one.reader.refresh()).toBe(false);
  replica.behave('pass');
  clock.now += 60_000;
  await one.reader.refresh();
  expect(told(one).metrics).toEqual({ HeartbeatToEdge: [[68], 'Seconds'] });
});

test("the sender's clock may be ahead: that counts as 0 and is counted, in the report's line", async () => {
  const { reader, heartbeats } = await start();
  const lines: Record<string, unknown>[] = [];
  const report = createReport({ namespace: 'Edge/dev' }, reader.status, {
    now: () => clock.now,
    write: (line) => lines.push(JSON.parse(line)),
    extra: heartbeats.extra,
  });
  await send(START + 60_000);
  clock.now += 5_000;
  await reader.refresh();
  report.decided({ flagKey: 'checkout', variation: 'stable', ms: 0 });
  expect(lines.at(-1)).toMatchObject({ HeartbeatToEdge: [0], heartbeatsAhead: 1 });
  expect(JSON.stringify(lines.at(-1)?._aws)).toContain('{"Name":"HeartbeatToEdge","Unit":"Seconds"}');
});
