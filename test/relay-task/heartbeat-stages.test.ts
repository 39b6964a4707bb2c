/** Heartbeats beside their usual way: a publication that began before them, and replicas that get them late or never. */
import { type AttributeValue, PutItemCommand } from '@aws-sdk/client-dynamodb';
import { encodeHead, type Item, type Kind, type Rev, SNAPSHOT_FORMAT } from '../../lib/flag-table/index.ts';
import type { Change } from '../../relay-task/ports.ts';
import { createReplicas } from '../../relay-task/store/heartbeat-replicas.ts';
import { createHeartbeats } from '../../relay-task/wiring/heartbeats.ts';
import type { Tenant } from '../../relay-task/wiring/tenant.ts';
import { startTable, type TestTable } from '../support/dynalite.ts';
import { until } from '../support/eventually.ts';
import { flag } from '../support/items.ts';
import { silentLog } from '../support/logs.ts';
import { closeAfterEach } from '../support/opened.ts';

const { opened, behind } = closeAfterEach();
process.env.AWS_ACCESS_KEY_ID = 'local';
process.env.AWS_SECRET_ACCESS_KEY = 'local';

const rev = (seq: number): Rev => ({ epoch: 1, seq });

/** As another relay would have written it and DynamoDB would have copied it. */
const publish = ({ client, tableName }: TestTable, seq: number) =>
  client.send(
    new PutItemCommand({
      TableName: tableName,
      Item: encodeHead('shop', {
        format: SNAPSHOT_FORMAT,
        owner: 'relay',
        epoch: 1,
        beat: 1,
        checkedAt: 1,
        rev: rev(seq),
        base: rev(1),
      }) as Record<string, AttributeValue>,
    }),
  );

function startSearch(places: Readonly<Record<string, string>>, giveUpMs: number) {
  const seen: string[] = [];
  const lines: string[] = [];
  const replicas = createReplicas({
    replicas: Object.entries(places).map(([region, url]) => ({ region, url })),
    agents: () => undefined,
    log: { ...silentLog, warn: (message) => void lines.push(message) },
    timings: { firstMs: 5, giveUpMs },
  });
  let isClosed = false;
  const close = async () => {
    if (!isClosed) await replicas.close();
    isClosed = true;
  };
  behind(close);
  const look = (seq: number) =>
    replicas.look('shop', {
      tableName: 'flags',
      prefix: 'shop',
      rev: rev(seq),
      found: (region) => void seen.push(`found ${seq} in ${region}`),
      missed: (region) => void seen.push(`missed ${seq} in ${region}`),
    });
  return { seen, lines, look, close };
}

const HOUR_MS = 3_600_000;

test('a replica that has an older revision is asked until it has this one, or a later one', async () => {
  const table = opened(await startTable());
  await publish(table, 1);
  const { seen, look } = startSearch({ 'eu-west-1': table.endpoint }, HOUR_MS);
  look(2);
  await until('it was asked twice', () => (table.consumed.requests.GetItem ?? 0) >= 2);
  expect(seen).toEqual([]);
  await publish(table, 3);
  await until('it is found', () => seen.length > 0);
  expect(seen).toEqual(['found 2 in eu-west-1']);
});

test('a replica that never gets it is missed, once, and another one is found nevertheless', async () => {
  const [late, good] = [opened(await startTable()), opened(await startTable())];
  await publish(late, 1);
  await publish(good, 2);
  const { seen, look, close } = startSearch({ 'eu-west-1': late.endpoint, 'ap-south-1': good.endpoint }, 50);
  look(2);
  await until('both have ended', () => seen.length >= 2);
  await close();
  expect(seen.sort()).toEqual(['found 2 in ap-south-1', 'missed 2 in eu-west-1']);
});

test('what was not found when the next one is sought is missed; what is sought when the relay stops is not', async () => {
  const table = opened(await startTable());
  const { seen, look, close } = startSearch({ 'eu-west-1': table.endpoint }, HOUR_MS);
  look(1);
  look(2);
  await until('the first is missed', () => seen.length > 0);
  await close();
  expect(seen).toEqual(['missed 1 in eu-west-1']);
});

test('a replica that cannot be read is missed, and the log says so once', async () => {
  const { seen, lines, look } = startSearch({ 'eu-west-1': 'http://127.0.0.1:9' }, 50);
  look(1);
  await until('it is missed', () => seen.length > 0);
  expect(seen).toEqual(['missed 1 in eu-west-1']);
  expect(lines).toEqual(['Could not read a replica of the flag table for heartbeats; retrying']);
});

/** How far heartbeats of `shop` come. */
function startFollowing() {
  const beats: string[] = [];
  const heartbeats = createHeartbeats({
    config: {
      heartbeat: {
        flag: 'heartbeat',
        project: undefined,
        apiToken: undefined,
        apiUri: 'http://127.0.0.1:9',
        intervalMs: 60_000,
        replicas: [],
      },
      dynamoDB: undefined,
    },
    propagation: {
      took() {},
      beat: (environment, stage) => void beats.push(`${environment} ${stage}`),
      sought() {},
      missed() {},
      overdue() {},
      sends() {},
      wrote() {},
      read: () => ({ windowMs: 0 }),
    },
    tenants: () => [],
    outbound: { agentFor: () => undefined, awsAgents: () => undefined },
    userAgent: 'test',
    log: silentLog,
  });
  const memory = new Map<string, Item>();
  const description: { heartbeatFlag?: string | undefined } = {};
  heartbeats.added({
    name: 'shop',
    description,
    memory: { get: (_: Kind, key: string) => memory.get(key) },
    upstream: { status: () => ({ checkedNow: 1 }) },
  } as unknown as Tenant);
  const streams = heartbeats.environments((() => ({ publish() {} })) as never)({ name: 'shop' } as never);
  const publishing = heartbeats.publishing('shop', { prefix: 'shop', tableName: undefined });
  /** Returns when, by `performance.now()`. */
  function change(...items: Item[]): number {
    for (const item of items) memory.set(item.key, item);
    const receivedAt = performance.now();
    streams.publish({ kind: 'patch', items, receivedAt, generation: 1 } as unknown as Change);
    return receivedAt;
  }
  const withTime = (sentAt: number, key: string) =>
    flag(key, 2, { on: false, offVariation: 0, variations: [{ sentAt }] });
  // The first flags.
  change();
  return {
    beats,
    publishing,
    change,
    description,
    withTime,
    /** A heartbeat reaches the relay. Returns when, by `performance.now()`. */
    arrive: (key = 'heartbeat'): number => change(withTime(Date.now() - 1_000, key)),
  };
}

test('a heartbeat that arrives while the table is being published counts with the next publication, once', () => {
  const { beats, publishing, arrive } = startFollowing();
  const before = publishing();
  const receivedAt = arrive();
  expect(beats).toEqual(['shop relay']);
  before(receivedAt - 500, rev(1));
  expect(beats).toEqual(['shop relay']);
  publishing()(receivedAt, rev(2));
  publishing()(receivedAt, rev(3));
  expect(beats).toEqual(['shop relay', 'shop table']);
});

test('a relay that takes over the table measures no heartbeat that another one may have written', () => {
  const { beats, publishing, arrive } = startFollowing();
  const receivedAt = arrive();
  // The first publication is what a comparison found; the next has a later change.
  publishing()(undefined, rev(2));
  publishing()(receivedAt + 40_000, rev(3));
  expect(beats).toEqual(['shop relay']);
});

test('what another flag held when it was named is not measured, neither by a change of its rules, nor is what came between', () => {
  const { beats, arrive, change, description, withTime } = startFollowing();
  const old = Date.now() - HOUR_MS;
  change(withTime(old, 'other'));
  description.heartbeatFlag = 'other';
  change(withTime(old, 'other'));
  change(withTime(old, 'other'));
  expect(beats).toEqual([]);
  arrive('other');
  expect(beats).toEqual(['shop relay']);
  // Back to the first one, and to the other one again.
  description.heartbeatFlag = undefined;
  change(withTime(old, 'heartbeat'));
  change(withTime(old + 1_000, 'other'));
  description.heartbeatFlag = 'other';
  change(withTime(Date.now(), 'other'));
  expect(beats).toEqual(['shop relay']);
});
