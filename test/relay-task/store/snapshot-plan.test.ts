import type { Item, Rev } from '../../../lib/flag-table/index.ts';
import {
  byId,
  deltaOverNewBody,
  nextRev,
  type Plan,
  type Published,
  planPublication,
} from '../../../relay-task/store/snapshot-plan.ts';
import { flag } from './items.ts';

const now = 100_000;
const [a1, a2, b1] = [flag('a', 1), flag('a', 2), flag('b', 1)];
const rev = (seq: number): Rev => ({ epoch: 7, seq });

const bodyOnly: Published = {
  base: { rev: rev(3), items: byId([a1, b1]) },
  content: byId([a1, b1]),
  rev: rev(3),
  isOurs: true,
  headRev: rev(3),
  source: 'k',
  deltaSince: undefined,
};
const withDelta: Published = { ...bodyOnly, content: byId([a2, b1]), rev: rev(4), headRev: rev(4), deltaSince: now };
const withOldDelta: Published = { ...withDelta, deltaSince: now - 1 };
const foldBefore = now - 1;

const nothing: Plan = { kind: 'nothing' };
const body: Plan = { kind: 'body' };
const delta = (...changes: Item[]): Plan => ({ kind: 'delta', delta: { over: bodyOnly.base, changes } });
const behind = (published: Published): Published => ({ ...published, headRev: rev(2) });

test.each<[string, Published | undefined, Item[], Plan]>([
  ['no usable snapshot takes a body', undefined, [a1, b1], body],
  ['an unchanged body needs nothing', bodyOnly, [a1, b1], nothing],
  ['an unchanged delta needs nothing', withDelta, [a2, b1], nothing],
  ['a head left behind is pointed at the body', behind(bodyOnly), [a1, b1], { kind: 'point', at: behind(bodyOnly) }],
  ['a head left behind is pointed at the delta', behind(withDelta), [a2, b1], { kind: 'point', at: behind(withDelta) }],
  ['a change takes a delta', bodyOnly, [a2, b1], delta(a2)],
  ['a head left behind does not matter to a change', behind(bodyOnly), [a2, b1], delta(a2)],
  ['a second change takes a delta with both', withDelta, [a2, flag('b', 2)], delta(a2, flag('b', 2))],
  ['a change that is taken back takes an empty delta', withDelta, [a1, b1], delta()],
  ['a new item takes a delta', bodyOnly, [a1, b1, flag('c', 1)], delta(flag('c', 1))],
  ['an item that vanished takes a body', bodyOnly, [a1], body],
  ['an item that vanished while another came takes a body', bodyOnly, [a1, flag('c', 1)], body],
  ['an old delta takes a body', withOldDelta, [a2, b1], body],
  ['an old delta and a change take a body', withOldDelta, [a2, flag('b', 2)], body],
  ['an old delta and a head left behind take a body', behind(withOldDelta), [a2, b1], body],
  ['an old delta whose changes are taken back takes an empty delta', withOldDelta, [a1, b1], delta()],
])('%s', (_, published, items, plan) => {
  expect(planPublication(published, items, 'k', foldBefore)).toEqual(plan);
});

test.each<[string, Published, Item[], Plan]>([
  ['the same data of another source takes an empty delta', bodyOnly, [a1, b1], delta()],
  ['the same data of another source takes its delta again', withDelta, [a2, b1], delta(a2)],
  ['other data of another source takes a delta', bodyOnly, [a2, b1], delta(a2)],
  ['data of another source without an item takes a body', bodyOnly, [a1], body],
  ['a head left behind is not pointed at data of another source', behind(bodyOnly), [a1, b1], delta()],
])('%s', (_, published, items, plan) => {
  expect(planPublication(published, items, 'another', foldBefore)).toEqual(plan);
});

const overContent = { over: { rev: rev(4), items: withDelta.content }, changes: [flag('b', 2)] };

test.each<[string, Published | undefined, Item[], unknown]>([
  ['content that readers hold may become the body', withDelta, [a2, flag('b', 2)], overContent],
  ['no snapshot has no content', undefined, [a2, b1], undefined],
  ['a revision that a body has is not used for another one', bodyOnly, [a2, b1], undefined],
  ["another writer's revision is not used for a body", { ...withDelta, isOurs: false }, [a2, b1], undefined],
  ['no delta takes an item away', withDelta, [a2], undefined],
])('a new body under the old revision: %s', (_, published, items, expected) => {
  expect(deltaOverNewBody(published, items)).toEqual(expected);
});

test.each<[string, number, (Rev | undefined)[], Rev]>([
  ['the first of a term', 7, [undefined, undefined], { epoch: 7, seq: 1 }],
  ['after the last one of this writer', 7, [rev(5), undefined], { epoch: 7, seq: 6 }],
  ['after the highest one in the table', 7, [rev(5), rev(9)], { epoch: 7, seq: 10 }],
  ['earlier terms do not count', 8, [rev(5), rev(9)], { epoch: 8, seq: 1 }],
])('the next revision: %s', (_, epoch, others, expected) => {
  expect(nextRev(epoch, ...others)).toEqual(expected);
});
