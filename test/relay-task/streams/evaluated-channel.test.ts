import { type BigSegmentsAnswer, parseContext } from '../../../lib/evaluation/index.ts';
import { createBudget } from '../../../relay-task/common/budget.ts';
import { createEvaluationLines } from '../../../relay-task/common/evaluation-lines.ts';
import { sleep } from '../../../relay-task/common/pause.ts';
import type { BigSegments, ClientView, LoadOptions } from '../../../relay-task/ports.ts';
import { silentMeter } from '../../../relay-task/streams/meter.ts';
import { roomy, turnsOfLoop, until } from '../../support/eventually.ts';
import { flag, segment, tombstone } from '../../support/items.ts';
import type { StreamReader } from '../../support/read-stream.ts';
import { type ClientHub, type ClientHubOptions, evalx, startClientHub } from './start-client-hub.ts';

let started: ClientHub;
const start = async (options?: ClientHubOptions) => {
  started = await startClientHub(options);
  return started;
};
afterEach(() => started.close());

const user = (key: string) => ({ kind: 'user', key });
const HIDDEN = { clientSideAvailability: { usingMobileKey: false, usingEnvironmentId: false }, clientSide: false };
const targeting = (key: string, version: number, ...keys: string[]) =>
  flag(key, version, { targets: [{ variation: 1, values: keys }] });
const inSegment = (key: string, version: number, ...segments: string[]) =>
  flag(key, version, {
    rules: [{ id: 'r', variation: 1, clauses: [{ op: 'segmentMatch', attribute: '', values: segments }] }],
  });
const next = async (reader: StreamReader) => {
  const { event, data } = await reader.next();
  return [event, JSON.parse(data)];
};
const answer = (value: unknown, variation: number, version: number) => ({
  value,
  variation,
  version,
  flagVersion: version,
});

describe('a stream of evaluated flags', () => {
  test('starts with a put of what evalx returns for the same context, audience and options', async () => {
    const { put, environment, evaluated, read } = await start();
    put(
      targeting('a', 1, 'alice'),
      flag('mobile', 1, { clientSideAvailability: { usingMobileKey: true, usingEnvironmentId: false } }),
      flag('none', 1, HIDDEN),
    );
    const alice = parseContext(user('alice'))!;
    const browser = await (await evaluated(user('alice'))).next();
    expect(browser).toEqual({ event: 'put', data: evalx(environment, alice, 'environmentId') });
    expect(JSON.parse(browser.data)).toEqual({ a: answer(false, 1, 1) });
    const reasons = await (await evaluated(user('alice'), '?withReasons=true')).next();
    expect(JSON.parse(reasons.data)).toEqual({ a: { ...answer(false, 1, 1), reason: { kind: 'TARGET_MATCH' } } });
    const base64 = Buffer.from(JSON.stringify(user('bob'))).toString('base64url');
    const mobile = await (await read(`/meval/${base64}`)).next();
    expect(JSON.parse(mobile.data)).toEqual({ a: answer(true, 0, 1), mobile: answer(true, 0, 1) });
  });

  test('is open and silent until there is data, then gets a put', async () => {
    const { put, evaluated } = await start();
    const [one, two] = [await evaluated(user('a')), await evaluated(user('b'))];
    expect(one.body()).toBe('');
    put(flag('f', 1));
    expect(await next(one)).toEqual(['put', { f: answer(true, 0, 1) }]);
    expect(await next(two)).toEqual(['put', { f: answer(true, 0, 1) }]);
  });

  test('of an environment without flags gets an empty put', async () => {
    const { put, evaluated } = await start();
    put();
    expect(await next(await evaluated(user('a')))).toEqual(['put', {}]);
  });

  test('has the headers of its opening, which override the default ones', async () => {
    const headers = {
      'access-control-allow-origin': 'https://app.example',
      Vary: 'Origin',
      'X-Bad': 'a\r\nX-Worse: b',
    };
    const { put, evaluated } = await start({ headers });
    put();
    const reader = await evaluated(user('a'));
    expect(reader.headers).toMatchObject({
      'access-control-allow-origin': 'https://app.example',
      vary: 'Origin',
      'x-ld-envid': '64a0',
      'content-type': 'text/event-stream; charset=utf-8',
    });
    expect(Object.keys(reader.headers)).not.toContain('x-worse');
  });
});

describe('a change', () => {
  test('is sent only to contexts whose answer differs, as a patch of that flag', async () => {
    const { put, upsert, evaluated } = await start();
    put(flag('a', 1), flag('b', 1));
    const [alice, bob] = [await evaluated(user('alice')), await evaluated(user('bob'))];
    await Promise.all([alice.next(), bob.next()]);
    upsert(targeting('a', 2, 'alice'));
    expect(await next(alice)).toEqual(['patch', { key: 'a', ...answer(false, 1, 2) }]);
    upsert(targeting('b', 2, 'bob'));
    expect(await next(bob)).toEqual(['patch', { key: 'b', ...answer(false, 1, 2) }]);
    upsert(flag('a', 3));
    expect(await next(alice)).toEqual(['patch', { key: 'a', ...answer(true, 0, 3) }]);
    expect(bob.events).toHaveLength(2);
  });

  test('that alters no answer sends no bytes', async () => {
    const { put, upsert, evaluated } = await start({ heartbeatMs: 0 });
    put(flag('a', 1), flag('hidden', 1, HIDDEN), segment('s', 1), flag('b', 1));
    const reader = await evaluated(user('alice'));
    await reader.next();
    upsert(targeting('a', 2, 'bob'));
    upsert(flag('hidden', 2, { ...HIDDEN, on: false }));
    upsert(segment('s', 2, { included: ['alice'] }));
    upsert(tombstone('segments', 's', 3));
    upsert(tombstone('features', 'hidden', 3));
    for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
    upsert(flag('b', 2, { on: false }));
    expect(await next(reader)).toEqual(['patch', { key: 'b', ...answer(false, 1, 2) }]);
    expect(reader.events).toHaveLength(2);
  });

  test.each([
    ['a deletion', tombstone('features', 'a', 2)],
    ["the end of a flag's availability", flag('a', 2, HIDDEN)],
  ])('that is %s is a delete, and undoing it a patch', async (_what, gone) => {
    const { put, upsert, evaluated } = await start();
    put(flag('a', 1));
    const reader = await evaluated(user('alice'));
    await reader.next();
    upsert(gone);
    expect(await next(reader)).toEqual(['delete', { key: 'a', version: 2 }]);
    upsert(flag('a', 3));
    expect(await next(reader)).toEqual(['patch', { key: 'a', ...answer(true, 0, 3) }]);
    // By now another flag, or the same one, has its place.
    upsert(flag('new', 1));
    expect(await next(reader)).toEqual(['patch', { key: 'new', ...answer(true, 0, 1) }]);
    expect(await next(await evaluated(user('alice')))).toEqual([
      'put',
      { a: answer(true, 0, 3), new: answer(true, 0, 1) },
    ]);
  });

  test('of a segment is sent as one put where answers differ, since a patch with the same version would be ignored', async () => {
    const { put, upsert, evaluated } = await start();
    put(segment('beta', 1), inSegment('a', 1, 'beta'), flag('b', 1));
    const [alice, bob] = [await evaluated(user('alice')), await evaluated(user('bob'))];
    await Promise.all([alice.next(), bob.next()]);
    upsert(segment('beta', 2, { included: ['alice'] }));
    expect(await next(alice)).toEqual(['put', { a: answer(false, 1, 1), b: answer(true, 0, 1) }]);
    upsert(flag('b', 2, { on: false }));
    expect(await next(bob)).toEqual(['patch', { key: 'b', ...answer(false, 1, 2) }]);
  });

  test('of a prerequisite is a patch if only that flag differs, and a put if others differ too', async () => {
    const { put, upsert, evaluated } = await start();
    put(flag('base', 1), flag('top', 1, { prerequisites: [{ key: 'base', variation: 0 }] }));
    const reader = await evaluated(user('alice'));
    expect(await next(reader)).toEqual([
      'put',
      { base: answer(true, 0, 1), top: { ...answer(true, 0, 1), prerequisites: ['base'] } },
    ]);
    upsert(flag('base', 2, { on: false }));
    expect(await next(reader)).toEqual([
      'put',
      { base: answer(false, 1, 2), top: { ...answer(false, 1, 1), prerequisites: ['base'] } },
    ]);
  });

  test('with a lower version is a put for every context whose answer differs', async () => {
    const { put, upsert, evaluated } = await start();
    put(flag('a', 5), flag('b', 5));
    const reader = await evaluated(user('alice'));
    await reader.next();
    put(flag('a', 3), flag('b', 5));
    expect(await next(reader)).toEqual(['put', { a: answer(true, 0, 3), b: answer(true, 0, 5) }]);
    upsert(flag('a', 4, { on: false }));
    expect(await next(reader)).toEqual(['patch', { key: 'a', ...answer(false, 1, 4) }]);
  });

  test('that restores a deleted flag with a lower version is a put', async () => {
    const { put, upsert, evaluated } = await start();
    put(flag('a', 5), flag('b', 5));
    const reader = await evaluated(user('alice'));
    await reader.next();
    upsert(tombstone('features', 'a', 6));
    expect(await next(reader)).toEqual(['delete', { key: 'a', version: 6 }]);
    put(flag('a', 3), flag('b', 5));
    expect(await next(reader)).toEqual(['put', { a: answer(true, 0, 3), b: answer(true, 0, 5) }]);
  });

  test('reaches HTTP/1.0 clients without chunked encoding', async () => {
    const { put, upsert, evaluated } = await start();
    put(flag('a', 1));
    const reader = await evaluated(user('alice'), '', { httpVersion: '1.0' });
    await reader.next();
    upsert(flag('a', 2, { on: false }));
    expect((await reader.next()).event).toBe('patch');
    expect(reader.chunks()).toBe(0);
  });
});

/** What a client-side SDK holds after these events: a patch or deletion applies only above the version that is held, a deletion's included. */
function heldBy({ events }: StreamReader): Record<string, unknown> {
  let held: Record<string, { version: number; value?: unknown }> = {};
  for (const { event, data } of events) {
    const { key, ...answer } = JSON.parse(data);
    if (event === 'put') held = JSON.parse(data);
    else if (!held[key] || held[key].version < answer.version) held[key] = answer;
  }
  return Object.fromEntries(
    Object.entries(held).flatMap(([key, { value }]) => (value === undefined ? [] : [[key, value]])),
  );
}
const valuesNow = ({ environment }: ClientHub, key: string) => {
  const answers: Record<string, { value: unknown }> = JSON.parse(
    evalx(environment, parseContext(user(key))!, 'environmentId'),
  );
  return Object.fromEntries(Object.entries(answers).map(([name, { value }]) => [name, value]));
};
/** Calls `then` once in the turn after the first evaluation of the flag, and makes every evaluation fill a slice of a pass. */
const pausing = () => {
  let then: (() => void) | undefined;
  const wrap = (view: ClientView): ClientView => ({
    ...view,
    evaluateOne(key, ...rest) {
      if (then) {
        setImmediate(then);
        then = undefined;
        slow = true;
      }
      for (const until = performance.now() + (slow ? 5 : 0); performance.now() < until; );
      return view.evaluateOne(key, ...rest);
    },
  });
  let slow = false;
  return {
    wrap,
    /** In the middle of the next pass. */
    between(what: () => void) {
      then = what;
    },
  };
};

describe('a client that holds a deletion', () => {
  const X = (version: number, more = {}) => flag('x', version, { variations: [`v${version}`, 'off'], ...more });
  const other = flag('other', 1);

  test.each([
    ['a deletion, then hidden under a lower version', [tombstone('features', 'x', 16)], [X(3, HIDDEN), other], X(4)],
    ['its absence, then hidden under a lower version', [], [other], [X(1, HIDDEN), X(2)]],
    ['the end of its availability, then hidden under a lower version', [X(16, HIDDEN)], [X(3, HIDDEN), other], X(4)],
    [
      'a deletion, then deleted under a lower version',
      [tombstone('features', 'x', 16)],
      [tombstone('features', 'x', 7), other],
      X(8),
    ],
  ])('gets a put once the flag is visible again: %s', async (_how, gone, whole, back) => {
    const { put, upsert, evaluated } = await start();
    put(X(5), other);
    const reader = await evaluated(user('alice'));
    await reader.next();
    for (const item of gone) upsert(item);
    if (gone.length > 0) expect((await next(reader))[0]).toBe('delete');
    put(...whole);
    if (gone.length === 0) expect(await next(reader)).toEqual(['delete', { key: 'x', version: 6 }]);
    for (const item of [back].flat()) {
      // Each in a pass of its own.
      await turnsOfLoop();
      upsert(item);
    }
    await until('it holds what evalx answers', () => {
      const now = valuesNow(started, 'alice');
      return now.x !== undefined && JSON.stringify(heldBy(reader)) === JSON.stringify(now);
    });
    expect(reader.events.map(({ event }) => event)).toEqual(['put', 'delete', 'put']);
  });

  test('gets a patch if the flag is visible again under a higher version', async () => {
    const { put, upsert, evaluated } = await start();
    put(X(5), other);
    const reader = await evaluated(user('alice'));
    await reader.next();
    upsert(tombstone('features', 'x', 16));
    expect(await next(reader)).toEqual(['delete', { key: 'x', version: 16 }]);
    upsert(X(17, HIDDEN));
    await turnsOfLoop();
    upsert(X(18));
    expect(await next(reader)).toEqual(['patch', { key: 'x', ...answer('v18', 0, 18) }]);
  });

  test('holds the newest value if a whole set with a lower version arrives while a pass is on its way', async () => {
    const { wrap, between } = pausing();
    const { put, upsert, evaluated } = await start({ wrap });
    put(X(5), other);
    const names = Array.from({ length: 8 }, (_, i) => `u${i}`);
    const readers = await Promise.all(names.map((name) => evaluated(user(name))));
    for (const reader of readers) await reader.next();
    upsert(tombstone('features', 'x', 15));
    for (const reader of readers) expect(await next(reader)).toEqual(['delete', { key: 'x', version: 15 }]);
    between(() => put(X(3), other));
    upsert(X(17));
    await until('all hold it', () => readers.every((reader) => heldBy(reader).x === 'v3'));
    // The pass had reached some of them: they were told of version 17 before.
    expect(readers.some((reader) => reader.body().includes('v17'))).toBe(true);
    expect(readers.every((reader) => reader.body().includes('v17'))).toBe(false);
  });
});

describe('a stream for a context that has one', () => {
  test('starts with the newest answers, though the pass has not reached the context, and the other gets them, too @heavy', async () => {
    const { wrap, between } = pausing();
    const { put, upsert, evaluated } = await start({ wrap });
    put(flag('a', 1), flag('b', 1));
    const alice = await evaluated(user('alice'));
    await alice.next();
    // Passes begin with the latest.
    const others = await Promise.all(Array.from({ length: 100 }, (_, i) => evaluated(user(`u${i}`))));
    for (const reader of others) await reader.next();
    let opening: Promise<StreamReader> | undefined;
    between(() => {
      opening = evaluated(user('alice'));
      upsert(flag('b', 2, { on: false }));
    });
    upsert(flag('a', 2, { on: false }));
    await until('the pass', () => opening !== undefined);
    const newest = { a: answer(false, 1, 2), b: answer(false, 1, 2) };
    expect(await next(await opening!)).toEqual(['put', newest]);
    await until('the other stream', () => JSON.stringify(heldBy(alice)) === '{"a":false,"b":false}');
  });
});

test('streams that open before any of them was answered count what their answers will take', async () => {
  const clients = createBudget(Number.POSITIVE_INFINITY);
  const memory = { servers: createBudget(Number.POSITIVE_INFINITY), clients };
  const { put, evaluated } = await start({ memory });
  put(flag('f', 1));
  const one = await evaluated(user('one'));
  await next(one);
  const usual = clients.usedBytes;
  one.close();
  await until('it has closed', () => clients.usedBytes === 0);
  put(...Array.from({ length: 1_000 }, (_, index) => flag(`f${index}`, 2)));
  await evaluated(user('two'));
  expect(clients.usedBytes).toBeGreaterThan(usual + 1_000 * 7);
});

describe('what throws', () => {
  /** A view whose evaluations of the flag `bad` throw for one context, while it is on. */
  const throwing = () => {
    const state = { on: false };
    const fails = (context: unknown) => state.on && JSON.stringify(context).includes('mallory');
    const wrap = (view: ClientView): ClientView => ({
      ...view,
      prepare(context, how) {
        if (fails(context)) throw new Error('boom');
        return view.prepare(context, how);
      },
      evaluateInSteps(context, ...rest) {
        if (fails(context)) throw new Error('boom');
        return view.evaluateInSteps(context, ...rest);
      },
      evaluateOne(key, context, ...rest) {
        if (fails(context)) throw new Error('boom');
        return view.evaluateOne(key, context, ...rest);
      },
    });
    const failures: string[] = [];
    const failed = (environment: string, kind: string, error: unknown) =>
      void failures.push(`${environment} ${kind} ${error}`);
    return { state, wrap, failures, meter: { ...silentMeter, failed } };
  };

  test('in a pass closes the streams of that context, and no others', async () => {
    const { state, wrap, failures, meter } = throwing();
    const { put, upsert, evaluated } = await start({ wrap, meter });
    put(flag('a', 1));
    const [mallory, alice, bob] = [
      await evaluated(user('mallory')),
      await evaluated(user('alice')),
      await evaluated(user('bob')),
    ];
    for (const reader of [mallory, alice, bob]) await reader.next();
    state.on = true;
    upsert(flag('a', 2, { fallthrough: { variation: 1 } }));
    for (const reader of [alice, bob]) expect((await reader.next()).event).toBe('patch');
    expect(await mallory.ended).toBe('cut');
    expect(failures).toEqual(['test eval Error: boom']);
    state.on = false;
    const again = await evaluated(user('mallory'));
    expect(JSON.parse((await again.next()).data)).toMatchObject({ a: { version: 2 } });
  });

  test('while a stream starts costs that stream', async () => {
    const { state, wrap, failures, meter } = throwing();
    const { put, upsert, evaluated } = await start({ wrap, meter });
    put(flag('a', 1));
    const alice = await evaluated(user('alice'));
    await alice.next();
    state.on = true;
    await expect(evaluated(user('mallory'))).rejects.toThrow();
    expect(failures).toEqual(['test eval Error: boom']);
    upsert(flag('a', 2, { fallthrough: { variation: 1 } }));
    expect((await alice.next()).event).toBe('patch');
  });
});

/** The first evaluation goes on once it is released. `begun`: whose evaluations have begun. */
function holdingTheFirst() {
  let held = true;
  const begun: string[] = [];
  const wrap = (view: ClientView): ClientView => ({
    ...view,
    *evaluateInSteps(context, ...rest) {
      begun.push((context as { keyOf?(kind: string): string }).keyOf?.('user') ?? '');
      while (held && begun.length === 1) yield;
      return yield* view.evaluateInSteps(context, ...rest);
    },
  });
  const release = () => {
    held = false;
  };
  return { begun, wrap, release };
}

describe('the evaluation work', () => {
  const counting = () => {
    const calls = { all: 0, one: [] as string[] };
    const wrap = (view: ClientView): ClientView => ({
      ...view,
      evaluateInSteps: (...args) => {
        calls.all++;
        return view.evaluateInSteps(...args);
      },
      evaluateOne: (...args) => {
        calls.one.push(args[0]);
        return view.evaluateOne(...args);
      },
    });
    return { calls, wrap };
  };

  /** First answers in steps that take longer than a slice each; `during` is called with the number of the step. */
  const slowly = (during: (step: number) => void) => (view: ClientView) => ({
    ...view,
    *evaluateInSteps(...given: Parameters<ClientView['evaluateInSteps']>) {
      const steps = view.evaluateInSteps(...given);
      let step = steps.next();
      for (let count = 1; ; count++) {
        during(count);
        for (const over = performance.now() + 5; performance.now() < over; );
        if (step.done) return step.value;
        yield;
        step = steps.next();
      }
    },
  });
  const firstAnswers = async (reader: StreamReader) => JSON.parse((await reader.next()).data) as unknown;
  const many = (version: number, change = {}) =>
    Array.from({ length: 200 }, (_, index) => flag(`f${index}`, version, change));

  test('for first answers of many flags leaves turns of the event loop to others', async () => {
    let turns = 0;
    const at: number[] = [];
    const { put, evaluated } = await start({ wrap: slowly(() => at.push(turns)) });
    const next = () => {
      turns++;
      if (at.length < 7) setImmediate(next);
    };
    next();
    put(...many(1));
    const reader = await evaluated(user('a'));
    expect(Object.keys((await firstAnswers(reader)) as object)).toHaveLength(200);
    expect(new Set(at).size).toBeGreaterThan(5);
  });

  test('for first answers begins again after a change, so that nobody gets answers of two states @heavy', async () => {
    let changes = 0;
    const { put, upsert, evaluated } = await start({
      wrap: slowly((step) => {
        if (step === 4 && changes < 5) put(...many(++changes + 1, { on: false, offVariation: changes % 2 }));
      }),
    });
    put(...many(1));
    const reader = await evaluated(user('a'));
    const versions = new Set(
      Object.values((await firstAnswers(reader)) as Record<string, { version: number }>).map(({ version }) => version),
    );
    expect(versions.size).toBe(1);
    upsert(flag('last', 99));
    await until('the newest', () => reader.body().includes('"key":"last"'));
  });

  test('for first answers begins again after a change once the changed flags are compiled', async () => {
    let compiling: Promise<void> | undefined;
    const begun: boolean[] = [];
    const wrap = (view: ClientView): ClientView => ({
      ...view,
      compile: () => compiling,
      *evaluateInSteps(...given) {
        begun.push(compiling !== undefined);
        yield;
        if (begun.length === 1) {
          started.put(flag('f', 2));
          compiling = turnsOfLoop(20).then(() => {
            compiling = undefined;
          });
        }
        yield;
        return yield* view.evaluateInSteps(...given);
      },
    });
    const { put, evaluated } = await start({ wrap });
    put(flag('f', 1));
    expect(await next(await evaluated(user('a')))).toEqual(['put', { f: answer(true, 0, 2) }]);
    expect(begun).toEqual([false, false]);
  });

  test('for first answers leaves turns to others while changes keep coming, and what changed follows @heavy', async () => {
    let turns = 0;
    let version = 1;
    const at: number[] = [];
    const { put, evaluated } = await start({
      wrap: slowly((step) => {
        at.push(turns);
        if (step % 2 === 0) put(...many(++version, { on: false, offVariation: version % 2 }));
      }),
    });
    const next = () => {
      turns++;
      if (at.length < 30) timer = setImmediate(next);
    };
    let timer = setImmediate(next);
    put(...many(1));
    const reader = await evaluated(user('a'));
    await firstAnswers(reader);
    clearImmediate(timer);
    expect(new Set(at).size).toBe(at.length);
    await until('the newest', () => new Set(Object.values(heldBy(reader))).has(version % 2 === 0));
    put(...many(++version, { on: false, offVariation: version % 2 }));
    const last = version % 2 === 0;
    await until('the last', () => Object.values(heldBy(reader)).every((value) => value === last));
  });

  test('after a change of a few flags that cost much leaves turns to others', async () => {
    let turns = 0;
    const at: number[] = [];
    const wrap = (view: ClientView): ClientView => ({
      ...view,
      evaluateOne(...given) {
        at.push(turns);
        const memo = given.at(-1) as { work: number };
        memo.work += 1_000_000;
        for (const over = performance.now() + 3; performance.now() < over; );
        return view.evaluateOne(...given);
      },
    });
    const { put, evaluated } = await start({ wrap });
    const few = (version: number, change = {}) => many(version, change).slice(0, 20);
    put(...few(1));
    const reader = await evaluated(user('a'));
    await firstAnswers(reader);
    let timer = setImmediate(function next() {
      turns++;
      timer = setImmediate(next);
    });
    put(...few(2, { on: false, offVariation: 1 }));
    await until('everything is new', () => Object.values(heldBy(reader)).every((value) => value === false));
    clearImmediate(timer);
    expect(at).toHaveLength(20);
    expect(new Set(at).size).toBe(20);
  });

  test('after a change of many flags leaves turns to others in the middle of a context, and a client that joins then gets the newest @heavy', async () => {
    let turns = 0;
    let opening: Promise<StreamReader> | undefined;
    const at: number[] = [];
    const wrap = (view: ClientView): ClientView => ({
      ...view,
      evaluateOne(...given) {
        at.push(turns);
        for (const over = performance.now() + 0.3; performance.now() < over; );
        if (at.length === 50) opening = started.evaluated(user('a'));
        return view.evaluateOne(...given);
      },
    });
    const { put, evaluated } = await start({ wrap });
    put(...many(1));
    const first = await evaluated(user('a'));
    await firstAnswers(first);
    const next = () => {
      turns++;
      if (at.length < 200) setImmediate(next);
    };
    next();
    put(...many(2, { on: false, offVariation: 1 }));
    await until('someone joins', () => opening !== undefined);
    const second = await opening!;
    for (const reader of [first, second]) {
      await until(
        'everything is new',
        () => Object.values(heldBy(reader)).filter((value) => value === false).length === 200,
      );
    }
    expect(new Set(at).size).toBeGreaterThan(5);
  });

  test('for first answers of many contexts is in progress for few of them at once, also when data comes later @heavy', async () => {
    let inProgress = 0;
    let most = 0;
    const wrap = (view: ClientView): ClientView => ({
      ...view,
      *evaluateInSteps(...given) {
        most = Math.max(most, ++inProgress);
        try {
          for (let step = 0; step < 4; step++) {
            for (const over = performance.now() + 1; performance.now() < over; );
            yield;
          }
          return yield* view.evaluateInSteps(...given);
        } finally {
          inProgress--;
        }
      },
    });
    const { put, evaluated } = await start({ wrap });
    const early = await Promise.all(Array.from({ length: 12 }, (_, index) => evaluated(user(`early ${index}`))));
    put(flag('f', 1));
    const late = await Promise.all(Array.from({ length: 12 }, (_, index) => evaluated(user(`late ${index}`))));
    for (const reader of [...early, ...late]) expect((await next(reader))[0]).toBe('put');
    // All have one address.
    expect(most).toBe(1);
  });

  test('is not done for a stream that has closed while it waited', async () => {
    const { begun, wrap, release } = holdingTheFirst();
    const { hub, put, evaluated } = await start({ wrap });
    put(flag('f', 1));
    const first = await evaluated(user('first'));
    const leaving = [await evaluated(user('leaving')), await evaluated(user('leaving too'))];
    const last = await evaluated(user('last'));
    await until('four streams', () => hub.connections === 4);
    for (const reader of leaving) reader.close();
    await until('two streams', () => hub.connections === 2).finally(release);
    for (const reader of [first, last]) expect((await next(reader))[0]).toBe('put');
    expect(begun).toEqual(['first', 'last']);
  });

  test('that has begun for a stream is given up when it closes', async () => {
    const { begun, wrap, release } = holdingTheFirst();
    const { put, evaluated } = await start({ wrap });
    put(flag('f', 1));
    const first = await evaluated(user('first'));
    const second = await evaluated(user('second'));
    await until('the first has begun', () => begun.length === 1);
    first.close();
    await until('the second has begun', () => begun.length === 2).finally(release);
    expect((await next(second))[0]).toBe('put');
  });

  test('is shared by all streams of one context, in any order of attributes, and by no others', async () => {
    const { calls, wrap } = counting();
    const { put, upsert, evaluated } = await start({ wrap });
    put(flag('a', 1));
    const readers = [];
    for (let i = 0; i < 10; i++) {
      readers.push(await evaluated({ kind: 'user', key: 'x', name: 'n' }));
      readers.push(await evaluated({ name: 'n', key: 'x', kind: 'user' }));
    }
    for (const reader of readers) await reader.next();
    expect(calls.all).toBe(1);
    const other = await evaluated({ kind: 'user', key: 'x', name: 'm' });
    const withReasons = await evaluated({ kind: 'user', key: 'x', name: 'n' }, '?withReasons=true');
    await Promise.all([other.next(), withReasons.next()]);
    expect(calls.all).toBe(3);
    upsert(flag('a', 2, { on: false }));
    for (const reader of [...readers, other, withReasons]) expect((await reader.next()).event).toBe('patch');
    expect(calls.one).toEqual(['a', 'a', 'a']);
  });

  test('is limited to the flags that a change can affect', async () => {
    const { calls, wrap } = counting();
    const { put, upsert, evaluated } = await start({ wrap });
    put(segment('s', 1), inSegment('a', 1, 's'), ...Array.from({ length: 20 }, (_, i) => flag(`f${i}`, 1)));
    const reader = await evaluated(user('x'));
    await reader.next();
    upsert(segment('s', 2, { included: ['x'] }));
    await reader.next();
    expect(calls.one).toEqual(['a']);
    upsert(flag('f7', 2, { on: false }));
    await reader.next();
    expect(calls.one).toEqual(['a', 'f7']);
  });

  test('for many contexts yields to other work many times @heavy', async () => {
    let turns = 0;
    let slow = false;
    const turnsAt: number[] = [];
    const { put, upsert, evaluated } = await start({
      wrap: (view) => ({
        ...view,
        evaluateOne: (...args) => {
          turnsAt.push(turns);
          for (const until = performance.now() + (slow ? 2 : 0); performance.now() < until; );
          return view.evaluateOne(...args);
        },
      }),
    });
    put(flag('a', 1));
    const readers = await Promise.all(Array.from({ length: 60 }, (_, i) => evaluated(user(`u${i}`))));
    await Promise.all(readers.map((reader) => reader.next()));
    slow = true;
    let counts = true;
    const count = () => {
      turns++;
      if (counts) setImmediate(count);
    };
    count();
    upsert(flag('a', 2, { on: false }));
    await Promise.all(readers.map((reader) => reader.next()));
    counts = false;
    expect(turnsAt).toHaveLength(60);
    // 60 evaluations of 2 ms in slices of 4 ms.
    expect(turnsAt.at(-1)! - turnsAt[0]!).toBeGreaterThanOrEqual(15);
  });

  test('does not wait for long first evaluations of other addresses, and these end with their streams', async () => {
    let isHeld = true;
    let begun = 0;
    const { put, evaluated, read, hub } = await start({
      // Each is a long one after its first slice.
      evaluations: createEvaluationLines({ longMs: 0 }),
      wrap: (view) => ({
        ...view,
        *evaluateInSteps(context, ...rest) {
          begun++;
          const isLong = JSON.stringify(context).includes('long');
          while (isLong && isHeld) {
            for (const over = performance.now() + 1; performance.now() < over; );
            yield;
          }
          return yield* view.evaluateInSteps(context, ...rest);
        },
      }),
    });
    put(flag('a', 1));
    const open = (index: number) => {
      const base64 = Buffer.from(JSON.stringify(user(`long ${index}`))).toString('base64url');
      return read(`/eval/64a0/${base64}?address=192.0.2.${index}`);
    };
    const long = await Promise.all(Array.from({ length: 8 }, (_, index) => open(index)));
    await until('all have begun', () => begun === 8);
    expect((await (await evaluated(user('other'))).next()).event).toBe('put');
    expect(long.some((reader) => reader.events.length > 0)).toBe(false);
    for (const reader of long.slice(0, 4)) reader.close();
    await until('they are gone', () => hub.connections === 5);
    isHeld = false;
    for (const reader of long.slice(4)) expect((await reader.next()).event).toBe('put');
    expect((await (await open(1)).next()).event).toBe('put');
  });

  test('stops with the last stream of a context', async () => {
    const { calls, wrap } = counting();
    const { put, upsert, evaluated, hub } = await start({ wrap });
    put(flag('a', 1));
    const [one, two, other] = [await evaluated(user('x')), await evaluated(user('x')), await evaluated(user('y'))];
    for (const reader of [one, two, other]) await reader.next();
    one.close();
    await until('one stream less', () => hub.connections === 2);
    upsert(flag('a', 2, { on: false }));
    expect((await two.next()).event).toBe('patch');
    await other.next();
    two.close();
    await until('another less', () => hub.connections === 1);
    calls.one.length = 0;
    upsert(flag('a', 3));
    await other.next();
    expect(calls.one).toEqual(['a']);
  });
});

describe('a slow reader of evaluated flags', () => {
  const big = (version: number) => flag('big', version, { variations: [`${version} ${'x'.repeat(400_000)}`] });

  test('gets one put later instead of a queue, and the others never wait for it @heavy', async () => {
    const { put, upsert, evaluated, hub } = await start({ stallMs: 60_000 });
    put(big(1));
    const [slow, quick] = [await evaluated(user('slow')), await evaluated(user('quick'))];
    await Promise.all([slow.next(), quick.next()]);
    slow.pause();
    const CHANGES = 60;
    for (let version = 2; version <= CHANGES; version++) {
      upsert(big(version));
      await quick.until((reader) => reader.events.length === version);
    }
    expect(quick.events.at(-1)!.event).toBe('patch');
    slow.resume();
    const last = `"version":${CHANGES}`;
    await slow.until((reader) => reader.events.at(-1)!.data.includes(last));
    expect(slow.events.length).toBeLessThan(CHANGES / 2);
    expect(slow.events.slice(1).map(({ event }) => event)).toContain('put');
    upsert(big(CHANGES + 1));
    await slow.until((reader) => reader.events.at(-1)!.event === 'patch');
    expect(hub.connections).toBe(2);
  });

  test('that reads nothing for too long is disconnected @heavy', async () => {
    const { put, upsert, evaluated, hub } = await start({ stallMs: roomy(200) });
    put(big(1));
    const slow = await evaluated(user('slow'));
    await slow.next();
    slow.pause();
    let version = 1;
    await until('it is gone', () => {
      upsert(big(++version));
      return hub.connections === 0;
    });
    slow.resume();
    expect(await slow.ended).toBe('cut');
  });
});

describe('Big Segments on a stream of evaluated flags', () => {
  const members = new Set<string>();
  const loads: { readonly key: string; readonly how: LoadOptions | undefined }[] = [];
  /** What a load says in the end, if it is not what the members are when it begins. */
  let answerTo = (key: string): Promise<BigSegmentsAnswer> | BigSegmentsAnswer => truth(key);
  const truth = (key: string): BigSegmentsAnswer => ({ status: 'HEALTHY', membership: { 'big.g1': members.has(key) } });
  const bigSegments: BigSegments = {
    async load(keys, how) {
      for (const key of keys) loads.push({ key, how });
      const answers = await Promise.all(keys.map(async (key) => [key, await answerTo(key)] as const));
      await sleep(1);
      return new Map(answers);
    },
    status: () => undefined,
  };
  const items = [segment('big', 1, { unbounded: true, generation: 1 }), inSegment('a', 1, 'big'), flag('b', 1)];
  beforeEach(() => {
    members.clear();
    loads.length = 0;
    answerTo = truth;
  });

  test('are looked up before the first put, once for all streams of a context', async () => {
    const { put, evaluated } = await start({ bigSegments });
    put(...items);
    members.add('alice');
    const readers = await Promise.all([1, 2, 3].map(() => evaluated(user('alice'), '?withReasons=true')));
    for (const reader of readers) {
      expect(JSON.parse((await reader.next()).data).a).toEqual({
        ...answer(false, 1, 1),
        reason: { kind: 'RULE_MATCH', ruleIndex: 0, ruleId: 'r', bigSegmentsStatus: 'HEALTHY' },
      });
    }
    expect(loads.length).toBeLessThanOrEqual(3);
  });

  test('are looked up again after a change, which is a put where answers differ @heavy', async () => {
    const { put, upsert, evaluated, environment } = await start({ bigSegments });
    put(...items);
    const readers = await Promise.all(Array.from({ length: 200 }, (_, i) => evaluated(user(`u${i}`))));
    await Promise.all(readers.map((reader) => reader.next()));
    members.add('u7').add('u150');
    loads.length = 0;
    environment.bigSegmentsChanged();
    expect(await next(readers[7]!)).toEqual(['put', { a: answer(false, 1, 1), b: answer(true, 0, 1) }]);
    expect(await next(readers[150]!)).toEqual(['put', { a: answer(false, 1, 1), b: answer(true, 0, 1) }]);
    upsert(flag('b', 2, { on: false }));
    for (const reader of readers) expect(await next(reader)).toEqual(['patch', { key: 'b', ...answer(false, 1, 2) }]);
    expect(new Set(loads.map(({ key }) => key)).size).toBe(200);
  });

  test('are looked up with the first data if the stream opened before it', async () => {
    const { put, evaluated } = await start({ bigSegments });
    const reader = await evaluated(user('alice'));
    members.add('alice');
    put(...items);
    expect(await next(reader)).toEqual(['put', { a: answer(false, 1, 1), b: answer(true, 0, 1) }]);
  });

  test('are awaited by a stream that opens after a renewal, which gets nothing evaluated for the same context before', async () => {
    const { put, streams, evaluated } = await start({ bigSegments });
    put(flag('foreign', 1));
    const before = await evaluated(user('alice'));
    await before.next();
    let proceed = () => {};
    const blocked = new Promise<void>((resolve) => {
      proceed = resolve;
    });
    answerTo = (key) => blocked.then(() => truth(key));
    streams.renew();
    put(...items);
    // The stream before still has its old answers.
    await until('it is being prepared', () => loads.length > 0);
    const after = await evaluated(user('alice'));
    proceed();
    const own = { a: answer(true, 0, 1), b: answer(true, 0, 1) };
    expect(await next(after)).toEqual(['put', own]);
    await before.until(() => before.body().includes('"b"'));
    // Either leaves without the other.
    before.close();
    await until('it is gone', () => streams.connections === 1);
    const another = await evaluated(user('alice'));
    expect(await next(another)).toEqual(['put', own]);
    expect(after.body()).not.toContain('foreign');
  });

  test('are waited for as long as it takes, and a stream passes on what it was sent before', async () => {
    const { put, evaluated, environment } = await start({ bigSegments });
    put(...items);
    const reader = await evaluated(user('alice'));
    await reader.next();
    members.add('alice');
    environment.bigSegmentsChanged();
    await reader.next();
    expect(loads.map(({ how }) => how?.patient)).toEqual([true, true]);
    expect([...loads[1]!.how!.known!]).toEqual([['alice', { status: 'HEALTHY', membership: { 'big.g1': false } }]]);
  });

  test('that change while the first answers wait for them are sent right after these', async () => {
    const { put, evaluated, environment } = await start({ bigSegments });
    put(...items);
    const first = await evaluated(user('first'));
    await first.next();
    let answerOld = (_answer: BigSegmentsAnswer) => {};
    answerTo = (key) =>
      key === 'first'
        ? truth(key)
        : new Promise((resolve) => {
            answerOld = resolve;
          });
    const reader = await evaluated(user('alice'));
    await until('the lookup', () => loads.some(({ key }) => key === 'alice'));
    members.add('alice').add('first');
    environment.bigSegmentsChanged();
    // The pass is over, and could not reach the stream that has no answers yet.
    await first.next();
    answerTo = truth;
    answerOld({ status: 'STORE_ERROR' });
    expect(await next(reader)).toEqual(['put', { a: answer(true, 0, 1), b: answer(true, 0, 1) }]);
    expect(await next(reader)).toEqual(['put', { a: answer(false, 1, 1), b: answer(true, 0, 1) }]);
  });

  test('that use another kind of context are waited for, too, if they arrive before the first answers', async () => {
    const { put, upsert, evaluated } = await start({ bigSegments });
    put(...items, inSegment('c', 1, 'other'));
    let answerOld = (_answer: BigSegmentsAnswer) => {};
    answerTo = () =>
      new Promise((resolve) => {
        answerOld = resolve;
      });
    const both = { kind: 'multi', user: { key: 'alice' }, org: { key: 'acme' } };
    const reader = await evaluated(both, '?withReasons=true');
    await until('the lookup', () => loads.length > 0);
    answerTo = truth;
    upsert(segment('other', 1, { unbounded: true, generation: 1, unboundedContextKind: 'org' }));
    answerOld(truth('alice'));
    const { a, c } = JSON.parse((await reader.next()).data);
    expect([a.reason.bigSegmentsStatus, c.reason.bigSegmentsStatus]).toEqual(['HEALTHY', 'HEALTHY']);
  });

  /** Loads of this key are answered by hand, in any order. */
  const byHand = (key: string) => {
    const waiting: ((answer: BigSegmentsAnswer) => void)[] = [];
    answerTo = (asked) => (asked === key ? new Promise((resolve) => waiting.push(resolve)) : truth(asked));
    return waiting;
  };

  test('are looked up before the first put of a second stream of the context if a change waits for them', async () => {
    const { put, upsert, evaluated, streams } = await start({ bigSegments });
    put(...items);
    const first = await evaluated(user('alice'));
    await first.next();
    const waiting = byHand('alice');
    upsert(inSegment('a', 2, 'big'));
    await until('the pass waits', () => waiting.length === 1);
    members.add('alice');
    const second = await evaluated(user('alice'));
    await until('the second stream waits', () => streams.connections === 2 && waiting.length === 2);
    expect(second.events).toEqual([]);
    for (const resolve of waiting) resolve(truth('alice'));
    expect(await next(second)).toEqual(['put', { a: answer(false, 1, 2), b: answer(true, 0, 1) }]);
    expect(await next(first)).toEqual(['patch', { key: 'a', ...answer(false, 1, 2) }]);
  });

  test('are looked up again for a second stream if they changed after the first one asked for them', async () => {
    const { put, evaluated, environment } = await start({ bigSegments });
    put(...items);
    const other = await evaluated(user('bob'));
    await other.next();
    // The next pass waits for the one that waits for this.
    const ofBob = byHand('bob');
    environment.bigSegmentsChanged();
    await until('the pass waits', () => ofBob.length === 1);
    const ofAlice = byHand('alice');
    const first = await evaluated(user('alice'));
    await until('the first stream waits', () => ofAlice.length === 1);
    const outdated = truth('alice');
    members.add('alice');
    environment.bigSegmentsChanged();
    ofAlice[0]!(outdated);
    await next(first);
    answerTo = truth;
    const second = await evaluated(user('alice'));
    expect(await next(second)).toEqual(['put', { a: answer(false, 1, 1), b: answer(true, 0, 1) }]);
    ofBob[0]!(truth('bob'));
  });

  test('are those of the latest lookup, in whichever order lookups are answered', async () => {
    const { put, upsert, evaluated, environment, streams } = await start({ bigSegments });
    put(...items);
    const first = await evaluated(user('alice'));
    await first.next();
    const waiting = byHand('alice');
    upsert(inSegment('a', 2, 'big'));
    await until('the pass waits', () => waiting.length === 1);
    const second = await evaluated(user('alice'));
    await until('the second stream waits', () => streams.connections === 2 && waiting.length === 2);
    waiting[0]!(truth('alice'));
    // The second stream's lookup has an outdated answer, later than the one that the refresh needs.
    const outdated = truth('alice');
    members.add('alice');
    environment.bigSegmentsChanged();
    await until('the refresh waits', () => waiting.length === 3);
    waiting[2]!(truth('alice'));
    await until('the first stream', () => heldBy(first).a === false);
    waiting[1]!(outdated);
    expect(await next(second)).toEqual(['put', { a: answer(false, 1, 2), b: answer(true, 0, 1) }]);
    upsert(flag('b', 2, { on: false }));
    await until('both', () => [first, second].every((reader) => heldBy(reader).b === false));
    expect([heldBy(first).a, heldBy(second).a]).toEqual([false, false]);
  });

  test('that cannot be had leave a second stream of the context with what the first one has', async () => {
    let refuses = false;
    const load: BigSegments['load'] = async (...args) => (refuses ? undefined : bigSegments.load(...args));
    const { put, upsert, evaluated } = await start({ bigSegments: { ...bigSegments, load } });
    put(...items);
    const first = await evaluated(user('alice'));
    await first.next();
    const waiting = byHand('alice');
    upsert(inSegment('a', 2, 'big', 'other'));
    await until('the pass waits', () => waiting.length === 1);
    refuses = true;
    const second = await evaluated(user('alice'));
    expect(await next(second)).toEqual(['put', { a: answer(true, 0, 1), b: answer(true, 0, 1) }]);
    members.add('alice');
    waiting[0]!(truth('alice'));
    for (const reader of [first, second]) {
      expect(await next(reader)).toEqual(['patch', { key: 'a', ...answer(false, 1, 2) }]);
    }
  });

  test('that are awaited while a whole set arrives do not hide its lower versions', async () => {
    const { put, upsert, evaluated } = await start({ bigSegments });
    const others = items.filter(({ key }) => key !== 'a');
    put(...items);
    const reader = await evaluated(user('alice'));
    await reader.next();
    upsert(tombstone('features', 'a', 15));
    expect(await next(reader)).toEqual(['delete', { key: 'a', version: 15 }]);
    const waiting = byHand('alice');
    upsert(inSegment('a', 17, 'big'));
    await until('the pass waits', () => waiting.length === 1);
    put(inSegment('a', 3, 'big'), ...others);
    waiting[0]!(truth('alice'));
    answerTo = truth;
    expect(await next(reader)).toEqual(['put', { b: answer(true, 0, 1), a: answer(true, 0, 3) }]);
  });
});

test('streams whose contexts take long to read delay no change for the others @heavy', async () => {
  const { put, upsert, evaluated } = await start();
  const serving = (version: number) =>
    flag('f', version, { variations: [0, 1, 2, 3, 4], fallthrough: { variation: version } });
  put(serving(1));
  const slow: StreamReader[] = [];
  for (let i = 0; i < 30; i++) slow.push(await evaluated(user(`packed-${i}`)));
  const quick = await evaluated(user('quick'));
  for (const reader of [...slow, quick]) await reader.next();
  for (let version = 2; version <= 4; version++) {
    upsert(serving(version));
    expect((await quick.next()).data).toContain(`"version":${version}`);
  }
  // The first change has not reached all of the others by then.
  expect(slow.filter((reader) => reader.body().includes('event: patch')).length).toBeLessThan(30);
  for (const reader of slow) await until('the last change', () => reader.body().includes('"version":4'));
});
