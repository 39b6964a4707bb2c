import { forgetOldest } from '../common/forget-oldest.ts';

interface Row<T> {
  readonly version: number;
  /** Undefined: deleted with this version. */
  readonly value: T | undefined;
}

/** Of IDs that were deleted without having been known. Their deletion only matters to an older version that is still under way. */
const MOST_UNKNOWN = 1_000;

/** Values by ID that only newer versions change, so that the order of arrival does not matter. */
export function createVersionedTable<T>() {
  const rows = new Map<string, Row<T>>();
  /** Deleted without having been known, the oldest first. */
  const unknown = new Set<string>();

  function remember(id: string): void {
    unknown.add(id);
    const oldest = forgetOldest(unknown, MOST_UNKNOWN);
    if (oldest !== undefined) rows.delete(oldest);
  }

  return {
    /** Stores a newer version, made from the held value; false when it is not newer. */
    upsert(id: string, version: number, make: (held: T | undefined) => T): boolean {
      const row = rows.get(id);
      if (row && version <= row.version) return false;
      rows.set(id, { version, value: make(row?.value) });
      unknown.delete(id);
      return true;
    },

    /** Returns whether a value was removed. The deletion of an unknown ID is remembered, too, of the last 1,000. */
    remove(id: string, version: number): boolean {
      const row = rows.get(id);
      if (row && version <= row.version) return false;
      rows.set(id, { version, value: undefined });
      if (!row) remember(id);
      return row?.value !== undefined;
    },

    /** Forgets all other IDs, deleted ones too; returns whether a value was removed. */
    retain(ids: { has(id: string): boolean }): boolean {
      let changed = false;
      for (const [id, { value }] of rows) {
        if (ids.has(id)) continue;
        rows.delete(id);
        unknown.delete(id);
        changed ||= value !== undefined;
      }
      return changed;
    },

    entries: (): [string, T][] => [...rows].flatMap(([id, { value }]) => (value === undefined ? [] : [[id, value]])),

    values: (): T[] => [...rows.values()].flatMap(({ value }) => (value === undefined ? [] : [value])),
  };
}
