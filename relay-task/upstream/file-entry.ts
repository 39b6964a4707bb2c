import type { Kind } from '../../lib/flag-table/index.ts';

/** A flag or segment as written in the file. */
export interface FileEntry {
  readonly kind: Kind;
  readonly key: string;
  readonly version: number | undefined;
  readonly data: Readonly<Record<string, unknown>>;
}

/** Something in the file that SDKs accept and that is most likely a mistake. */
export interface FileRemark {
  /** Of the item; undefined for the file as a whole. */
  readonly kind?: Kind;
  readonly key?: string;
  /** Where in the item: `rules[0].clauses[0].op`; '' is the whole of it. */
  readonly at: string;
  /** What it is, what follows, and what was probably meant. */
  readonly reason: string;
}
