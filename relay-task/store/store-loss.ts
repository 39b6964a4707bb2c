import { KINDS, type Kind } from '../../lib/flag-table/index.ts';
import type { Held } from './database.ts';

/** The database has less than it is known to have: it was wiped, or lost a part. Its marker is gone, too. */
export class StoreLossError extends Error {
  constructor(what: string) {
    super(`${what}: it was wiped, or lost a part; it is not marked complete until it is filled again`);
    this.name = 'StoreLossError';
  }
}

/** Throws when one of these rows is missing. */
export function demandKeys(where: string, kind: Kind, found: ReadonlySet<string>, held: Pick<Held, 'keysOf'>): void {
  const missing = held.keysOf(kind).find((key) => !found.has(key));
  if (missing !== undefined) throw new StoreLossError(`${where} has not "${missing}" of ${kind}`);
}

/** Throws when there are fewer rows than there have to be. */
export function demandCounts(where: string, found: Held['counts'], least: Held['counts']): void {
  for (const kind of KINDS) {
    if (found[kind] < least[kind]) {
      throw new StoreLossError(`${where} has ${found[kind]} of at least ${least[kind]} ${kind}`);
    }
  }
}
