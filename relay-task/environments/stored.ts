import { describeFlagProblem, describeSegmentProblem } from '../../lib/evaluation/index.ts';
import type { Item } from '../../lib/flag-table/index.ts';
import { completeText, describeKeyProblem, isComplete } from '../common/item-text.ts';
import { isCount, showJson } from '../common/json.ts';
import { createTombstone } from '../common/tombstone.ts';

/**
 * A stored item, completed, or why it is invalid. Others write to stores, too, so their items are checked and completed like
 * upstream's.
 */
export function readStored(item: Item): Item | { readonly reason: string } {
  const { kind, key, version, deleted, json } = item;
  let data: unknown;
  try {
    data = JSON.parse(json);
  } catch {
    return { reason: 'is not JSON' };
  }
  if (!isCount(version)) return { reason: `version must be a whole number from 0, not ${version}` };
  if (deleted) return isComplete(kind, data) ? item : createTombstone(kind, key, version);
  const keyProblem = describeKeyProblem(key);
  if (keyProblem !== undefined) return { reason: keyProblem };
  const { key: ownKey } = (data ?? {}) as { key?: unknown };
  if (ownKey !== key) {
    return { reason: `key must be ${JSON.stringify(key)} as in the table, not ${showJson(ownKey)}` };
  }
  const reason = kind === 'features' ? describeFlagProblem(data) : describeSegmentProblem(data);
  if (reason !== undefined) return { reason };
  const complete = completeText(kind, data, json);
  return complete === json ? item : { ...item, json: complete };
}
