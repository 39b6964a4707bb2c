/** The two kinds of data, by their names in LaunchDarkly's persistent stores. */
export const KINDS = ['features', 'segments'] as const;

export type Kind = (typeof KINDS)[number];

/**
 * One flag or segment as received: its JSON is kept unchanged, so unknown fields are preserved.
 * `deleted` marks a tombstone, which is kept so that an older version cannot come back.
 */
export interface Item {
  readonly kind: Kind;
  readonly key: string;
  readonly version: number;
  readonly deleted: boolean;
  /** The raw JSON text of the item, tombstones included (`{"key":…,"version":…,"deleted":true}`). */
  readonly json: string;
}
