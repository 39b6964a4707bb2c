import type { Socket } from 'node:net';
import { type Channel, Connection, Subject } from '../../../relay-task/streams/connection.ts';
import { createPasses, type Passes, type PassesOptions } from '../../../relay-task/streams/passes.ts';
import type { Work } from '../../../relay-task/streams/rounds.ts';
import { turnsOfLoop, until } from '../../support/eventually.ts';
import { flag } from '../../support/items.ts';
import { RandomChoices, randomFrom } from '../../support/random.ts';

const wanted = { audience: 'environmentId', withReasons: false } as const;

function subjectOf(name: string, address: string): Subject {
  const context = { id: name, bytes: 0, read: () => ({ kinds: ['user'] }) };
  const opening = {
    kind: 'eval',
    context,
    withReasons: false,
    credential: 'k',
    credentialKind: 'environmentId',
  } as const;
  const common = { family: 'x', address, httpVersion: '1.1' };
  const subject = new Subject(name, context, wanted);
  const channel = { environment: 'e' } as Channel;
  subject.connections.push(new Connection({} as Socket, channel, 'k', { ...opening, ...common }, 0));
  return subject;
}

/** Every change affects the flags that it is about. */
function start(visit: PassesOptions['visit'], more: Partial<PassesOptions> = {}): Passes {
  return createPasses({
    affected: (items) => ({ flagKeys: items.map(({ key }) => key), bigSegments: false }),
    ready: () => undefined,
    prepare: () => undefined,
    visit,
    failed: (_subjects, error) => {
      throw error;
    },
    paused: () => {},
    finished: () => {},
    settled: () => {},
    ...more,
  });
}

let generation = 0;
function change(passes: Passes, ...keys: string[]): void {
  generation++;
  passes.publish({
    generation,
    kind: 'patch',
    items: keys.map((key) => flag(key, generation)),
    receivedAt: performance.now(),
  });
}

function join(passes: Passes, address: string, names: readonly string[]): Subject[] {
  return names.map((name) => {
    const subject = subjectOf(name, address);
    passes.join(subject, address);
    return subject;
  });
}

const named = (letter: string, count: number) => Array.from({ length: count }, (_, index) => `${letter}${index + 1}`);

test('addresses take turns', async () => {
  const visited: string[] = [];
  const passes = start(function* ({ id }) {
    visited.push(id);
    yield;
  });
  join(passes, '10.0.0.1', named('a', 4));
  join(passes, '10.0.0.2', ['b1']);
  join(passes, '10.0.0.3', ['c1']);
  change(passes, 'f');
  await until('all are visited', () => passes.idle);
  expect(visited.map((name) => name[0]).join('')).toMatch(/^(abc|acb|bac|bca|cab|cba)aaa$/);
  expect([...visited].sort()).toEqual(['a1', 'a2', 'a3', 'a4', 'b1', 'c1']);
});

test('a change does not wait until the many subjects of another address were visited after the one before', async () => {
  const visits: { readonly id: string; readonly flagKeys: readonly string[] }[] = [];
  const passes = start(function* ({ id }, { flagKeys }) {
    visits.push({ id, flagKeys });
    // In the middle, when the other address has had its turn.
    if (visits.length === 20) change(passes, 'g');
    // So long that no machine visits all within a slice or two.
    for (const end = performance.now() + 0.5; performance.now() < end; ) yield;
  });
  join(passes, '10.0.0.1', named('a', 100));
  join(passes, '10.0.0.2', ['b1']);
  change(passes, 'f');
  await until('all are visited', () => passes.idle);
  const ofB = visits.map(({ id }) => id).lastIndexOf('b1');
  expect(visits[ofB]).toEqual({ id: 'b1', flagKeys: ['g'] });
  // A slice or two were filled before the change was looked at.
  expect(visits.slice(20, ofB).filter(({ flagKeys }) => flagKeys.includes('g')).length).toBeLessThanOrEqual(1);
  // Those that had not been visited yet are visited once for both.
  const keysOf = (name: string) => visits.filter(({ id }) => id === name).map(({ flagKeys }) => flagKeys.join());
  const all = named('a', 100).map((name) => keysOf(name).join(' '));
  expect([...new Set(all)].sort()).toEqual(['f g', 'f,g']);
});

test('a long visit leaves the others their turns', async () => {
  const events: string[] = [];
  let isBOver = false;
  const passes = start(function* ({ id }) {
    while (id === 'a1' && !isBOver) yield;
    events.push(id);
    isBOver ||= id === 'b1';
  });
  join(passes, '10.0.0.1', ['a2', 'a1']);
  join(passes, '10.0.0.2', ['b1']);
  change(passes, 'f');
  await until('all are visited', () => passes.idle);
  expect(events).toEqual(['b1', 'a1', 'a2']);
});

test('a subject without readers is not visited any further', async () => {
  let steps = 0;
  let isClosed = false;
  const passes = start(function* () {
    try {
      for (; ; steps++) yield;
    } finally {
      isClosed = true;
    }
  });
  const [subject] = join(passes, '10.0.0.1', ['a1']);
  change(passes, 'f');
  await until('it is visited', () => steps > 0);
  subject!.connections.length = 0;
  passes.leave(subject!);
  await until('the visit is closed', () => isClosed);
  expect(passes.idle).toBe(true);
});

test('what changed is forgotten while one address is never through', async () => {
  const settled: string[] = [];
  let changes = 0;
  let most = 0;
  const passes = start(
    function* () {
      most = Math.max(most, changes - settled.length);
      // Always one more before all were visited.
      if (changes < 500) change(passes, `f${++changes}`);
      yield;
    },
    { settled: (flagKeys) => settled.push(...flagKeys) },
  );
  join(passes, '10.0.0.1', named('a', 10));
  join(passes, '10.0.0.2', ['b1']);
  change(passes, 'f0');
  await until('all are visited', () => passes.idle && changes === 500);
  expect(settled).toHaveLength(501);
  // A walk over the longest lane and what was left of the one before.
  expect(most).toBeLessThan(50);
});

const seed = process.env.SEED ?? 'passes';
const ROUNDS = process.env.LONG ? 500 : 20;

test(`every subject is visited after the last change of each flag, whoever comes and leaves meanwhile (seed ${JSON.stringify(seed)}) @heavy`, async () => {
  for (let round = 0; round < ROUNDS; round++) {
    const choices = new Choices(randomFrom(`${seed} ${round}`));
    /** By subject, the flags' last changes that it has to be visited for, and was. */
    const due = new Map<Subject, Map<string, number>>();
    const now = new Map<string, number>();
    const settledFor = new Map<string, number>();
    let inProgress = 0;
    let most = 0;
    const passes = start(
      function* (subject, { flagKeys }: Work) {
        most = Math.max(most, ++inProgress);
        try {
          for (const key of flagKeys) {
            // What it sees is what counts at the moment.
            due.get(subject)?.set(key, now.get(key) ?? 0);
            for (let steps = choices.upTo(20); steps > 0; steps--) yield;
          }
        } finally {
          inProgress--;
        }
      },
      {
        ready: () => (choices.share(0.2) ? turnsOfLoop(1) : undefined),
        prepare: () => (choices.share(0.3) ? turnsOfLoop(choices.upTo(4)) : undefined),
        settled(flagKeys) {
          for (const key of flagKeys) {
            settledFor.set(key, now.get(key) ?? 0);
            if (passes.concerns(key)) continue;
            for (const seen of due.values()) expect(seen.get(key)).toBe(now.get(key));
          }
        },
      },
    );
    // One stays, since without any nobody asks what a change affects.
    for (const subject of join(passes, '10.0.0.0', ['stays'])) due.set(subject, new Map());
    const subjects: Subject[] = [];
    for (let step = 0; step < 60; step++) {
      const dice = choices.upTo(10);
      const gone = subjects[choices.upTo(Math.max(0, subjects.length - 1))];
      if (dice < 5) {
        const address = `10.0.0.${choices.upTo(4)}`;
        const [subject] = join(passes, address, [`s${step}`]);
        subjects.push(subject!);
        due.set(subject!, new Map(now));
      } else if (dice < 7 && gone) {
        subjects.splice(subjects.indexOf(gone), 1);
        due.delete(gone);
        gone.connections.length = 0;
        passes.leave(gone);
      } else {
        const key = `f${choices.upTo(3)}`;
        now.set(key, step + 1);
        change(passes, key);
      }
      if (choices.share(0.5)) await turnsOfLoop(choices.upTo(3));
    }
    await until(`round ${round}: all are visited`, () => passes.idle);
    expect(inProgress).toBe(0);
    expect(most).toBeLessThanOrEqual(4);
    for (const seen of due.values()) expect(seen).toEqual(now);
    expect(settledFor).toEqual(now);
    for (const key of now.keys()) expect(passes.concerns(key)).toBe(false);
  }
});

class Choices extends RandomChoices {
  readonly upTo = (most: number) => this.whole(0, most);
  readonly share = (share: number) => this.chance(share);
}
