import fc from 'fast-check';
import { createSuspects } from '../../../relay-task/events/suspects.ts';

const MINUTE_MS = 60_000;

test('a suspicion lasts for its time since the last rejection', () => {
  let now = 0;
  const suspects = createSuspects(MINUTE_MS, () => now);
  suspects.judge('a', 'rejected');
  now += MINUTE_MS - 1;
  suspects.judge('a', 'rejected');
  suspects.judge('a', 'delivered');
  now += MINUTE_MS - 1;
  expect([suspects.of('a'), suspects.of('b')]).toEqual(['confirmed', undefined]);
  now += 1;
  expect(suspects.of('a')).toBeUndefined();
});

test("a sender whose events were only rejected together with others' is cleared by the first payload that is accepted", () => {
  const suspects = createSuspects(MINUTE_MS);
  for (const sender of ['a', 'b']) suspects.add(sender);
  suspects.judge('b', 'rejected');
  expect([suspects.of('a'), suspects.of('b')]).toEqual(['unknown', 'confirmed']);
  for (const sender of ['a', 'b']) suspects.judge(sender, 'delivered');
  expect([suspects.of('a'), suspects.of('b')]).toEqual([undefined, 'confirmed']);
});

test('a sender with accepted events is only doubted until some of its own are rejected; among the others, an unconfirmed one comes first', () => {
  const suspects = createSuspects(MINUTE_MS);
  suspects.judge('bad', 'rejected');
  suspects.accept('good');
  for (const sender of ['good', 'new']) suspects.add(sender);
  expect(['good', 'new', 'bad'].map(suspects.of)).toEqual(['doubted', 'unknown', 'confirmed']);
  expect(suspects.next(['bad', 'new'])).toBe('new');
  suspects.judge('good', 'rejected');
  suspects.accept('good');
  expect(suspects.of('good')).toBe('confirmed');
});

test('with too many suspects, the oldest suspicion is forgotten', () => {
  const suspects = createSuspects(MINUTE_MS);
  for (let id = 0; id < 1_001; id++) suspects.judge(`sender ${id}`, 'rejected');
  expect(['sender 0', 'sender 1', 'sender 1000'].map(suspects.of)).toEqual([undefined, 'confirmed', 'confirmed']);
});

test('turns go to the sender with the fewest requests, and silence saves none up', () => {
  const suspects = createSuspects(MINUTE_MS);
  for (const sender of ['a', 'b', 'late']) suspects.judge(sender, 'rejected');
  const turns = (senders: readonly string[], costs: Record<string, number>, count: number) =>
    Array.from({ length: count }, () => {
      const next = suspects.next(senders) ?? '';
      for (let times = costs[next] ?? 0; times > 0; times -= 1) suspects.spend(next);
      return next;
    }).join(' ');
  expect(turns(['a', 'b'], { a: 3, b: 1 }, 8)).toBe('a b b b a b b b');
  expect(turns(['a', 'b', 'late'], { a: 2, b: 2, late: 2 }, 6)).toBe('late a b late a b');
  expect(suspects.next([])).toBeUndefined();
});

test('a sender can be suspected again after its time is over', () => {
  let now = 0;
  const suspects = createSuspects(MINUTE_MS, () => now);
  suspects.add('a');
  now += MINUTE_MS;
  suspects.add('a');
  expect(suspects.of('a')).toBe('unknown');
});

test('a sender whose suspicion changes is named, however it changes @heavy', () => {
  const name = fc.constantFrom('0', '1');
  const many = fc.constantFrom('', 'a', 'b').map((prefix) => (id: number) => `${prefix}${id}`);
  const act = fc.oneof(
    ...(['add', 'accept', 'reject', 'deliver', 'look', 'spend'] as const).map((what) =>
      fc.record({ what: fc.constant(what), name, ms: fc.constantFrom(0, 1, MINUTE_MS / 2) }),
    ),
    fc.record({ what: fc.constantFrom('many suspects' as const, 'many accepted' as const), of: many }),
  );
  fc.assert(
    fc.property(fc.array(act, { maxLength: 60, size: 'max' }), (acts) => {
      let now = 0;
      const suspects = createSuspects(MINUTE_MS, () => now);
      const all = ['0', '1'];
      let before = new Map(all.map((one) => [one, suspects.of(one)]));
      let place = suspects.changedSince(0).until;
      for (const one of acts) {
        if ('of' in one) {
          for (let id = 0; id < 1_000; id += 1) {
            if (one.what === 'many suspects') suspects.judge(`other ${one.of(id)}`, 'rejected');
            else suspects.accept(`other ${one.of(id)}`);
          }
        } else {
          now += one.ms;
          if (one.what === 'add') suspects.add(one.name);
          else if (one.what === 'accept') suspects.accept(one.name);
          else if (one.what === 'look') suspects.of(one.name);
          else if (one.what === 'spend') suspects.spend(one.name);
          else suspects.judge(one.name, one.what === 'reject' ? 'rejected' : 'delivered');
        }
        const { senders, until } = suspects.changedSince(place);
        const after = new Map(all.map((sender) => [sender, suspects.of(sender)]));
        const changed = all.filter((sender) => after.get(sender) !== before.get(sender));
        if (senders) expect(senders).toEqual(expect.arrayContaining(changed));
        before = after;
        place = until;
      }
    }),
    { numRuns: process.env.LONG === '1' ? 2_000 : 100, seed: 1 },
  );
});

test('when very many have changed, it says only that they have', () => {
  const suspects = createSuspects(MINUTE_MS);
  const { until } = suspects.changedSince(0);
  suspects.judge('first', 'rejected');
  expect(suspects.changedSince(until)).toEqual({ senders: ['first'], until: until + 1 });
  for (let id = 0; id < 10_000; id += 1) suspects.judge(`sender ${id}`, 'rejected');
  expect(suspects.changedSince(until).senders).toBeUndefined();
});
