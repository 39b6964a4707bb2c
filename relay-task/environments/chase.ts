import type { Flag, Segment } from '../../lib/evaluation/index.ts';
import type { Item, Kind } from '../../lib/flag-table/index.ts';
import { type CompiledItem, isLong, MOST_ROUNDS } from './compilers.ts';

export interface Name {
  readonly kind: Kind;
  readonly key: string;
}

/** Large items that count in an earlier version, until they are compiled. `onMoved`: another version of one counts now. */
export function createChase(onMoved: (kind: Kind, key: string) => void) {
  /** The latest version that was compiled. */
  const earlier = { features: new Map<string, Flag>(), segments: new Map<string, Segment>() };
  /** How often an item was replaced while it was compiled, since it last was to its end in time. */
  const overtaken = new Map<string, number>();
  /** Those that have only just been replaced: evaluations wait for them, and listeners get the change itself. */
  const fresh = new Set<string>();
  /** What listeners have not been told yet. */
  const late = new Map<string, Name>();
  let era = 0;
  const nameOf = (kind: Kind, key: string) => `${kind}/${key}`;

  function moved(kind: Kind, key: string): void {
    late.set(nameOf(kind, key), { kind, key });
    onMoved(kind, key);
  }

  return {
    get isOn() {
      return earlier.features.size + earlier.segments.size > 0;
    },
    earlier: <K extends Kind>(kind: K, key: string) => (earlier[kind] as Map<string, CompiledItem[K]>).get(key),
    isFresh: (kind: Kind, key: string) => fresh.has(nameOf(kind, key)),
    /** `before`: how it counted, and counts until it is compiled. */
    replaced<K extends Kind>(kind: K, key: string, before: CompiledItem[K]): void {
      (earlier[kind] as Map<string, CompiledItem[K]>).set(key, before);
      fresh.add(nameOf(kind, key));
    },
    /** Returns whether to continue although the item was replaced. */
    begin(kind: Kind, key: string): (present: Item | undefined) => boolean {
      const isPatient = (overtaken.get(nameOf(kind, key)) ?? 0) >= MOST_ROUNDS - 1;
      const begunIn = era;
      return (present) => isPatient && begunIn === era && present !== undefined && isLong(present);
    },
    overtaken(kind: Kind, key: string): void {
      const name = nameOf(kind, key);
      overtaken.set(name, (overtaken.get(name) ?? 0) + 1);
    },
    /** A version that is not the present one any more was compiled. */
    keep<K extends Kind>(kind: K, key: string, made: CompiledItem[K]): void {
      (earlier[kind] as Map<string, CompiledItem[K]>).set(key, made);
      fresh.delete(nameOf(kind, key));
      moved(kind, key);
    },
    /** The present version counts. */
    caught(kind: Kind, key: string): void {
      overtaken.delete(nameOf(kind, key));
      if (!earlier[kind].delete(key)) return;
      if (fresh.delete(nameOf(kind, key))) onMoved(kind, key);
      else moved(kind, key);
    },
    end(): void {
      era += 1;
      overtaken.clear();
      fresh.clear();
      for (const kind of ['features', 'segments'] as const)
        for (const key of [...earlier[kind].keys()]) {
          earlier[kind].delete(key);
          moved(kind, key);
        }
    },
    tell(listen: (items: readonly Name[]) => void): void {
      if (late.size === 0) return;
      const items = [...late.values()];
      late.clear();
      listen(items);
    },
  };
}
