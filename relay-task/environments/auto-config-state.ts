import { isDeepStrictEqual } from 'node:util';
import { isObject } from '../common/json.ts';
import type { EnvironmentDescription } from '../ports.ts';
import {
  type AutoConfigMessage,
  type FilterRecord,
  type PutEntries,
  parseFilterRecord,
} from './auto-config-messages.ts';
import {
  describeRecord,
  type EnvironmentRecord,
  type EnvironmentTemplates,
  environmentJson,
  parseEnvironmentRecord,
} from './environment-record.ts';
import { type HeldKeys, NO_KEYS, rotateKeys, withoutExpired } from './key-rotation.ts';
import { createVersionedTable } from './versioned-table.ts';

interface HeldEnvironment {
  readonly record: EnvironmentRecord;
  readonly keys: HeldKeys;
  /** The last description, while nothing changes that it was made from. */
  described?: {
    readonly filters: readonly string[];
    readonly until: number;
    readonly description: EnvironmentDescription;
  };
  /** Its part of the stored state. */
  text?: string;
}

const NO_FILTERS: readonly string[] = [];

/** Below every version, so that LaunchDarkly's data always wins over remembered data. */
const REMEMBERED = -1;

type Applicable =
  | ({ readonly kind: 'put' } & PutEntries)
  | Extract<AutoConfigMessage, { kind: 'environment' | 'filter' | 'delete' }>;

/** The state that the auto-configuration messages received so far add up to. Times are Unix ms. */
export function createAutoConfigState() {
  const environments = createVersionedTable<HeldEnvironment>();
  const filters = createFilters();

  const upsertEnvironment = (id: string, record: EnvironmentRecord, now: number) =>
    environments.upsert(id, record.version, (held) => {
      return { record, keys: rotateKeys(held?.keys ?? NO_KEYS, record.statement, now) };
    });

  function describeOne(held: HeldEnvironment, templates: EnvironmentTemplates, now: number): EnvironmentDescription {
    const { record, keys, described } = held;
    const ofProject = filters.keysOf(record.labels.projKey);
    if (described?.filters === ofProject && now <= described.until) return described.description;
    const valid = withoutExpired(keys, now);
    const ends = valid.credentials.map(({ expiresAt = Number.POSITIVE_INFINITY }) => expiresAt);
    const description = describeRecord(record, valid, ofProject, templates);
    held.described = { filters: ofProject, until: Math.min(...ends, Number.POSITIVE_INFINITY), description };
    return description;
  }

  function* putAll(message: Extract<Applicable, { kind: 'put' }>, now: number): Generator<void, boolean> {
    let changed = environments.retain(message.environments);
    if (filters.retain(message.filters)) changed = true;
    for (const [id, record] of message.environments) {
      if (typeof record !== 'string' && upsertEnvironment(id, record, now)) changed = true;
      yield;
    }
    for (const [id, record] of message.filters) {
      if (typeof record !== 'string' && filters.upsert(id, record)) changed = true;
    }
    return changed;
  }

  return {
    /** Returns whether anything changed. Yields between two environments of a put. */
    *apply(message: Applicable, now: number): Generator<void, boolean> {
      switch (message.kind) {
        case 'put':
          return yield* putAll(message, now);
        case 'environment':
          return upsertEnvironment(message.id, message.record, now);
        case 'filter':
          return filters.upsert(message.id, message.record);
        case 'delete':
          return message.table === 'environments'
            ? environments.remove(message.id, message.version)
            : filters.remove(message.id, message.version);
      }
    },

    /** An environment that did not change keeps the same object as its description. Yields between two that did. */
    *describe(templates: EnvironmentTemplates, now: number): Generator<void, EnvironmentDescription[]> {
      const all: EnvironmentDescription[] = [];
      for (const held of environments.values()) {
        const before = held.described?.description;
        const description = describeOne(held, templates, now);
        all.push(description);
        if (description !== before) yield;
      }
      return all;
    },

    /** Everything but tombstones as JSON, keys in plain text. Yields between two environments that changed. */
    *serialize(): Generator<void, string> {
      const texts: string[] = [];
      const ofFilters = JSON.stringify(filters.entries());
      // A list: what changes between two yields belongs to the next state.
      for (const held of environments.values()) {
        const { record, keys, text } = held;
        held.text ??= JSON.stringify([record.environmentId, environmentJson(record), keys]);
        texts.push(held.text);
        if (text === undefined) yield;
      }
      return `{"environments":[${texts.join(',')}],"filters":${ofFilters}}`;
    },

    /**
     * Loads the result of `serialize` into an empty state. Returns false when any part is invalid, since a part alone
     * would look complete and make the other keys unknown. Never throws. Yields between two environments.
     */
    *restore(text: string): Generator<void, boolean> {
      const stored = parse(text);
      if (stored === undefined) return false;
      for (const [id, data, keys] of stored.environments) {
        const record = parseEnvironmentRecord(data, String(id));
        if ('problem' in record || !isHeldKeys(keys)) return false;
        environments.upsert(record.environmentId, REMEMBERED, () => ({ record, keys }));
        yield;
      }
      for (const [id, data] of stored.filters) {
        const record = parseFilterRecord(data);
        if ('problem' in record) return false;
        filters.upsert(String(id), record, REMEMBERED);
      }
      return true;
    },
  };
}

/** The payload filters, and their keys by project. */
function createFilters() {
  const table = createVersionedTable<FilterRecord>();
  /** By project, sorted. A project whose filters did not change keeps its list. Undefined: out of date. */
  let keys: ReadonlyMap<string, readonly string[]> | undefined;
  let before: ReadonlyMap<string, readonly string[]> = new Map();

  function readKeys(): ReadonlyMap<string, readonly string[]> {
    const sets = new Map<string, Set<string>>();
    for (const { projKey, key } of table.values()) {
      sets.set(projKey, (sets.get(projKey) ?? new Set()).add(key));
    }
    const listOf = ([project, set]: [string, Set<string>]): [string, readonly string[]] => {
      const list = [...set].sort();
      const known = before.get(project) ?? NO_FILTERS;
      return [project, isDeepStrictEqual(known, list) ? known : list];
    };
    before = new Map([...sets].map(listOf));
    return before;
  }

  function noting(changed: boolean): boolean {
    if (changed) keys = undefined;
    return changed;
  }

  return {
    upsert: (id: string, filter: FilterRecord, version = filter.version) =>
      noting(table.upsert(id, version, () => filter)),
    remove: (id: string, version: number) => noting(table.remove(id, version)),
    retain: (ids: { has(id: string): boolean }) => noting(table.retain(ids)),
    entries: table.entries,
    keysOf(project: string): readonly string[] {
      keys ??= readKeys();
      return keys.get(project) ?? NO_FILTERS;
    },
  };
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
