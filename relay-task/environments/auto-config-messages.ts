import { describeType, isCount, isObject, type JsonObject, showJson } from '../common/json.ts';
import { parseTextInSlices } from '../common/sliced-text.ts';
import { type EnvironmentRecord, LONGEST_ID, parseEnvironmentRecord } from './environment-record.ts';
import { member } from './loose-json.ts';

/** A payload filter of a project. */
export interface FilterRecord {
  readonly projKey: string;
  readonly key: string;
  readonly version: number;
}

/** By ID; a string is the reason why an entry is invalid. */
export type Entries<T> = ReadonlyMap<string, T | string>;

export interface PutEntries {
  readonly environments: Entries<EnvironmentRecord>;
  readonly filters: Entries<FilterRecord>;
}

/** What an event of the auto-configuration stream asks for. */
export type AutoConfigMessage =
  /** Its entries can be thousands, so they are read in slices: yields between two of them. */
  | { readonly kind: 'put'; read(): Generator<void, PutEntries> }
  | { readonly kind: 'environment'; readonly id: string; readonly record: EnvironmentRecord }
  | { readonly kind: 'filter'; readonly id: string; readonly record: FilterRecord }
  | { readonly kind: 'delete'; readonly table: Table; readonly id: string; readonly version: number }
  | { readonly kind: 'reconnect' }
  /** An event or a path that is not for us; older relays ignore them, too. */
  | { readonly kind: 'ignored'; readonly why: string }
  /** Damaged as a whole: only a new connection, which begins with a complete put, repairs it. */
  | { readonly kind: 'invalid'; readonly problem: string };

type Table = 'environments' | 'filters';

/** Parses one event, in steps. Never throws. Problems name IDs, paths and fields, and quote nothing else of the payload. */
export function* parseAutoConfigMessage(event: string | undefined, text: string): Generator<void, AutoConfigMessage> {
  if (event === 'reconnect') return { kind: 'reconnect' };
  if (event !== 'put' && event !== 'patch' && event !== 'delete') {
    return { kind: 'ignored', why: `an event of the unknown kind ${showJson(event ?? 'message')}` };
  }
  const invalid = (problem: string): AutoConfigMessage => ({ kind: 'invalid', problem });
  let body: unknown;
  try {
    body = yield* parseTextInSlices(text);
    yield;
  } catch {
    return invalid(`a ${event} of ${text.length} characters is not JSON`);
  }
  if (!isObject(body)) return invalid(`a ${event} is ${describeType(body)}, not an object`);
  const path = member(body, 'path') ?? '';
  const ignored: AutoConfigMessage = { kind: 'ignored', why: `a ${event} for the path ${showJson(path)}` };
  if (event === 'put') return path === '' || path === '/' ? readPut(body) : ignored;
  const [, table, id] = /^\/(environments|filters)\/(.+)$/s.exec(String(path)) ?? [];
  // Nothing with such an ID is ever held.
  if (id === undefined || id.length > LONGEST_ID) return ignored;
  return event === 'patch' ? readPatch(table as Table, id, body) : readDelete(table as Table, id, body);
}

function readPut(body: JsonObject): AutoConfigMessage {
  const data = member(body, 'data');
  const environments = isObject(data) ? member(data, 'environments') : undefined;
  const filters = isObject(data) ? (member(data, 'filters') ?? {}) : undefined;
  // Without this check a damaged put would look like an empty one and remove every environment.
  if (!isObject(environments)) return { kind: 'invalid', problem: 'a put has no data.environments' };
  if (!isObject(filters)) return { kind: 'invalid', problem: `data.filters of a put is ${describeType(filters)}` };
  return {
    kind: 'put',
    *read() {
      return {
        environments: yield* readEntries(environments, parseEnvironmentRecord),
        filters: yield* readEntries(filters, parseFilterRecord),
      };
    },
  };
}

function* readEntries<T extends object>(
  members: JsonObject,
  parse: (data: unknown, id: string) => T | { readonly problem: string },
): Generator<void, Entries<T>> {
  const entries = new Map<string, T | string>();
  // Object.entries would take much longer.
  for (const id of Object.keys(members)) {
    const data = members[id];
    const record = parse(data, id);
    entries.set(id, isProblem(record) ? record.problem : record);
    yield;
  }
  return entries;
}

function readPatch(table: Table, id: string, body: JsonObject): AutoConfigMessage {
  const data = member(body, 'data');
  const invalid = (problem: string): AutoConfigMessage => ({ kind: 'invalid', problem: `${table}/${id}: ${problem}` });
  if (table === 'filters') {
    const record = parseFilterRecord(data);
    return isProblem(record) ? invalid(record.problem) : { kind: 'filter', id, record };
  }
  const record = parseEnvironmentRecord(data, id);
  return isProblem(record) ? invalid(record.problem) : { kind: 'environment', id, record };
}

function readDelete(table: Table, id: string, body: JsonObject): AutoConfigMessage {
  const version = member(body, 'version') ?? 0;
  if (isCount(version)) return { kind: 'delete', table, id, version };
  return { kind: 'invalid', problem: `a delete of ${table}/${id} has ${describeType(version)} for a version` };
}

export function parseFilterRecord(data: unknown): FilterRecord | { readonly problem: string } {
  if (!isObject(data)) return { problem: `must be an object, not ${describeType(data)}` };
  const projKey = member(data, 'projKey');
  const key = member(data, 'key');
  const version = member(data, 'version') ?? 0;
  if (typeof projKey === 'string' && isName(key) && isCount(version)) {
    return { projKey, key, version };
  }
  return { problem: 'must have a projKey, a key and a version' };
}

/** Filter keys become part of URLs. */
function isName(key: unknown): key is string {
  return typeof key === 'string' && key !== '' && key.isWellFormed();
}

function isProblem(value: object): value is { readonly problem: string } {
  return 'problem' in value;
}
