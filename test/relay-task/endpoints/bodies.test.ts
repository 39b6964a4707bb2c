/** Bodies for polls of server SDKs: made in slices, of one state, from what is left of the one before, in memory that counts. */
import { createHash } from 'node:crypto';
import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import type { Item } from '../../../lib/flag-table/index.ts';
import { type Budget, createBudget } from '../../../relay-task/common/budget.ts';
import { itemEvent } from '../../../relay-task/common/fdv2-events.ts';
import { normalText } from '../../../relay-task/common/item-text.ts';
import { createAnswers } from '../../../relay-task/endpoints/answers.ts';
import { createBodies } from '../../../relay-task/endpoints/bodies.ts';
import { createFdv2Poll } from '../../../relay-task/endpoints/fdv2.ts';
import { createPolling } from '../../../relay-task/endpoints/polling.ts';
import { Refusal, type Reply } from '../../../relay-task/endpoints/reply.ts';
import type { EnvironmentRequest } from '../../../relay-task/endpoints/request.ts';
import { createEnvironment } from '../../../relay-task/environments/environment.ts';
import { flag, segment, tombstone } from '../../support/items.ts';
import { silentLog } from '../../support/logs.ts';
import { randomFrom } from '../../support/random.ts';
import { countSlicedTurns } from '../../support/sliced-turns.ts';

const KIB = 1024;
const handlersOf = (budget?: Budget) => {
  const bodies = createBodies(budget);
  const { whole, flagsForPhp, one } = createPolling(bodies);
  return {
    '/sdk/latest-all': whole('all'),
    '/sdk/latest-flags': whole('flags'),
    '/sdk/latest-segments': whole('segments'),
    '/sdk/flags': flagsForPhp,
    '/sdk/flags/{key}': one('features'),
    '/sdk/poll': createFdv2Poll(bodies),
  };
};
type Path = keyof ReturnType<typeof handlersOf>;

function start({
  budget,
  handlers = handlersOf(budget),
}: {
  budget?: Budget;
  handlers?: ReturnType<typeof handlersOf>;
} = {}) {
  const view = createEnvironment({ name: 'test', log: silentLog, onChange() {} });
  const answers = createAnswers(createBudget(Number.POSITIVE_INFINITY));
  const environment = { name: 'test', view, ttlMs: 0, refused: false };
  /** The answer counts until it is released. */
  async function ask(path: Path, options: { query?: string; key?: string; headers?: Record<string, string> } = {}) {
    const { query = '', key = '', headers = {} } = options;
    const answer = answers.open('server', ['environment', 'address']);
    const request = { environment, query: new URLSearchParams(query), params: { key }, headers, answer };
    const reply = await handlers[path](request as unknown as EnvironmentRequest);
    return { ...reply, answer, text: textOf(reply), etag: reply.headers?.ETag ?? '' };
  }
  return { view, ask, put: (items: readonly Item[]) => view.put(items, [], 0) };
}

function textOf({ body = '', headers = {} }: Reply): string {
  if (typeof body === 'string') return body;
  const bytes = Buffer.isBuffer(body) ? body : Buffer.concat(body);
  const encoding = headers['Content-Encoding'];
  const raw = encoding === 'gzip' ? gunzipSync(bytes) : encoding === 'br' ? brotliDecompressSync(bytes) : bytes;
  return raw.toString();
}

const flags = (count: number, version = 1, more: Record<string, unknown> = {}) =>
  Array.from({ length: count }, (_, index) => flag(`f${(index * 7_919) % 100_003}`, version, more));

describe('no poll takes long in one turn:', () => {
  const rules = Array.from({ length: 1_000 }, (_, index) => ({
    id: `r${index}`,
    variation: 0,
    clauses: [{ attribute: 'email', op: 'in', values: ['a'], negate: false, contextKind: 'user' }],
  }));
  const cases: [string, Path, Item[], object][] = [
    ['all flags', '/sdk/latest-all', flags(500), {}],
    ['the flags', '/sdk/latest-flags', flags(500), {}],
    ['all segments', '/sdk/latest-segments', Array.from({ length: 500 }, (_, i) => segment(`s${i}`, 1)), {}],
    ['everything for FDv2', '/sdk/poll', flags(500), {}],
    ['one flag of many rules', '/sdk/flags/{key}', [flag('f', 1, { rules })], { key: 'f' }],
    ['a tag of ld-relay', '/sdk/flags', flags(500), { headers: { 'if-none-match': 'relay-b8788ef94d38151' } }],
  ];
  test.each(cases)('%s (%s), when nothing was hashed yet @heavy', async (_title, path, items, options) => {
    const { view, ask } = start();
    view.boot(items);
    const sliced = countSlicedTurns();
    const reply = await ask(path, options).finally(sliced.stop);
    expect(reply.status).toBe(200);
    expect(sliced.turns).toBeGreaterThan(400);
    const again = countSlicedTurns();
    expect((await ask(path, options).finally(again.stop)).text).toBe(reply.text);
    expect(again.turns).toBeLessThan(2);
  });

  test('what changed since an old state (/sdk/poll) @heavy', async () => {
    const { put, ask } = start();
    put(flags(500));
    const [, state = ''] = /"state":"(\w+)"/.exec((await ask('/sdk/poll')).text) ?? [];
    put(flags(500, 2, { salt: 'x'.repeat(8_000) }));
    const sliced = countSlicedTurns();
    const reply = await ask('/sdk/poll', { query: `basis=${state}` }).finally(sliced.stop);
    expect(reply.text).toContain('"xfer-changes"');
    expect(sliced.turns).toBeGreaterThan(50);
  });
});

test('what changed since a state is made once for all clients that hold it @heavy', async () => {
  const { view, put, ask } = start();
  put(flags(500));
  const [, state = ''] = /"state":"(\w+)"/.exec((await ask('/sdk/poll')).text) ?? [];
  const changed = flags(400, 2);
  put([...changed, ...flags(500).slice(400)]);
  const since = jest.spyOn(view.fdv2, 'since');
  const replies = await Promise.all(Array.from({ length: 5 }, () => ask('/sdk/poll', { query: `basis=${state}` })));
  replies.push(await ask('/sdk/poll', { query: `basis=${state}` }));
  expect(since).toHaveBeenCalledTimes(1);
  const [first] = replies;
  const events = (JSON.parse(first?.text ?? '') as { events: { event: string; data: { key: string } }[] }).events;
  expect(events.map(({ event }) => event)).toEqual([
    'server-intent',
    ...changed.map(() => 'put-object'),
    'payload-transferred',
  ]);
  for (const { text, etag } of replies) {
    expect(text).toBe(first?.text);
    expect(etag).toBe(`"${createHash('sha256').update(text).digest('hex').slice(0, 32)}"`);
  }
});

test.each([1, 2, 3])(
  'after any changes, bodies are those of the set, whatever is left of the ones before (seed %i) @heavy',
  async (seed) => {
    const random = randomFrom(String(seed));
    const { view, put, ask } = start();
    const held = new Map<string, Item>();
    const pad = () => 'ä'.repeat(Math.floor(random() ** 3 * 40_000));
    const change = () => {
      const key = `f${Math.floor(random() * 60)}`;
      const version = (held.get(key)?.version ?? 0) + 1;
      held.set(key, random() < 0.2 ? tombstone('features', key, version) : flag(key, version, { salt: pad() }));
    };
    for (let i = 0; i < 20; i++) change();
    put([...held.values(), segment('s', 1)]);
    for (let round = 0; round < 12; round++) {
      const live = [...held.values()].filter(({ deleted }) => !deleted).sort((a, b) => (a.key < b.key ? -1 : 1));
      const normal = live.map((item) => ({ ...item, json: normalText('features', item.json) }));
      const members = `{${normal.map(({ key, json }) => `"${key}":${json}`).join(',')}}`;
      const s = normalText('segments', segment('s', 1).json);
      expect((await ask('/sdk/latest-flags')).text).toBe(members);
      expect((await ask('/sdk/latest-all')).text).toBe(`{"flags":${members},"segments":{"s":${s}}}`);
      const objects = [...normal, { ...segment('s', 1), json: s }].map(
        (item) => `{"event":"put-object","data":${itemEvent(item).json}}`,
      );
      const { text, etag } = await ask('/sdk/poll', {
        headers: { 'accept-encoding': random() < 0.5 ? 'gzip' : 'identity' },
      });
      expect(text.slice(text.indexOf(']}},{') + 4)).toBe(
        `${objects.join(',')},{"event":"payload-transferred","data":{"state":"${view.state()}","id":"default","version":1}}]}`,
      );
      expect(etag).toContain(view.state());
      const before = new Map(held);
      for (let i = random() * 4; i >= 0; i--) change();
      if (random() < 0.2) put([...held.values(), segment('s', 1)]);
      else for (const [key, item] of held) if (item !== before.get(key)) view.upsert(item, 0);
    }
  },
);

test('an answer is of one state, and never of an earlier one than when it was asked for @heavy', async () => {
  const { put, ask } = start();
  const many = (version: number) => flags(500, version);
  put(many(1));
  const versions = ({ text }: { text: string }) =>
    new Set((text.match(/"version":\d+/g) ?? []).map((v) => Number(v.slice(10))));
  const sliced = countSlicedTurns();
  const early = ask('/sdk/latest-all');
  while (sliced.turns < 600) await new Promise(setImmediate);
  put(many(2));
  const late = ask('/sdk/latest-all');
  const [first, second] = await Promise.all([early, late]).finally(sliced.stop);
  expect([[1], [2]]).toContainEqual([...versions(first)]);
  expect([...versions(second)]).toEqual([2]);
  expect(second.etag).toBe((await ask('/sdk/latest-all')).etag);
  if (versions(first).has(1)) expect(first.etag).not.toBe(second.etag);
});

describe('the memory of polls', () => {
  const MIB = KIB * KIB;
  const salt = 'x'.repeat(10 * KIB);

  test('counts while an answer is on its way, once for all clients that get the same, and until the last one is sent @heavy', async () => {
    const budget = createBudget(100 * MIB);
    const { put, ask } = start({ budget });
    put(flags(100, 1, { salt }));
    const first = await ask('/sdk/latest-all');
    const usedBytes = budget.usedBytes;
    expect(usedBytes).toBeGreaterThan(first.text.length);
    expect(usedBytes).toBeLessThan(1.1 * first.text.length);
    const others = await Promise.all([ask('/sdk/latest-all'), ask('/sdk/latest-flags')]);
    expect(budget.usedBytes).toBe(usedBytes);
    for (const { answer } of others) answer.release();
    // Everything is another one now, and the first answer still has the one before.
    put(flags(100, 2, { salt }));
    const second = await ask('/sdk/latest-all');
    expect(budget.usedBytes).toBeGreaterThan(1.9 * usedBytes);
    first.answer.release();
    expect(budget.usedBytes).toBeLessThan(1.1 * usedBytes);
    second.answer.release();
    // It is kept for the next one.
    expect(budget.usedBytes).toBeLessThan(1.1 * usedBytes);
    expect(budget.usedBytes).toBeGreaterThan(first.text.length);
  });

  test('a small change takes one block beside what others still send', async () => {
    const budget = createBudget(100 * MIB);
    const { view, put, ask } = start({ budget });
    put(flags(100, 1, { salt }));
    await ask('/sdk/latest-all');
    const { usedBytes } = budget;
    view.upsert(flag('f0', 2, { salt }), 0);
    await ask('/sdk/latest-all');
    expect(budget.usedBytes - usedBytes).toBeLessThan(150 * KIB);
    expect(budget.usedBytes - usedBytes).toBeGreaterThan(30 * KIB);
  });

  test('what is only kept takes an eighth, whatever is asked for by however many environments @heavy', async () => {
    const budget = createBudget(8 * MIB);
    const handlers = handlersOf(budget);
    const environments = Array.from({ length: 12 }, () => start({ handlers }));
    for (const { put, ask } of environments) {
      put(flags(30, 1, { salt }));
      const old = await ask('/sdk/poll');
      old.answer.release();
      const [, state = ''] = /"state":"(\w+)"/.exec(old.text) ?? [];
      put(flags(30, 2, { salt }));
      for (const path of ['/sdk/latest-all', '/sdk/latest-flags', '/sdk/poll'] as const) {
        for (const encoding of ['identity', 'gzip', 'br']) {
          for (const query of path === '/sdk/poll' ? ['', 'basis=nothing', `basis=${state}`] : ['']) {
            const reply = await ask(path, { query, headers: { 'accept-encoding': encoding } });
            expect(reply.status).toBe(200);
            reply.answer.release();
          }
        }
      }
      (await ask('/sdk/flags/{key}', { key: 'f0' })).answer.release();
      expect(budget.usedBytes).toBeLessThanOrEqual(MIB);
    }
    expect(budget.usedBytes).toBeGreaterThan(0);
  });

  test('what is compressed is made once for all @heavy', async () => {
    const budget = createBudget(100 * MIB);
    const { put, ask } = start({ budget });
    put(flags(30, 1, { salt }));
    const headers = { 'accept-encoding': 'br' };
    const first = await ask('/sdk/latest-all', { headers });
    const second = await ask('/sdk/latest-all', { headers });
    expect(first.headers).toMatchObject({ 'Content-Encoding': 'br' });
    expect(Buffer.concat([second.body].flat() as Buffer[])).toEqual(Buffer.concat([first.body].flat() as Buffer[]));
    expect([second.body].flat()[0]).toBe([first.body].flat()[0]);
    first.answer.release();
    second.answer.release();
  });

  test('when it is used up, new answers are refused with 503, and other environments still get theirs @heavy', async () => {
    const budget = createBudget(4 * MIB);
    const handlers = handlersOf(budget);
    const greedy = start({ handlers });
    const other = start({ handlers });
    other.put(flags(60, 1, { salt }));
    const sent: Awaited<ReturnType<typeof greedy.ask>>[] = [];
    let refused: unknown;
    for (let version = 1; !refused && version < 30; version++) {
      greedy.put(flags(60, version, { salt }));
      // It never reads.
      await greedy.ask('/sdk/latest-all').then(
        (reply) => sent.push(reply),
        (error: unknown) => (refused = error),
      );
    }
    expect(refused).toBeInstanceOf(Refusal);
    expect((refused as Refusal).reply).toMatchObject({ status: 503, headers: { 'Retry-After': expect.anything() } });
    expect((await other.ask('/sdk/latest-all')).status).toBe(200);
    for (const { answer } of sent) answer.release();
    expect((await greedy.ask('/sdk/latest-all')).status).toBe(200);
  });

  test('an environment that is larger than the budget gets its answers @heavy', async () => {
    const budget = createBudget(MIB);
    const { put, ask } = start({ budget });
    for (let version = 1; version < 4; version++) {
      put(flags(300, version, { salt }));
      const reply = await ask('/sdk/latest-all');
      expect(reply.text.length).toBeGreaterThan(3 * MIB);
      reply.answer.release();
    }
    // Nothing is kept but that there are no segments.
    expect(budget.usedBytes).toBeLessThan(2 * KIB);
  });
});
