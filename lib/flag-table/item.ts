/** The two kinds of data, by the names that LaunchDarkly's persistent stores give them. */
export type Kind = 'features' | 'segments';

/**
 * One flag or segment as it arrived: its JSON is kept whole, so that fields nobody here knows pass through.
 * `deleted` marks a tombstone: the memory of a deletion, kept so that an older version cannot come back.
 */
export interface Item {
  readonly kind: Kind;
  readonly key: string;
  readonly version: number;
  readonly deleted: boolean;
  /** The raw JSON text of the item, tombstones included (`{"key":…,"version":…,"deleted":true}`). */
  readonly json: string;
}
