import { createAdmission } from '../../../relay-task/streams/admission.ts';

interface Candidate {
  readonly name: string;
  readonly lanes: readonly string[];
}

const of = (name: string, ...lanes: string[]): Candidate => ({ name, lanes });

function start({ maxInFlight = 8, maxWaiting = 8 }) {
  const admitted: string[] = [];
  const state = { hasRoom: true };
  const admission = createAdmission<Candidate>({
    maxInFlight,
    maxWaiting,
    lanesOf: ({ lanes }) => lanes,
    hasRoom: () => state.hasRoom,
    admit(candidate) {
      admitted.push(candidate.name);
      admission.enter(candidate);
    },
  });
  /** Takes a place as long as there is one at once. */
  const enter = (candidate: Candidate) => {
    const answer = admission.ask(candidate);
    if (answer === 'now') admission.enter(candidate);
    return answer;
  };
  return { admission, admitted, state, enter };
}

test('a flood on one lane leaves places to the others', () => {
  const { enter } = start({ maxInFlight: 8, maxWaiting: 100 });
  const flood = Array.from({ length: 20 }, (_, index) => enter(of(`f${index}`, 'environment a', 'address 1')));
  expect(flood.filter((answer) => answer === 'now')).toHaveLength(3);
  expect(enter(of('b', 'environment b', 'address 2'))).toBe('now');
  // Of the same environment, from another address; and of another environment, from the same address.
  expect(enter(of('c', 'environment a', 'address 3'))).toBe('now');
  expect(enter(of('d', 'environment d', 'address 1'))).toBe('later');
});

test('many floods together leave a place to one more lane', () => {
  const { enter } = start({ maxInFlight: 256, maxWaiting: 10_000 });
  for (let lane = 0; lane < 6; lane++) for (let i = 0; i < 500; i++) enter(of('f', `environment ${lane}`));
  expect(enter(of('new', 'environment new'))).toBe('now');
});

test('places in the queue are shared in the same way', () => {
  const { admission, enter } = start({ maxInFlight: 1, maxWaiting: 8 });
  enter(of('first', 'a'));
  const flood = Array.from({ length: 20 }, () => enter(of('f', 'a')));
  expect(flood.filter((answer) => answer === 'later')).toHaveLength(7);
  expect(flood.at(-1)).toBe('no');
  expect(enter(of('b', 'b'))).toBe('later');
  expect(admission.waiting).toBe(8);
});

test('lanes that wait take turns, and within a lane the first comes first', () => {
  const { admission, admitted, enter } = start({ maxInFlight: 1, maxWaiting: 100 });
  const first = of('first', 'z');
  enter(first);
  const waiting = [of('a1', 'a'), of('a2', 'a'), of('a3', 'a'), of('b1', 'b'), of('c1', 'c'), of('b2', 'b')];
  for (const candidate of waiting) enter(candidate);
  let leaving = first;
  for (let i = 0; i < waiting.length; i++) {
    admission.leave(leaving);
    leaving = waiting.find(({ name }) => name === admitted.at(-1))!;
  }
  expect(admitted).toEqual(['a1', 'b1', 'c1', 'a2', 'b2', 'a3']);
});

test('no stream starts without room, and all start in turn once there is some', () => {
  const { admission, admitted, state, enter } = start({});
  state.hasRoom = false;
  expect(enter(of('a', 'a'))).toBe('later');
  admission.proceed();
  expect(admitted).toEqual([]);
  state.hasRoom = true;
  admission.proceed();
  expect(admitted).toEqual(['a']);
});

test('those that gave up or were withdrawn hold no places in the queue', () => {
  const { admission, admitted, enter } = start({ maxInFlight: 1, maxWaiting: 2 });
  const first = of('first', 'z');
  const [a, b] = [of('a', 'a'), of('b', 'b')];
  for (const candidate of [first, a, b]) enter(candidate);
  expect(enter(of('c', 'c'))).toBe('no');
  admission.forget(a);
  admission.forget(of('never', 'a'));
  expect(admission.withdraw(({ name }) => name === 'b')).toEqual([b]);
  expect(admission.waiting).toBe(0);
  admission.leave(first);
  expect(admitted).toEqual([]);
  expect(enter(of('d', 'd'))).toBe('now');
});

test('after any sequence of asking, leaving and giving up, all that is left gets its turn @heavy', () => {
  let seed = 7;
  const random = (below: number) => {
    seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
    return seed % below;
  };
  const { admission, admitted, enter } = start({ maxInFlight: 6, maxWaiting: 40 });
  const inside = new Map<string, Candidate>();
  const waiting = new Map<string, Candidate>();
  const settle = () => {
    for (const name of admitted.splice(0)) {
      inside.set(name, waiting.get(name)!);
      waiting.delete(name);
    }
  };
  const anyOf = (candidates: Map<string, Candidate>) => [...candidates.values()][random(candidates.size)]!;
  for (let i = 0; i < 20_000; i++) {
    const what = random(3);
    if (what === 0) {
      const candidate = of(`n${i}`, `environment ${random(3)}`, `address ${random(5)}`);
      const answer = enter(candidate);
      if (answer === 'now') inside.set(candidate.name, candidate);
      if (answer === 'later') waiting.set(candidate.name, candidate);
    } else if (what === 1 && inside.size > 0) {
      const leaving = anyOf(inside);
      inside.delete(leaving.name);
      admission.leave(leaving);
    } else if (what === 2 && waiting.size > 0) {
      const impatient = anyOf(waiting);
      waiting.delete(impatient.name);
      admission.forget(impatient);
    }
    settle();
    expect(inside.size).toBeLessThanOrEqual(6);
    expect(admission.waiting).toBe(waiting.size);
  }
  while (inside.size > 0) {
    const [leaving] = inside.values();
    inside.delete(leaving!.name);
    admission.leave(leaving!);
    settle();
  }
  expect(waiting.size).toBe(0);
});
