import { describeFlagProblem, describeSegmentProblem } from '../../lib/evaluation/index.ts';
import type { Item } from '../../lib/flag-table/index.ts';

/** Why a stored item is invalid, or undefined. Others write to stores, too, so their items are checked like upstream's. */
export function describeStoredProblem({ kind, key, version, deleted, json }: Item): string | undefined {
  let data: unknown;
  try {
    data = JSON.parse(json);
  } catch {
    return 'is not JSON';
  }
  if (!Number.isSafeInteger(version)) return `version must be a whole number, not ${version}`;
  if (deleted) return undefined;
  const { key: ownKey } = (data ?? {}) as { key?: unknown };
  if (ownKey !== key) return `key must be ${JSON.stringify(key)} as in the table, not ${JSON.stringify(ownKey)}`;
  return kind === 'features' ? describeFlagProblem(data) : describeSegmentProblem(data);
}
