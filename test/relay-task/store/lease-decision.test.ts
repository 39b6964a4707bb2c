import type { Head } from '../../../lib/flag-table/index.ts';
import { decide, type Knowledge, type LeaseAction, type Sight } from '../../../relay-task/store/lease-decision.ts';

const now = 100_000;
const timings = { expireMs: 15_000 };
const fresh = now - 14_999;
const expired = now - 15_000;

const held: Head = { format: 1, owner: 'other', epoch: 7, beat: 3, checkedAt: 0 };
const released: Head = { ...held, owner: '' };
const ours: Head = { ...held, owner: 'me' };

const absent: Sight = { kind: 'absent' };
const broken = (seenSince: number, foreign = false): Sight => ({ kind: 'unreadable', foreign, seenSince });
const sight = (head: Head, seenSince: number, yielding = false): Sight => ({
  ...{ kind: 'readable', head, yielding, seenSince },
});

const idle: Knowledge = { owner: 'me', eligible: false, attempted: undefined, relieved: false };
const eligible: Knowledge = { ...idle, eligible: true };
const relieved: Knowledge = { ...idle, relieved: true };
const attempted: Knowledge = { ...eligible, attempted: { epoch: 7, start: 'expired' } };

const wait: LeaseAction = { kind: 'wait' };
const takeReleased: LeaseAction = { kind: 'take', head: released, start: 'released' };
const takeExpired = (head: Head): LeaseAction => ({ kind: 'take', head, start: 'expired' });

test.each<[string, Sight, Knowledge, LeaseAction]>([
  ['no head: an eligible task creates it', absent, eligible, { kind: 'create', replacing: false }],
  ['no head: a task that is not eligible waits', absent, idle, wait],
  ['no head: a relieved task waits', absent, relieved, wait],
  ['no head: a lost takeover does not matter', absent, attempted, { kind: 'create', replacing: false }],

  ['broken head, still changing: wait', broken(fresh), eligible, wait],
  [
    'broken head, expired: an eligible task replaces it',
    broken(expired),
    eligible,
    { kind: 'create', replacing: true },
  ],
  ['broken head, expired: a task that is not eligible waits', broken(expired), idle, wait],
  ['broken head, expired: a relieved task waits', broken(expired), relieved, wait],
  ["a newer relay's head is left alone, even when it expired", broken(expired, true), eligible, wait],

  ['released: an eligible task takes it at once', sight(released, now), eligible, takeReleased],
  ['released long ago: an eligible task takes it as released', sight(released, expired), eligible, takeReleased],
  ['released: a task that is not eligible waits, however long', sight(released, expired), idle, wait],
  ['released just now: the relieved task waits for the one that claimed it', sight(released, fresh), relieved, wait],
  [
    'released and taken by no one: the relieved task takes it back',
    sight(released, expired),
    relieved,
    takeExpired(released),
  ],

  ['held and renewed: an eligible task waits', sight(held, fresh), eligible, wait],
  ['held and expired: an eligible task takes it', sight(held, expired), eligible, takeExpired(held)],
  ['held and expired: a task that is not eligible waits', sight(held, expired), idle, wait],
  ['held by the successor and expired: the relieved task waits', sight(held, expired), relieved, wait],
  ['yielding: an eligible task claims it', sight(held, fresh, true), eligible, { kind: 'claim', head: held }],
  ['yielding: a task that is not eligible does not claim it', sight(held, fresh, true), idle, wait],
  ['yielding and expired: an eligible task takes it', sight(held, expired, true), eligible, takeExpired(held)],

  ['a takeover whose answer was lost is resumed', sight(ours, fresh), attempted, { kind: 'resume', head: ours }],
  [
    'a takeover whose answer was lost is resumed when this task is no longer eligible',
    sight(ours, expired),
    { ...attempted, eligible: false },
    { kind: 'resume', head: ours },
  ],
  ['an earlier term of this process is not resumed', sight({ ...ours, epoch: 6 }, fresh), attempted, wait],
  ['a term of the same epoch by another owner is not resumed', sight(held, fresh), attempted, wait],
  [
    'a term of this process that it did not attempt expires like any other',
    sight(ours, expired),
    eligible,
    takeExpired(ours),
  ],
])('%s', (_, seen, knowledge, action) => {
  expect(decide(seen, knowledge, now, timings)).toEqual(action);
});
