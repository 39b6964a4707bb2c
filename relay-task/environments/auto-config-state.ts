import { isObject } from '../common/json.ts';
import type { EnvironmentDescription } from '../ports.ts';
import { type AutoConfigMessage, type Entries, type FilterRecord, parseFilterRecord } from './auto-config-messages.ts';
import {
  describeRecord,
  type EnvironmentRecord,
  type EnvironmentTemplates,
  parseEnvironmentRecord,
} from './environment-record.ts';
import { type HeldKeys, NO_KEYS, rotateKeys, withoutExpired } from './key-rotation.ts';
import { createVersionedTable } from './versioned-table.ts';

interface HeldEnvironment {
  readonly record: EnvironmentRecord;
  /** The JSON value as it was received, to be stored. */
  readonly data: unknown;
  readonly keys: HeldKeys;
}

interface HeldFilter {
  readonly record: FilterRecord;
  readonly data: unknown;
}

/** Below every version, so that LaunchDarkly's data always wins over remembered data. */
const REMEMBERED = -1;

export type Applicable = Extract<AutoConfigMessage, { kind: 'put' | 'environment' | 'filter' | 'delete' }>;

/** The state that the auto-configuration messages received so far add up to. Times are Unix ms. */
export function createAutoConfigState() {
  const environments = createVersionedTable<HeldEnvironment>();
  const filters = createVersionedTable<HeldFilter>();

  const upsertEnvironment = (id: string, { record, data }: Omit<HeldEnvironment, 'keys'>, now: number) =>
    environments.upsert(id, record.version, (held) => {
      return { record, data, keys: rotateKeys(held?.keys ?? NO_KEYS, record.statement, now) };
    });

  const upsertFilter = (id: string, filter: HeldFilter) => filters.upsert(id, filter.record.version, () => filter);

  function filtersOf({ labels }: EnvironmentRecord): string[] {
    const ofProject = filters.values().filter(({ record }) => record.projKey === labels.projKey);
    return [...new Set(ofProject.map(({ record }) => record.key))].sort();
  }

  return {
    /** Returns whether anything changed. */
    apply(message: Applicable, now: number): boolean {
      switch (message.kind) {
        case 'put': {
          // Every call has to be made, so they are not joined with `||`.
          const results = [
            environments.retain(message.environments),
            filters.retain(message.filters),
            ...readable(message.environments).map(([id, received]) => upsertEnvironment(id, received, now)),
            ...readable(message.filters).map(([id, received]) => upsertFilter(id, received)),
          ];
          return results.some(Boolean);
        }
        case 'environment':
          return upsertEnvironment(message.id, message.received, now);
        case 'filter':
          return upsertFilter(message.id, message.received);
        case 'delete':
          return (message.table === 'environments' ? environments : filters).remove(message.id, message.version);
      }
    },

    describe(templates: EnvironmentTemplates, now: number): EnvironmentDescription[] {
      return environments
        .values()
        .map(({ record, keys }) => describeRecord(record, withoutExpired(keys, now), filtersOf(record), templates));
    },

    /** Everything but tombstones as JSON, keys in plain text. */
    serialize(): string {
      return JSON.stringify({
        environments: environments.values().map(({ record, data, keys }) => [record.environmentId, data, keys]),
        filters: filters.entries().map(([id, { data }]) => [id, data]),
      });
    },

    /**
     * Loads the result of `serialize` into an empty state. Returns false when any part is invalid, since a part alone
     * would look complete and make the other keys unknown. Never throws.
     */
    restore(text: string): boolean {
      const stored = parse(text);
      if (stored === undefined) return false;
      for (const [id, data, keys] of stored.environments) {
        const record = parseEnvironmentRecord(data, String(id));
        if ('problem' in record || !isHeldKeys(keys)) return false;
        environments.upsert(record.environmentId, REMEMBERED, () => ({ record, data, keys }));
      }
      for (const [id, data] of stored.filters) {
        const record = parseFilterRecord(data);
        if ('problem' in record) return false;
        filters.upsert(String(id), REMEMBERED, () => ({ record, data }));
      }
      return true;
    },
  };
}

function readable<T>(entries: Entries<T>) {
  return [...entries].flatMap(([id, entry]) => (typeof entry === 'string' ? [] : [[id, entry] as const]));
}

function parse(text: string): { environments: unknown[][]; filters: unknown[][] } | undefined {
  try {
    const { environments, filters } = JSON.parse(text);
    const areRows = [environments, filters].every((rows) => Array.isArray(rows) && rows.every(Array.isArray));
    return areRows ? { environments, filters } : undefined;
  } catch {
    return undefined;
  }
}

/** We wrote and sealed it ourselves, so checking its outline is enough. */
function isHeldKeys(value: unknown): value is HeldKeys {
  return isObject(value) && Array.isArray(value.credentials);
}
