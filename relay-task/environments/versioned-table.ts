interface Row<T> {
  readonly version: number;
  /** Undefined: it was deleted with this version. */
  readonly value: T | undefined;
}

/** Things by ID that change only upwards: what arrives late, in whatever order, changes nothing. */
export function createVersionedTable<T>() {
  const rows = new Map<string, Row<T>>();

  return {
    /** Takes a newer one, made of what is held; false when it is not newer. */
    upsert(id: string, version: number, make: (held: T | undefined) => T): boolean {
      const row = rows.get(id);
      if (row && version <= row.version) return false;
      rows.set(id, { version, value: make(row?.value) });
      return true;
    },

    /** Answers with whether something went; a deletion of what was never seen is remembered as well. */
    remove(id: string, version: number): boolean {
      const row = rows.get(id);
      if (row && version <= row.version) return false;
      rows.set(id, { version, value: undefined });
      return row?.value !== undefined;
    },

    /** Forgets what is not among these, deletions too; answers with whether something went. */
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
