/** What to write of the snapshot, from what it holds and what memory holds. */
import {
  atBase,
  compareRev,
  type EncodedBody,
  type Head,
  type Item,
  type Rev,
  type Snapshot,
} from '../../lib/flag-table/index.ts';
import { inSlices, whenDue } from '../common/slices.ts';
import type { ItemView } from '../ports.ts';
import { compareInSlices, idOf, sameItem } from './same-item.ts';

type ItemsById = ReadonlyMap<string, Item>;

export interface Base {
  readonly rev: Rev;
  readonly items: ItemsById;
  readonly encoded?: EncodedBody;
}

/** What the snapshot in the table holds. */
export interface Published {
  /** The body. */
  readonly base: Base;
  /** What readers assemble now, and its revision. */
  readonly content: ItemsById;
  readonly rev: Rev;
  /** That revision was published by this very writer, and never used for a body. */
  readonly isOurs: boolean;
  readonly headRev: Rev | undefined;
  /** Whose data that revision is. */
  readonly source: string | undefined;
  /** Monotonic ms since which a delta has been needed. */
  readonly deltaSince: number | undefined;
}

/** The items that lead from a body to what memory holds. */
export interface Delta {
  readonly over: Base;
  readonly changes: readonly Item[];
}

export type Plan =
  | { readonly kind: 'nothing' }
  /** A writer died between the data and the head: the data is right, and only the head is missing. */
  | { readonly kind: 'point'; readonly at: Published }
  /** If the delta is too long, a body. */
  | { readonly kind: 'delta'; readonly delta: Delta }
  | { readonly kind: 'body' };

/** A delta that has been needed since `foldBefore` (monotonic ms) or longer is folded into a new body. */
export function planPublication(
  published: Published | undefined,
  items: readonly Item[],
  source: string | undefined,
  foldBefore: number,
): Plan {
  if (!published) return { kind: 'body' };
  const { base, content, rev, headRev } = published;
  const isDeltaOld = published.deltaSince !== undefined && published.deltaSince <= foldBefore;
  const unchanged =
    published.source === source &&
    content.size === items.length &&
    items.every((item) => sameItem(content.get(idOf(item)), item));
  if (unchanged && !isDeltaOld) {
    return compareRev(rev, headRev) === 0 ? { kind: 'nothing' } : { kind: 'point', at: published };
  }
  const delta = deltaOver(base, items);
  return delta && !(isDeltaOld && delta.changes.length > 0) ? { kind: 'delta', delta } : { kind: 'body' };
}

/**
 * The delta over a new body of what readers hold, under the revision that they hold: the body is nothing new to them, so
 * they take the delta, and leave the body unread. Undefined: they have to read a new body.
 */
export function deltaOverNewBody(published: Published | undefined, items: readonly Item[]): Delta | undefined {
  if (!published?.isOurs || compareRev(published.rev, published.base.rev) <= 0) return undefined;
  return deltaOver({ rev: published.rev, items: published.content }, items);
}

/** Undefined when something vanished without a tombstone, which no delta can say. */
function deltaOver(over: Base, items: readonly Item[]): Delta | undefined {
  const changes = items.filter((item) => !sameItem(over.items.get(idOf(item)), item));
  const added = changes.filter((item) => !over.items.has(idOf(item))).length;
  return over.items.size > items.length - added ? undefined : { over, changes };
}

/** The revision after all others of its epoch. */
export function nextRev(epoch: number, ...others: readonly (Rev | undefined)[]): Rev {
  return { epoch, seq: 1 + Math.max(0, ...others.map((rev) => (rev?.epoch === epoch ? rev.seq : 0))) };
}

export function byId(items: readonly Item[]): ItemsById {
  return new Map(items.map((item) => [idOf(item), item]));
}

/** What was read back. Items are memory's own objects where they are the same, so that nothing is held or compared twice. */
export async function publishedBefore(
  snapshot: Snapshot,
  headRev: Published['headRev'],
  view: ItemView,
  now: number,
): Promise<Published> {
  // Inflating and parsing a snapshot of many MB takes long.
  const itemsOf = async (one: Snapshot): Promise<ItemsById> => {
    const items = new Map<string, Item>();
    for (const item of one.items()) {
      const ours = view.get(item.kind, item.key);
      const isSame = ours !== undefined && (await inSlices(compareInSlices(item, ours)));
      items.set(idOf(item), isSame ? ours : item);
      await whenDue();
    }
    return items;
  };
  const older = atBase(snapshot);
  const base: Base = { rev: snapshot.base, items: await itemsOf(older) };
  const content = older === snapshot ? base.items : await itemsOf(snapshot);
  const deltaSince = compareRev(snapshot.rev, snapshot.base) === 0 ? undefined : now;
  return { base, content, rev: snapshot.rev, isOurs: false, headRev, source: snapshot.source, deltaSince };
}

export function countsOf(items: readonly Item[]): NonNullable<Head['counts']> {
  const deleted = items.filter((item) => item.deleted).length;
  const flags = items.filter((item) => item.kind === 'features' && !item.deleted).length;
  return { flags, segments: items.length - flags - deleted, deleted };
}
