/** Who sends most makes room for the others: of a queue's places, of memory, and of what suspects get together. */
import fc from 'fast-check';
import { createBudget, createShare } from '../../../relay-task/common/budget.ts';
import { createQueue, type Queue } from '../../../relay-task/events/queue.ts';
import { createRanking } from '../../../relay-task/events/ranking.ts';
import { createSenderMemory } from '../../../relay-task/events/sender-memory.ts';
import { createSuspects, type Suspects } from '../../../relay-task/events/suspects.ts';
import { eventually, turnsOfLoop } from '../../support/eventually.ts';
import { custom, type Event, FROM, NEVER_MS, send, startEnvironment, startLaunchDarkly } from './support.ts';

/** One payload holds back all others, but of suspects four may be sent at the same time. */
const HANGING = ['hanging', 'suspect 0', 'suspect 1', 'suspect 2', 'suspect 3'];

/** Queues of one credential whose payloads are sent when `all` is called; everything after the hanging ones waits. */
function waitingQueues(
  count: number,
  {
    capacity = 1_000,
    maxBytes = 1_000_000,
    suspected = [] as readonly string[],
    doubted = [] as readonly string[],
    hanging = HANGING,
  },
) {
  const budget = createBudget(maxBytes);
  const suspects = createSuspects(NEVER_MS);
  for (const name of [...suspected, ...hanging.filter((one) => one.startsWith('suspect'))])
    suspects.judge(name, 'rejected');
  for (const name of [...doubted, ...hanging.filter((one) => one.startsWith('doubted'))]) {
    suspects.accept(name);
    suspects.add(name);
  }
  const queues: Queue[] = [];
  const memory = createSenderMemory({
    budget,
    drop(sender, bytes) {
      const [newest] = [...queues].sort((a, b) => b.newestOf(sender) - a.newestOf(sender));
      return newest?.drop(sender, bytes) ?? 0;
    },
  });
  const delivered: Event[] = [];
  const lost = { capacity: 0, memory: 0 };
  let deliver = () => {};
  const over = new Promise<void>((resolve) => {
    deliver = resolve;
  });
  for (let index = 0; index < count; index += 1) {
    const queue = createQueue({
      capacity,
      maxPayloadBytes: Infinity,
      memory,
      suspects,
      async deliver(json) {
        await over;
        delivered.push(...(JSON.parse(json.toString()) as Event[]));
        return 'delivered';
      },
      forwarded() {},
      dropped: (reason, events) => {
        lost[reason as 'capacity' | 'memory'] += events;
      },
      landed() {
        for (const other of queues) other.proceed();
      },
    });
    queues.push(queue);
    for (const name of hanging) {
      queue.add([JSON.stringify({ of: name })], name);
      queue.flush();
    }
  }
  return {
    budget,
    lost,
    queues,
    first: queues[0] as Queue,
    /** What was delivered once everything was, by sender. */
    async all(): Promise<Map<string, Event[]>> {
      deliver();
      while (queues.some(({ idle }) => !idle)) {
        for (const queue of queues) queue.flush();
        await Promise.all(queues.map((queue) => queue.drained()));
      }
      expect(budget.usedBytes).toBe(0);
      const of = new Map<string, Event[]>();
      for (const event of delivered) of.set(String(event.of), [...(of.get(String(event.of)) ?? []), event]);
      for (const name of hanging) of.delete(name);
      return of;
    },
  };
}

const eventsOf = (sender: string, count: number, more: object = {}) =>
  Array.from({ length: count }, (_, id) => JSON.stringify({ of: sender, id, ...more }));
const counts = (of: ReadonlyMap<string, Event[]>) => new Map(Array.from(of, ([name, events]) => [name, events.length]));

test('a flood from 40 addresses costs no event of the others @heavy', async () => {
  const launchDarkly = await startLaunchDarkly(() => 503);
  const timings = { firstRetryMs: 100, longestRetryMs: 200 };
  const { intake, measured } = startEnvironment(launchDarkly.uri, { timings });
  const sent: Promise<void>[] = [];
  const flood = () => {
    for (let id = 0; id < 40; id += 1) {
      const events = Array.from({ length: 100 }, () => ({ kind: 'x', of: 'flood' }));
      sent.push(send(intake, events, { address: `203.0.113.${id}` }));
    }
  };
  flood();
  await eventually(() => expect(launchDarkly.requests.length).toBeGreaterThan(0));
  const good: Event[] = [];
  for (let id = 0; id < 20; id += 1) {
    if (id % 5 === 0) flood();
    const own = Array.from({ length: 10 }, (_, event) => custom(`${id}.${event}`));
    await send(intake, own, { address: `198.51.100.${id}` });
    good.push(...own);
  }
  flood();
  await Promise.all(sent);
  expect(await measured('events_dropped_total', { reason: 'capacity' })).toBeGreaterThan(15_000);
  launchDarkly.mood.react = () => 202;
  await eventually(async () => expect(await measured('events_queue_bytes')).toBe(0));
  expect(launchDarkly.taken().filter(({ of }) => of !== 'flood')).toEqual(good);
  expect(await measured('events_received_total')).toBe(
    (await measured('events_dropped_total')) + (await measured('events_forwarded_total')),
  );
});

test('one address alone may take all places of a queue, and loses its newest events to others until all have equally many', async () => {
  const { first, lost, all } = waitingQueues(1, { capacity: 40 });
  first.add(eventsOf('flood', 50), 'flood');
  expect(lost).toEqual({ capacity: 10, memory: 0 });
  first.add(eventsOf('a', 3), 'a');
  first.add(eventsOf('b', 30), 'b');
  first.add(eventsOf('flood', 5), 'flood');
  expect(lost).toEqual({ capacity: 48, memory: 0 });
  const of = await all();
  expect(counts(of)).toEqual(new Map(Object.entries({ flood: 19, a: 3, b: 18 })));
  for (const events of of.values()) expect(events.map(({ id }) => id)).toEqual([...events.keys()]);
});

test('events in batches of several bodies are lost from the newest on', async () => {
  const { first, all } = waitingQueues(1, { capacity: 12 });
  for (let body = 0; body < 4; body += 1) first.add(eventsOf('flood', 3, { body }), 'flood');
  first.add(eventsOf('a', 4), 'a');
  const of = await all();
  expect(of.get('flood')?.map(({ body, id }) => `${body}.${id}`)).toEqual([
    ...['0.0', '0.1', '0.2', '1.0', '1.1', '1.2', '2.0', '2.1'],
  ]);
});

test('large events make room for those of others with the same key, also in the queues of other kinds of SDK', async () => {
  const { queues, budget, lost, all } = waitingQueues(3, { maxBytes: 100_000 });
  const [one, two, three] = queues as [Queue, Queue, Queue];
  for (let round = 0; round < 200; round += 1) {
    (round % 2 === 0 ? one : two).add(eventsOf('flood', 1, { round, data: 'x'.repeat(1_000) }), 'flood');
  }
  expect(lost.memory).toBeGreaterThan(100);
  expect(budget.freeBytes).toBeLessThan(1_300);
  for (let id = 0; id < 10; id += 1) three.add(eventsOf(`good ${id}`, 4, { data: 'x'.repeat(1_000) }), `good ${id}`);
  expect(budget.usedBytes).toBeLessThanOrEqual(budget.maxBytes);
  const of = await all();
  expect(counts(of)).toEqual(
    new Map([['flood', expect.any(Number)], ...Array.from({ length: 10 }, (_, id) => [`good ${id}`, 4] as const)]),
  );
  const rounds = (of.get('flood') ?? []).map(({ round }) => Number(round)).sort((a, b) => a - b);
  expect(rounds).toEqual([...rounds.keys()]);
});

test('when a credential holds more than its share of the memory, newcomers replace events of those who hold most', async () => {
  const whole = createBudget(100_000);
  const budget = createShare(whole);
  const kept: string[] = [];
  const memory = createSenderMemory({
    budget,
    drop({ name }) {
      kept.push(name);
      memory.waiting.change({ name, isSuspect: false }, -1_000);
      memory.release(1_000);
      return 1_000;
    },
  });
  const hold = (name: string, bytes: number) => {
    const sender = { name, isSuspect: false };
    const isHeld = memory.reserve(sender, bytes);
    if (isHeld) memory.waiting.change(sender, bytes);
    return isHeld;
  };
  expect(hold('flood', 50_000)).toBe(true);
  // By other credentials.
  whole.hold(45_000);
  expect(hold('a', 1_500)).toBe(true);
  expect([kept, budget.usedBytes, whole.usedBytes]).toEqual([['flood', 'flood'], 49_500, 94_500]);
  expect(hold('b', 48_000)).toBe(false);
  expect(hold('flood', 1)).toBe(false);
  expect(kept).toHaveLength(2);
});

test('while what is sent hangs, there is memory for the newest events of others', async () => {
  const { queues, budget, all } = waitingQueues(10, { maxBytes: 100_000, hanging: [] });
  for (let round = 0; round < 2; round += 1) {
    for (const queue of queues) {
      queue.add(eventsOf('flood', 20, { data: 'x'.repeat(1_000) }), 'flood');
      queue.flush();
    }
  }
  expect(budget.freeBytes).toBeLessThan(1_300);
  const [first, ...others] = queues as [Queue, ...Queue[]];
  for (let id = 0; id < 8; id += 1) others[id]?.add(eventsOf(`${id}`, 3, { data: 'x'.repeat(1_000) }), `${id}`);
  first.flush();
  const of = counts(await all());
  of.delete('flood');
  expect(of).toEqual(new Map(Array.from({ length: 8 }, (_, id) => [`${id}`, 3])));
});

test('while payloads of a few queues hang and take all the memory that may be sent, each of the others sends', async () => {
  const budget = createBudget(100_000);
  const queues: Queue[] = [];
  const memory = createSenderMemory({
    budget,
    drop: (sender, bytes) => queues.find((queue) => queue.newestOf(sender) >= 0)?.drop(sender, bytes) ?? 0,
  });
  const delivered: Event[] = [];
  const hung: (() => void)[] = [];
  const create = (hangs: boolean) => {
    const queue = createQueue({
      capacity: 1_000,
      maxPayloadBytes: Infinity,
      memory,
      suspects: createSuspects(NEVER_MS),
      async deliver(json, { progress }) {
        if (hangs) {
          progress?.('slow');
          await new Promise<void>((resolve) => hung.push(resolve));
        } else delivered.push(...(JSON.parse(json.toString()) as Event[]));
        return 'delivered';
      },
      forwarded() {},
      dropped() {},
      landed() {
        for (const other of queues) other.proceed();
      },
    });
    queues.push(queue);
    return queue;
  };
  for (let id = 0; id < 3; id += 1) {
    const queue = create(true);
    for (let body = 0; body < 8; body += 1) {
      queue.add(eventsOf(`hung ${id}`, 1, { data: 'x'.repeat(10_000) }), `hung ${id}`);
      queue.flush();
    }
  }
  expect(hung.length).toBeGreaterThan(1);
  const others = Array.from({ length: 8 }, () => create(false));
  for (const [id, queue] of others.entries()) {
    queue.add(eventsOf('good', 1, { queue: id, data: 'x'.repeat(100) }), 'good');
    queue.flush();
  }
  await turnsOfLoop();
  expect(delivered.map(({ queue }) => queue)).toEqual([...others.keys()]);
  while (queues.some(({ idle }) => !idle)) {
    for (const resolve of hung.splice(0)) resolve();
    for (const queue of queues) queue.flush();
    await turnsOfLoop();
  }
  expect(budget.usedBytes).toBe(0);
});

test('senders whose events were rejected get the share of one sender together', async () => {
  const suspected = ['bad 0', 'bad 1', 'bad 2'];
  const { first, all } = waitingQueues(1, { capacity: 30, suspected });
  for (const name of suspected) first.add(eventsOf(name, 20), name);
  for (const name of ['a', 'b']) first.add(eventsOf(name, 20), name);
  for (const name of suspected) first.add(eventsOf(name, 20), name);
  const of = counts(await all());
  expect([of.get('a'), of.get('b')]).toEqual([10, 10]);
  expect(suspected.map((name) => of.get(name)).sort()).toEqual([3, 3, 4]);
});

test('a sender with accepted events, of which others were rejected only together with those of others, has a full share', async () => {
  const bad = Array.from({ length: 40 }, (_, id) => `bad ${id}`);
  const [doubted, usual] = [
    ['a', 'b'],
    ['c', 'd'],
  ] as const;
  const hanging = [...HANGING, ...Array.from({ length: 4 }, (_, id) => `doubted ${id}`)];
  const { first, all } = waitingQueues(1, { capacity: 60, suspected: bad, doubted, hanging });
  for (const name of bad) first.add(eventsOf(name, 10), name);
  for (const name of [...doubted, ...usual]) first.add(eventsOf(name, 10), name);
  for (const name of bad) first.add(eventsOf(name, 10), name);
  const of = counts(await all());
  expect([...doubted, ...usual].map((name) => of.get(name))).toEqual([10, 10, 10, 10]);
});

/** A queue whose requests are answered when the test says so; LaunchDarkly rejects what has a bad event. */
function answeredQueue(capacity: number) {
  const budget = createBudget(Infinity);
  const pending: (() => void)[] = [];
  const delivered: string[] = [];
  let requests = 0;
  const suspects = createSuspects(NEVER_MS);
  const queue = createQueue({
    capacity,
    maxPayloadBytes: Infinity,
    memory: createSenderMemory({ budget, drop: () => 0 }),
    suspects,
    async deliver(json) {
      requests += 1;
      await new Promise<void>((resolve) => pending.push(resolve));
      const senders = (JSON.parse(json.toString()) as Event[]).map(({ of }) => String(of));
      if (senders.some((name) => name.startsWith('bad'))) return 'rejected';
      delivered.push(...senders);
      return 'delivered';
    },
    forwarded() {},
    dropped() {},
    landed: () => queue.proceed(),
  });
  return {
    queue,
    suspects,
    delivered,
    requests: () => requests,
    /** Answers so many requests, the oldest first, or all there will be. */
    async answer(count = Infinity) {
      for (let answered = 0; answered < count; answered += 1) {
        if (pending.length === 0) await turnsOfLoop();
        const next = pending.shift();
        if (!next) return;
        next();
        await turnsOfLoop();
      }
    },
  };
}

test.each([
  [25, 'the same', 0],
  [60, 'the same', 0],
  [150, 'the same', 0],
  [150, 'new', 150],
])(
  'bad events of %d addresses, %s ones each time, cost the good ones nothing @heavy',
  async (addresses, _, newOnes) => {
    const { queue, delivered, answer } = answeredQueue(1_000);
    const good = Array.from({ length: 20 }, (_, id) => `good ${id}`);
    const rounds = 30;
    for (let round = 0; round < rounds; round += 1) {
      for (let id = 0; id < addresses; id += 1) {
        const name = `bad ${id + round * newOnes}`;
        queue.add(eventsOf(name, 1), name);
      }
      for (const name of good) queue.add(eventsOf(name, 1), name);
      queue.flush();
      await answer(40);
    }
    while (!queue.idle) {
      queue.flush();
      await answer();
    }
    expect(delivered).toHaveLength(rounds * good.length);
  },
);

test('a suspect with many bad events does not keep the others from having their turns @heavy', async () => {
  const { queue, suspects, delivered, requests, answer } = answeredQueue(1_000);
  const bad = ['bad 0', 'bad 1', 'bad 2', 'bad 3'];
  for (const name of [...bad, 'reformed']) suspects.judge(name, 'rejected');
  for (let body = 0; body < 100; body += 1) for (const name of bad) queue.add(eventsOf(name, 1), name);
  queue.add(eventsOf('reformed', 1), 'reformed');
  queue.flush();
  while (delivered.length === 0) await answer(1);
  expect(requests()).toBeLessThan(120);
  await answer();
  expect(queue.idle).toBe(true);
});

test.each([
  ['doubted', (suspects: Suspects) => [suspects.accept('a'), suspects.add('a')]],
  ['confirmed', (suspects: Suspects) => [suspects.judge('a', 'rejected')]],
])('the payloads of a %s suspect are sent one after the other', async (_, suspect) => {
  const { queue, suspects, requests, answer } = answeredQueue(1_000);
  suspect(suspects);
  for (let body = 0; body < 2; body += 1) {
    queue.add(eventsOf('a', 1), 'a');
    queue.flush();
  }
  expect(requests()).toBe(1);
  await answer(1);
  queue.flush();
  expect(requests()).toBe(2);
  await answer();
  expect(queue.idle).toBe(true);
});

test('a sender of many diagnostic events leaves places for the others with its key @heavy', async () => {
  const launchDarkly = await startLaunchDarkly(() => 503);
  const { intake, measured } = startEnvironment(launchDarkly.uri);
  const diagnose = (address: string, id: string) =>
    intake.diagnostic({
      ...FROM,
      address,
      kind: 'sdkKey',
      credential: '',
      headers: {},
      body: Buffer.from(JSON.stringify({ id })),
    });
  for (let round = 0; round < 200; round += 1) diagnose(`203.0.113.${round % 40}`, 'flood');
  for (let id = 0; id < 30; id += 1) diagnose(`198.51.100.${id}`, `good ${id}`);
  expect(await measured('events_dropped_total', { reason: 'capacity' })).toBe(200 + 30 - 100 - 4);
  launchDarkly.mood.react = () => 202;
  await eventually(async () => expect(await measured('events_queue_bytes')).toBe(0));
  const good = launchDarkly.taken().filter(({ id }) => id !== 'flood');
  // Four are under way at the same time.
  expect(good.map(({ id }) => id).sort()).toEqual(Array.from({ length: 30 }, (_, id) => `good ${id}`).sort());
});

describe('a sender that lost events holds as much as any other', () => {
  const sender = fc.nat({ max: 7 });
  const body = fc.record({ sender, queue: fc.nat({ max: 1 }), events: fc.integer({ min: 1, max: 30 }) });
  const name = (id: number) => (id < 3 ? `bad ${id}` : `any ${id}`);
  const suspected = [0, 1, 2].map(name);

  /** Of one level: each has all that it sent, or not less than anyone, but for one event. */
  function expectFair(sent: ReadonlyMap<string, number>, kept: ReadonlyMap<string, number>) {
    const most = Math.max(...Array.from(sent.keys(), (key) => kept.get(key) ?? 0));
    for (const [key, events] of sent) {
      const has = kept.get(key) ?? 0;
      if (has < events) expect([key, has >= most - 1]).toEqual([key, true]);
    }
  }
  const isSuspect = (key: string) => suspected.includes(key);
  const grouped = (of: ReadonlyMap<string, number>) => {
    const groups = new Map<string, number>();
    for (const [key, events] of of) {
      const group = isSuspect(key) ? 'suspects' : key;
      groups.set(group, (groups.get(group) ?? 0) + events);
    }
    return groups;
  };

  test.each([
    ['places', { maxBytes: Infinity }],
    ['memory', { maxBytes: 20_000 }],
  ])('%s @heavy', async (what, { maxBytes }) => {
    await fc.assert(
      fc.asyncProperty(fc.array(body, { maxLength: 60 }), fc.integer({ min: 1, max: 60 }), async (bodies, places) => {
        const capacity = what === 'places' ? places : Infinity;
        const { queues, lost, budget, all } = waitingQueues(what === 'places' ? 1 : 2, {
          capacity,
          maxBytes,
          suspected,
        });
        const sent = new Map<string, number>();
        for (const { sender, queue, events } of bodies) {
          // Of memory, in batches of one event, which all have the same size.
          const rounds = what === 'places' ? 1 : events;
          for (let round = 0; round < rounds; round += 1) {
            const own = eventsOf(name(sender), what === 'places' ? events : 1, { data: 'x'.repeat(100) });
            (queues[queue] ?? (queues[0] as Queue)).add(own, name(sender));
          }
          sent.set(name(sender), (sent.get(name(sender)) ?? 0) + events);
          expect(budget.usedBytes).toBeLessThanOrEqual(maxBytes);
        }
        const kept = counts(await all());
        const sum = (of: ReadonlyMap<string, number>) => [...of.values()].reduce((total, events) => total + events, 0);
        expect(sum(kept) + lost.capacity + lost.memory).toBe(sum(sent));
        if (what === 'places') expect(sum(kept)).toBe(Math.min(places, sum(sent)));
        expectFair(grouped(sent), grouped(kept));
        const bad = (of: ReadonlyMap<string, number>) => new Map([...of].filter(([key]) => isSuspect(key)));
        expectFair(bad(sent), bad(kept));
      }),
      { numRuns: process.env.LONG ? 2_000 : 60 },
    );
  });
});

test('a ranking of many knows who holds most @heavy', () => {
  const change = fc.tuple(fc.nat({ max: 20 }), fc.integer({ min: -10, max: 10 }));
  fc.assert(
    fc.property(fc.array(change, { maxLength: 200 }), (changes) => {
      const held = new Map<string, number>();
      const ranking = createRanking();
      for (const [id, amount] of changes) {
        const more = Math.max(amount, -(held.get(`${id}`) ?? 0));
        held.set(`${id}`, (held.get(`${id}`) ?? 0) + more);
        ranking.change(`${id}`, more);
        const sorted = [...held.values()].sort((a, b) => b - a);
        const heaviest = ranking.heaviest();
        expect([heaviest?.held ?? 0, heaviest?.next ?? 0]).toEqual([sorted[0] ?? 0, sorted[1] ?? 0]);
        if (heaviest) expect(held.get(heaviest.name)).toBe(heaviest.held);
      }
    }),
  );
});

/** Suspects that count how often someone's suspicion is asked for. */
function countedSuspects() {
  const suspects = createSuspects(NEVER_MS);
  const counted = { ...suspects, asked: 0, of: suspects.of };
  counted.of = (sender) => {
    counted.asked += 1;
    return suspects.of(sender);
  };
  return counted;
}

/** A queue that is full, of which `bad` senders are suspects, and whose payloads hang. */
function fullQueue(suspects: Suspects, capacity: number) {
  const queue = createQueue({
    ...{ capacity, maxPayloadBytes: 1_000_000, suspects, forwarded() {}, dropped() {} },
    memory: createSenderMemory({ budget: createBudget(Infinity), drop: () => 0 }),
    deliver: () => new Promise(() => {}),
  });
  for (let id = 0; id < 900; id += 1) suspects.judge(`bad ${id}`, 'rejected');
  for (let id = 0; id < capacity; id += 1) {
    const name = id % 2 === 0 ? `good ${id}` : `bad ${id % 900}`;
    queue.add(eventsOf(name, 1), name);
  }
  return queue;
}

test('while there are suspects, a body for a full queue causes no look at everything that waits', () => {
  const suspects = countedSuspects();
  const queue = fullQueue(suspects, 2_000);
  suspects.asked = 0;
  for (let id = 0; id < 50; id += 1) queue.add(eventsOf(`new ${id}`, 1), `new ${id}`);
  expect(suspects.asked).toBeLessThan(50 * 10);
});

test('a new suspect causes only a look at that sender', () => {
  const suspects = countedSuspects();
  const queue = fullQueue(suspects, 2_000);
  suspects.asked = 0;
  for (let id = 0; id < 50; id += 1) {
    suspects.judge(`good ${2 * id}`, 'rejected');
    queue.add(eventsOf(`new ${id}`, 1), `new ${id}`);
  }
  expect(suspects.asked).toBeLessThan(50 * 10);
});
