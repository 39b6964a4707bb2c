/** The requests by which tasks change the head of the snapshot, which is the lease, too. */
import {
  type Attributes,
  encodeHead,
  type Head,
  type Key,
  namespaces,
  type Rev,
  SNAPSHOT_FORMAT,
} from '../../lib/flag-table/index.ts';
import { both, type Condition, equal } from './conditions.ts';
import type { Update } from './dynamodb-client.ts';

/** Attributes of the head that belong to the lease; readers of flags ignore them. */
const yieldingName = 'yielding';
const claimName = 'claim';

/** Owner and epoch of a term. */
interface TermId {
  readonly owner: string;
  readonly epoch: number;
}

const holdsStill = ({ owner, epoch }: TermId): Condition => equal({ owner: { S: owner }, epoch: { N: String(epoch) } });

const stillYielding: Condition = {
  expression: 'attribute_exists(#cYielding)',
  names: { '#cYielding': yieldingName },
  values: {},
};

export interface Publication {
  readonly rev: Rev;
  readonly base: Rev;
  readonly counts: NonNullable<Head['counts']>;
  /** Unix ms: when upstream was last known to have nothing newer than this. */
  readonly checkedAt: number;
}

export function headKey(prefix: string): Key {
  return { namespace: namespaces(prefix).snapshot, key: 'head' };
}

/** A new head, which points at no publication. */
export function firstHead(prefix: string, { owner, epoch }: TermId, checkedAt: number | undefined): Attributes {
  return encodeHead(prefix, { format: SNAPSHOT_FORMAT, owner, epoch, beat: 1, checkedAt: checkedAt ?? 0 });
}

/** What a renewal sets so that the head points at a publication. */
export function publicationOf(prefix: string, publication: Publication): Attributes {
  const head = { format: SNAPSHOT_FORMAT, owner: '', epoch: 0, beat: 0, ...publication };
  const { namespace: _, key: __, owner: ___, epoch: ____, beat: _____, ...set } = encodeHead(prefix, head);
  return set;
}

/** Whether the holder would rather be relieved. */
export function isYielding(head: Attributes): boolean {
  return yieldingName in head;
}

/** Whether an eligible task has said that it is ready. */
export function isClaimed(head: Attributes): boolean {
  return claimName in head;
}

/** A head of a newer relay is left to newer relays. */
export function hasOurFormat({ format }: Attributes): boolean {
  return !format || !('N' in format) || !(Number(format.N) > SNAPSHOT_FORMAT);
}

/** `yielding`: whether to say from now on that the holder would rather be relieved; undefined: as before. */
export function renewal(
  term: TermId & { readonly beat: number },
  change: {
    readonly set?: Attributes | undefined;
    readonly condition?: Condition | undefined;
    /** Unix ms; undefined: as before. */
    readonly checkedAt: number | undefined;
    readonly yielding: boolean | undefined;
  },
): Update {
  const set: Attributes = { ...change.set, beat: { N: String(term.beat) } };
  if (change.checkedAt !== undefined) set.checkedAt ??= { N: String(change.checkedAt) };
  if (change.yielding === true) set[yieldingName] = { BOOL: true };
  const remove = change.yielding === undefined ? [] : change.yielding ? [claimName] : [yieldingName, claimName];
  const condition = change.condition ? both(holdsStill(term), change.condition) : holdsStill(term);
  return { set, remove, condition, retry: false };
}

/** Takes over a head that is still exactly the one that was seen. */
export function takeover(seen: Head, { owner, epoch }: TermId): Update {
  return {
    set: { owner: { S: owner }, epoch: { N: String(epoch) }, beat: { N: String(seen.beat + 1) } },
    remove: [yieldingName, claimName],
    condition: equal({ owner: { S: seen.owner }, epoch: { N: String(seen.epoch) }, beat: { N: String(seen.beat) } }),
    retry: false,
  };
}

export function releaseOf(term: TermId & { readonly beat: number }): Update {
  return {
    set: { owner: { S: '' }, beat: { N: String(term.beat + 1) } },
    remove: [yieldingName, claimName],
    condition: holdsStill(term),
    retry: false,
  };
}

/** Tells a holder that wants to be relieved that a task is ready. Each claim has a different text. */
export function claimOn(head: Head, text: string): Update {
  return { set: { [claimName]: { S: text } }, condition: both(holdsStill(head), stillYielding), retry: false };
}
