interface Row<T> {
  readonly version: number;
  /** Undefined: deleted with this version. */
  readonly value: T | undefined;
}

/** Values by ID that only newer versions change, so that the order of arrival does not matter. */
export function createVersionedTable<T>() {
  const rows = new Map<string, Row<T>>();

  return {
    /** Stores a newer version, made from the held value; false when it is not newer. */
    upsert(id: string, version: number, make: (held: T | undefined) => T): boolean {
      const row = rows.get(id);
      if (row && version <= row.version) return false;
      rows.set(id, { version, value: make(row?.value) });
      return true;
    },

    /** Returns whether a value was removed. The deletion of an unknown ID is remembered, too. */
    remove(id: string, version: number): boolean {
      const row = rows.get(id);
      if (row && version <= row.version) return false;
      rows.set(id, { version, value: undefined });
      return row?.value !== undefined;
    },

    /** Forgets all other IDs, deleted ones too; returns whether a value was removed. */
    retain(ids: { has(id: string): boolean }): boolean {
      let changed = false;
      for (const [id, { value }] of rows) {
        if (ids.has(id)) continue;
        rows.delete(id);
        changed ||= value !== undefined;
      }
      return changed;
    },

    entries: (): [string, T][] => [...rows].flatMap(([id, { value }]) => (value === undefined ? [] : [[id, value]])),

    values: (): T[] => [...rows.values()].flatMap(({ value }) => (value === undefined ? [] : [value])),
  };
}
