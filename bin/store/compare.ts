import {
  type Attributes,
  decodeOfficialItem,
  decodeStale,
  encodeOfficialItem,
  type Item,
  type Kind,
  OFFICIAL_ITEM_LIMIT_BYTES,
  officialItemBytes,
} from '../../lib/flag-table/index.ts';
import { textOf } from '../../relay-task/store/dynamodb-client.ts';
import { idOf, isWhole, sameItem } from '../../relay-task/store/same-item.ts';
import type { Contents } from './contents.ts';

interface Difference {
  /** `features/KEY`, `segments/KEY`, or `$inited`. */
  readonly item: string;
  readonly problem: string;
}

export interface Comparison {
  readonly differences: readonly Difference[];
  /** How many items are equal in both layouts. */
  readonly alike: number;
  /** Items too large for LaunchDarkly's layout, which by design keeps an older copy or none. */
  readonly tooLarge: readonly Difference[];
}

const sortKeyLimitBytes = 1_024;

/** Compares LaunchDarkly's layout with the decoded snapshot, item by item. */
export function compareLayouts({ rows, inited, prefix }: Contents, items: readonly Item[]): Comparison {
  const differences: Difference[] = [];
  const tooLarge: Difference[] = [];
  const unseen = new Map(items.map((item) => [idOf(item), item]));
  let alike = 0;
  for (const kind of ['segments', 'features'] as const) {
    for (const row of rows[kind]) {
      const item = idOf({ kind, key: textOf(row, 'key') });
      const other = unseen.get(item);
      unseen.delete(item);
      const stale = decodeStale(row);
      if (stale && other && stale.currentVersion === other.version) {
        tooLarge.push({
          item,
          problem: `version ${other.version} does not fit; the copy is older, ${sinceText(stale)}`,
        });
        continue;
      }
      const problem = differenceOf(kind, row, other);
      if (problem === undefined) alike += Number(other !== undefined);
      else differences.push({ item, problem });
    }
  }
  for (const [id, item] of unseen) {
    if (fits(prefix, item)) differences.push({ item: id, problem: `version ${item.version} is only in the snapshot` });
    else tooLarge.push({ item: id, problem: `version ${item.version} does not fit, and there is no older copy` });
  }
  if (!inited) differences.push({ item: '$inited', problem: 'the marker of LaunchDarkly’s layout is missing' });
  return { differences, alike, tooLarge };
}

function differenceOf(kind: Kind, row: Attributes, other: Item | undefined): string | undefined {
  const official = decodeOfficialItem(kind, row);
  if ('problem' in official) return `its official copy cannot be read: ${official.problem}`;
  const { version, deleted } = official;
  if (!other) {
    // A tombstone of a flag deleted before this relay's time is harmless: it only keeps older versions out.
    if (deleted) return isWhole(official) ? undefined : incomplete(version);
    return `version ${version} is only in LaunchDarkly’s layout`;
  }
  if (decodeStale(row)) return `its official copy is marked as stale, but not for version ${other.version}`;
  if (sameItem(official, other)) return undefined;
  if (version !== other.version) return `version ${version}, in the snapshot ${other.version}`;
  return isWhole(official) ? `version ${version} in both, with different content` : incomplete(version);
}

function incomplete(version: number): string {
  return `version ${version} lacks fields that some SDKs cannot do without; the relay that writes replaces it`;
}

function fits(prefix: string, item: Item): boolean {
  const keyBytes = Buffer.byteLength(item.key);
  const bytes = officialItemBytes(encodeOfficialItem(prefix, item));
  return keyBytes > 0 && keyBytes <= sortKeyLimitBytes && bytes <= OFFICIAL_ITEM_LIMIT_BYTES;
}

function sinceText({ since }: { since: number }): string {
  return `since ${new Date(since).toISOString().slice(0, 16).replace('T', ' ')} UTC`;
}
