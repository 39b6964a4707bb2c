import { createHash } from 'node:crypto';
import type { Item, Kind } from '../../lib/flag-table/index.ts';

/** What the manifest is made of: enough to know which version of each live item must be stored. */
export type Listed = Pick<Item, 'kind' | 'key' | 'version' | 'deleted'>;

const FORMAT = 1;

interface Manifest {
  readonly format: number;
  readonly flags: number;
  readonly segments: number;
  /** Live items that the database cannot hold and has no older copy of. */
  readonly missing: number;
  readonly digest: string;
  /** Whose data it is; '' while the set is changed from one source's to another's. Absent in earlier versions. */
  readonly source?: string | undefined;
}

/**
 * The record beside the data that says what the set consists of, as JSON: counts, and the SHA-256 of the sorted lines
 * `kind/key version`. Live items only, and versions rather than bytes: so that it also holds after another official
 * writer brought the same set, re-serialised and without tombstones.
 */
export function encodeManifest(listed: Iterable<Listed>, missing: number, source?: string): string {
  return JSON.stringify(manifestOf(listed, missing, source));
}

function manifestOf(listed: Iterable<Listed>, missing: number, source?: string): Manifest {
  const lines: string[] = [];
  let flags = 0;
  for (const { kind, key, version, deleted } of listed) {
    if (deleted) continue;
    if (kind === 'features') flags += 1;
    lines.push(`${kind}/${key} ${version}`);
  }
  const digest = createHash('sha256').update(lines.sort().join('\n')).digest('hex');
  const segments = lines.length - flags;
  return { format: FORMAT, flags, segments, missing, digest, source };
}

/**
 * What a manifest says about a set that was read. `unverified`: there is no manifest that this version understands.
 * `partial`, with the reason: this is not the set that it describes, or that set was never whole.
 */
export function checkManifest(
  text: string | undefined,
  items: readonly Listed[],
):
  | { readonly verdict: 'whole' | 'unverified'; readonly source: string | undefined }
  | { readonly verdict: 'partial'; readonly reason: string } {
  const stated = text === undefined ? undefined : parseManifest(text);
  if (!stated) return { verdict: 'unverified', source: undefined };
  if (stated.missing > 0) {
    return { verdict: 'partial', reason: `${stated.missing} items are too large for this store` };
  }
  const found = manifestOf(items, 0);
  if (found.digest === stated.digest) return { verdict: 'whole', source: stated.source };
  const describe = ({ flags, segments }: Manifest) => `${flags} flags and ${segments} segments`;
  const reason = `the manifest states ${describe(stated)}, there are ${describe(found)}`;
  return { verdict: 'partial', reason: describe(stated) === describe(found) ? `${reason} of other versions` : reason };
}

/** A set that nothing vouches for, and that has not even tombstones of flags, has rather lost its flags than never had any. */
export function hasFlags(items: readonly Listed[]): boolean {
  return items.some(({ kind }) => kind === 'features');
}

/** How many live rows a manifest states; none without one that this version understands. */
export function statedCounts(text: string | undefined): Record<Kind, number> {
  const stated = text === undefined ? undefined : parseManifest(text);
  return { features: stated?.flags ?? 0, segments: stated?.segments ?? 0 };
}

/** Undefined: this version does not understand it. */
export function parseManifest(text: string): Manifest | undefined {
  try {
    const { format, flags, segments, missing, digest, source } = JSON.parse(text) as Partial<Manifest>;
    if (format !== FORMAT || typeof digest !== 'string') return undefined;
    return {
      format,
      flags: Number(flags),
      segments: Number(segments),
      missing: Number(missing),
      digest,
      source: typeof source === 'string' ? source : undefined,
    };
  } catch {
    return undefined;
  }
}
