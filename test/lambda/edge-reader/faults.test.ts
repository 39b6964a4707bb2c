/** Whatever happens on the way to a replica, over TLS: no wrong value, the reason is told, and the end of the fault is noticed. */
import { spawn } from 'node:child_process';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { ReaderStatus, Reason } from '../../../lambda/edge-reader/index.ts';
import { encodeBody } from '../../../lib/flag-table/index.ts';
import { type Authority, createAuthority } from '../../support/authority.ts';
import { startTable, type TestTable } from '../../support/dynalite.ts';
import { eventually } from '../../support/eventually.ts';
import { closeAfterEach } from '../../support/opened.ts';
import { startTcpProxy, type TcpProxy } from '../../support/tcp-proxy.ts';
import { type Behaviour, type Replica, startReplica } from './replica.ts';
import { item, putHead, putOfficial, putSnapshot, remove } from './table-writer.ts';

const { behind } = closeAfterEach();

let table: TestTable;
let authority: Authority;
let stranger: Authority;
let caller: Caller;
beforeAll(async () => {
  [table, authority, stranger] = [await startTable(), await createAuthority(), await createAuthority()];
  caller = startCaller(authority.file);
});
afterAll(async () => {
  caller.kill();
  authority.close();
  stranger.close();
  await table.close();
});

interface Answer {
  readonly value: unknown;
  readonly reason: Reason;
  readonly status: ReaderStatus;
}

interface Caller {
  call(what: { readonly name: string; readonly skewMs: number; readonly config?: object }): Promise<Answer>;
  kill(): void;
}

function startCaller(certificate: string): Caller {
  const child = spawn(process.execPath, ['--import', 'tsx', join(import.meta.dirname, 'faults-caller.ts')], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...process.env, NODE_EXTRA_CA_CERTS: certificate },
  });
  const waiting = new Map<number, (answer: Answer) => void>();
  let calls = 0;
  createInterface({ input: child.stdout }).on('line', (line) => {
    const { id, ...answer } = JSON.parse(line);
    waiting.get(id)?.(answer);
    waiting.delete(id);
  });
  return {
    call(what) {
      const id = ++calls;
      child.stdin.write(`${JSON.stringify({ id, ...what })}\n`);
      return new Promise((resolve) => waiting.set(id, resolve));
    },
    kill: () => void child.kill('SIGKILL'),
  };
}

let prefixes = 0;

/** A table, two replicas of it, the nearer of which can fail, and one reader or another. */
async function start() {
  const prefix = `faults${++prefixes}`;
  const replica = await startReplica(table.endpoint, authority);
  const proxy = await startTcpProxy(Number(new URL(replica.endpoint).port));
  const far = await startReplica(table.endpoint, authority);
  for (const one of [proxy, replica, far]) behind(() => one.close());
  let seq = 0;
  const publish = async () => {
    seq += 1;
    const flag = {
      key: 'flag',
      version: seq,
      on: true,
      salt: '',
      fallthrough: { variation: 0 },
      variations: [`v${seq}`],
    };
    const items = [item('features', flag)];
    await putOfficial(table, prefix, items);
    await putSnapshot(table, prefix, items, { epoch: 1, seq });
    return `v${seq}`;
  };
  const config = (replicas: number) => ({
    ...{ tableName: table.tableName, prefix, refreshMs: 1_000, maxWaitMs: 300, coldDeadlineMs: 300 },
    endpoint: { 'eu-west-1': `https://127.0.0.1:${proxy.port}`, 'us-east-1': far.endpoint },
    replicas: { default: ['eu-west-1', 'us-east-1'].slice(0, replicas) },
  });
  return { prefix, replica, proxy, publish, config };
}

interface Fault {
  readonly begin: (to: { readonly replica: Replica; readonly proxy: TcpProxy }) => unknown;
  readonly says: RegExp;
  /** Only the snapshot cannot be read: a cold reader uses LaunchDarkly's own layout, and one that holds flags keeps them. */
  readonly leavesOfficial?: boolean;
}

const behaves =
  (how: Behaviour): Fault['begin'] =>
  ({ replica }) =>
    replica.behave(how);

const faults: Readonly<Record<string, Fault>> = {
  'connections are cut': { begin: ({ proxy }) => proxy.cut(), says: /ECONNRESET|socket|ECONNREFUSED/i },
  'the TLS handshake hangs': { begin: ({ proxy }) => proxy.hang(), says: /no answer in \d+ ms/ },
  'a new connection gets no answer to its TLS handshake': {
    async begin({ proxy }) {
      const silent = createServer((socket) => socket.on('error', () => {}).resume());
      await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
      behind(() => new Promise<void>((resolve) => silent.close(() => resolve())));
      // Open connections are cut, so that a reader that holds flags has to connect, too.
      proxy.redirect((silent.address() as AddressInfo).port);
    },
    says: /no answer in \d+ ms/,
  },
  'the certificate is of somebody else': {
    async begin({ proxy }) {
      const other = await startReplica(table.endpoint, stranger);
      behind(() => other.close());
      proxy.redirect(Number(new URL(other.endpoint).port));
    },
    says: /certificate|self.signed/i,
  },
  'no answer begins': { begin: behaves('hang'), says: /no answer in \d+ ms/ },
  'the connection closes before the answer': { begin: behaves('cut'), says: /socket hang up|ECONNRESET/ },
  'the connection closes within the answer': { begin: behaves('half'), says: /aborted|hang up|ECONNRESET/ },
  'the answer stops half-way': { begin: behaves('stall'), says: /no answer in \d+ ms/ },
  'the answer drips': { begin: behaves('drip'), says: /no answer in \d+ ms/ },
  'the table throttles': { begin: behaves('throttle'), says: /ThrottlingException/ },
  'access is denied': { begin: behaves('denied'), says: /AccessDeniedException/ },
  'there is no such table': { begin: behaves('no-table'), says: /ResourceNotFoundException/ },
  'the server fails': { begin: behaves('broken'), says: /HTTP 500/ },
  'the request is refused without a reason': { begin: behaves('refused'), says: /HTTP 400/ },
  'the answer is cut short': { begin: behaves('truncated'), says: /JSON/ },
  'binary attributes are corrupt': {
    begin: behaves('corrupt'),
    says: /hash|unreadable|corrupt|damaged/,
    leavesOfficial: true,
  },
  'the answer has no items': { begin: behaves('missing'), says: /no items/ },
  'the answer is empty': { begin: behaves('empty'), says: /JSON/ },
  'the region is wrong': { begin: behaves('wrong-region'), says: /valid region/ },
  'the credentials have expired': { begin: behaves('expired'), says: /ExpiredTokenException/ },
  'the clock is wrong': { begin: behaves('skewed'), says: /Signature expired/ },
};

/** The reader's pauses after failures are over by then, and what it holds is old. */
const LATER_MS = 20_000;

async function heal({ replica, proxy }: { readonly replica: Replica; readonly proxy: TcpProxy }): Promise<void> {
  replica.behave('pass');
  proxy.redirect(Number(new URL(replica.endpoint).port));
  proxy.heal();
}

/** It answers rightly or not at all, and later rightly. */
async function cold({ begin, says, leavesOfficial }: Fault, replicas: number): Promise<void> {
  const { prefix: name, publish, config, ...to } = await start();
  const value = await publish();
  await begin(to);
  let answer = await caller.call({ name, skewMs: 0, config: config(replicas) });
  const again = async () => {
    expect([value, 'fallback']).toContain(answer.value);
    answer = await caller.call({ name, skewMs: 0 });
  };
  if (replicas === 1 && !leavesOfficial) {
    expect(answer).toMatchObject({ value: 'fallback', reason: { kind: 'ERROR', errorKind: 'CLIENT_NOT_READY' } });
    await eventually(async () => {
      await again();
      expect(answer.status).toMatchObject({ state: 'unreachable', message: expect.stringMatching(says) });
    });
    expect(answer.value).toBe('fallback');
  } else {
    await eventually(async () => {
      await again();
      expect(answer.value).toBe(value);
    });
  }
  await heal(to);
  await expectSoon(name, value, LATER_MS);
}

/** It answers from the flags that it holds, or from newer ones, and later from the newest. */
async function warm({ begin, says, leavesOfficial }: Fault, replicas: number): Promise<void> {
  const { prefix: name, publish, config, ...to } = await start();
  const before = await publish();
  await caller.call({ name, skewMs: 0, config: config(replicas) });
  await expectSoon(name, before, 0);
  const after = await publish();
  await begin(to);
  let answer = await caller.call({ name, skewMs: 2_000 });
  await eventually(async () => {
    expect(replicas === 1 ? [before] : [before, after]).toContain(answer.value);
    answer = await caller.call({ name, skewMs: LATER_MS });
    // The nearer replica answers, and with that the other one is not asked: but it is if the answer takes too long on a busy machine.
    const isStuck = replicas === 1 || (leavesOfficial && answer.value === before);
    if (isStuck) expect(answer.status.lastError?.message).toMatch(says);
    else expect(answer.value).toBe(after);
  });
  await heal(to);
  await expectSoon(name, await publish(), 3 * LATER_MS);
}

test.each(Object.entries(faults))(
  'while %s, no reader gives a wrong answer, and all notice the end @heavy',
  async (_name, fault) => {
    await Promise.all([cold(fault, 1), cold(fault, 2), warm(fault, 1), warm(fault, 2)]);
  },
);

/** Each call finds what is held too old, and no replica rests. */
async function expectSoon(name: string, value: string, skewMs: number): Promise<void> {
  let later = skewMs;
  await eventually(async () => {
    const answer = await caller.call({ name, skewMs: later });
    later += LATER_MS;
    expect(answer).toMatchObject({ value, status: { state: expect.stringMatching(/ready|stale/) } });
  });
}

test.each([
  [
    'its body is not there',
    'official',
    async (prefix: string) => {
      const { body } = await encodeBody({ prefix, items: [], rev: { epoch: 1, seq: 1 }, bank: 0 });
      await remove(table, Object(body.namespace).S, Object(body.key).S);
    },
  ],
  [
    'its head names a revision that is not written yet',
    'snapshot',
    (prefix: string) => putHead(table, prefix, { epoch: 1, seq: 9 }),
  ],
])('while a snapshot is half-written, since %s, a cold reader answers rightly', async (_why, source, breakIt) => {
  const { prefix: name, publish, config } = await start();
  const value = await publish();
  await breakIt(name);
  const answer = await caller.call({ name, skewMs: 0, config: { ...config(1), coldDeadlineMs: 10_000 } });
  expect(answer).toMatchObject({ value, status: { source } });
});

test.each([-3_600_000, 3_600_000])('with a clock that is wrong by %d ms, answers are right', async (skewMs) => {
  const { prefix: name, publish, config } = await start();
  const value = await publish();
  const cold = await caller.call({ name, skewMs, config: { ...config(1), coldDeadlineMs: 10_000 } });
  expect(cold.value).toBe(value);
  await expectSoon(name, await publish(), skewMs + 2_000);
});
