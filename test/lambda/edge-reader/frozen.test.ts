/** A process that stands still between calls, as Lambda freezes its own: no timer runs, and what arrives waits in sockets. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { ReaderConfig, ReaderStatus } from '../../../lambda/edge-reader/index.ts';
import { startTable, type TestTable } from '../../support/dynalite.ts';
import { eventually } from '../../support/eventually.ts';
import { everyNth } from '../../support/long.ts';
import { closeAfterEach } from '../../support/opened.ts';
import { startReplica } from './replica.ts';
import { item, putDelta, putSnapshot } from './table-writer.ts';

const { behind } = closeAfterEach();
/** So long that on a busy machine, too, a reader waits long enough for the next answer: for twice as long and a little. */
const DELAY_MS = 200;

const TURNS = process.env.LONG ? 6 : 2;

let table: TestTable;
beforeAll(async () => {
  table = await startTable();
});
afterAll(() => table.close());

interface Answer {
  readonly value: unknown;
  readonly tookMs: number;
  readonly status: ReaderStatus;
}

let prefixes = 0;

async function start() {
  const prefix = `frozen${++prefixes}`;
  const [near, far] = [await startReplica(table.endpoint), await startReplica(table.endpoint)];
  behind(() => near.close());
  behind(() => far.close());
  near.delay(DELAY_MS);
  let seq = 1;
  const flag = (version: number) => ({
    ...{ key: 'flag', version, on: true, salt: '', fallthrough: { variation: version % 2 } },
    variations: [`even ${version}`, `odd ${version}`],
  });
  await putSnapshot(table, prefix, [item('features', flag(1))], { epoch: 1, seq });
  const config: ReaderConfig = {
    ...{ tableName: table.tableName, prefix, coldDeadlineMs: 10_000, maxWaitMs: 10_000 },
    endpoint: { 'eu-west-1': near.endpoint, 'us-east-1': far.endpoint },
    replicas: { default: ['eu-west-1', 'us-east-1'] },
  };
  const caller = await startCaller(config);
  return {
    ...{ near, far, ...caller },
    /** Publishes the next version as relays do, and returns its value. */
    async publish() {
      seq += 1;
      await putDelta(table, prefix, [item('features', flag(seq))], { epoch: 1, seq }, { epoch: 1, seq: 1 });
      return seq % 2 === 0 ? `even ${seq}` : `odd ${seq}`;
    },
  };
}

async function startCaller(config: ReaderConfig) {
  const script = join(import.meta.dirname, 'frozen-caller.ts');
  const child = spawn(process.execPath, ['--import', 'tsx', script, JSON.stringify(config)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  behind(async () => {
    child.kill('SIGKILL');
    await once(child, 'exit');
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  let skewMs = 0;
  return {
    /** Thaws it for one call, `laterMs` after the last one by its clock. `during`: while it is frozen. `after`: before it freezes again. */
    async call(laterMs: number, during?: () => Promise<unknown>, after?: () => Promise<unknown>): Promise<Answer> {
      skewMs += laterMs;
      await during?.();
      child.stdin.write(`${JSON.stringify({ skewMs })}\n`);
      child.kill('SIGCONT');
      const answer = JSON.parse((await lines.next()).value) as Answer;
      await after?.();
      child.kill('SIGSTOP');
      return answer;
    },
  };
}

test.each(everyNth(3, [20_000, 10_001, 70_000, 3_600_000]))(
  'called every %i ms, it answers from what the table has at the call, after one request',
  async (everyMs) => {
    const { call, publish, near, far } = await start();
    expect((await call(0)).value).toBe('odd 1');
    for (let turn = 0; turn < TURNS; turn += 1) {
      const newest = await publish();
      near.asked.length = 0;
      const { value, status } = await call(everyMs);
      expect([value, near.asked.map(({ operation }) => operation)]).toEqual([newest, ['Query']]);
      expect(status.lastError).toBeUndefined();
    }
    // The kept connection was used every time, unless it had not been used for so long.
    expect([near.connections(), far.asked.length]).toEqual([everyMs > 600_000 ? 1 + TURNS : 1, 0]);
  },
);

test('called every 3 s, it answers from what is at most 10 s old @heavy', async () => {
  const { call, publish } = await start();
  const published: { readonly value: string; readonly atMs: number }[] = [{ value: 'odd 1', atMs: 0 }];
  await call(0);
  for (let turn = 1; turn <= 12; turn += 1) {
    published.push({ value: await publish(), atMs: turn * 3_000 });
    const { value } = await call(3_000);
    const at = published.find((one) => one.value === value)?.atMs ?? 0;
    const superseded = published.find((one) => one.atMs > at)?.atMs ?? Infinity;
    expect(turn * 3_000 - superseded).toBeLessThanOrEqual(10_000);
  }
});

test('an answer that lies in the socket when it thaws is no evidence against the replica', async () => {
  const { call, publish, near, far } = await start();
  await call(0);
  const asked = near.asked.length;
  // Almost due: it is read behind the call, and the answer arrives while the process stands still.
  expect((await call(8_500, undefined, () => eventually(() => expect(near.asked.length).toBe(asked + 1)))).value).toBe(
    'odd 1',
  );
  const newest = await publish();
  // Frozen until the answer is overdue, so that at the thaw its timer is due and the answer is in the socket.
  const { value, status } = await call(70_000, () => new Promise((resolve) => setTimeout(resolve, 2 * DELAY_MS)));
  expect([value, status.lastError, status.replica]).toEqual([newest, undefined, 'eu-west-1']);
  expect([near.connections(), far.asked.length]).toEqual([1, 0]);
});

test.each(['closed', 'dead'])('a kept connection that is %s when it thaws costs one more', async (how) => {
  const { call, publish, near, far } = await start();
  await call(0);
  // It learns how long an answer takes over a kept connection.
  await call(20_000);
  const newest = await publish();
  let { value, status } = await call(70_000, async () => {
    if (how === 'closed') near.closeConnections();
    else near.forgetConnections();
  });
  // On a busy machine it may have waited in vain; then the next call waits longer.
  for (let more = 0; more < 3 && value !== newest; more += 1) ({ value, status } = await call(0));
  expect([value, status.lastError]).toEqual([newest, undefined]);
  expect([near.connections(), far.asked.length]).toEqual([2, 0]);
});
