import { describeFlagProblemInSteps, describeSegmentProblemInSteps } from '../../lib/evaluation/index.ts';
import type { Item } from '../../lib/flag-table/index.ts';
import { hashInSlices } from '../common/item-hash.ts';
import { completeTextInSlices, describeKeyProblem, isComplete } from '../common/item-text.ts';
import { isCount, showJson } from '../common/json.ts';
import { prerequisitesOf } from '../common/prerequisites.ts';
import { parseTextInSlices } from '../common/sliced-text.ts';
import { resultOf } from '../common/slices.ts';
import { createTombstone } from '../common/tombstone.ts';

type Read = Item | { readonly reason: string };

/** By the item as it is stored, as long as it is held. */
const known = new WeakMap<Item, Read>();

/**
 * A stored item, completed, or why it is invalid. Others write to stores, too, so their items are checked and completed like
 * upstream's. Takes one turn of the event loop, unless `prepareStored` has read it before.
 */
export function readStored(item: Item): Read {
  return known.get(item) ?? resultOf(readInSlices(item));
}

/** Reads the item, and finds what memory needs of it: its hash and its prerequisites. Yields after each part. */
export function* prepareStored(item: Item): Generator<void, void> {
  const read = known.get(item) ?? (yield* readInSlices(item));
  known.set(item, read);
  if ('reason' in read || read.deleted) return;
  yield* hashInSlices(read);
  prerequisitesOf(read);
}

function* readInSlices(item: Item): Generator<void, Read> {
  const { kind, key, version, deleted, json } = item;
  let data: unknown;
  try {
    data = yield* parseTextInSlices(json);
  } catch {
    return { reason: 'is not JSON' };
  }
  if (!isCount(version)) return { reason: `version must be a whole number from 0, not ${version}` };
  if (deleted) return isComplete(kind, data) ? item : createTombstone(kind, key, version);
  const keyProblem = describeKeyProblem(key);
  if (keyProblem !== undefined) return { reason: keyProblem };
  const { key: ownKey } = (data ?? {}) as { key?: unknown };
  if (ownKey !== key) {
    return { reason: `key must be ${JSON.stringify(key)} as in the store, not ${showJson(ownKey)}` };
  }
  const describe = kind === 'features' ? describeFlagProblemInSteps : describeSegmentProblemInSteps;
  const reason = yield* describe(data);
  if (reason !== undefined) return { reason };
  const complete = yield* completeTextInSlices(kind, data, json);
  return complete === json ? item : { ...item, json: complete };
}
