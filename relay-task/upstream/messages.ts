import { describeFlagProblemInSteps, describeSegmentProblemInSteps } from '../../lib/evaluation/index.ts';
import type { Item, Kind } from '../../lib/flag-table/index.ts';
import { hashInSlices } from '../common/item-hash.ts';
import { compareInSlices } from '../common/item-meaning.ts';
import { completeTextInSlices, describeKeyProblem } from '../common/item-text.ts';
import { describeType, isCount, isObject, type JsonObject, showJson as show } from '../common/json.ts';
import { describeExcessInSlices } from '../common/json-shape.ts';
import { membersInSlices, namesIn } from '../common/json-text.ts';
import { prerequisitesOf, rememberPrerequisites } from '../common/prerequisites.ts';
import { parseTextInSlices } from '../common/sliced-text.ts';
import { JsonExcessError, type TakenApart, takeApart } from '../common/take-apart.ts';
import { createTombstone } from '../common/tombstone.ts';
import type { UnreadableItem } from '../ports.ts';
import {
  bytesOf,
  describeTooLarge,
  mostParsedIn,
  mostValuesIn,
  type Received,
  receivedLimit,
} from './received-limit.ts';

/** A parsed event of LaunchDarkly's `/all` stream. */
export type Message =
  | { readonly kind: 'put'; readonly items: readonly Item[]; readonly unreadable: readonly UnreadableItem[] }
  | { readonly kind: 'upsert'; readonly item: Item }
  | { readonly kind: 'skip'; readonly item: UnreadableItem }
  /** An unknown event or path, which LaunchDarkly's SDKs ignore as well. */
  | { readonly kind: 'ignored'; readonly why: string }
  /** The whole event is damaged; the stream must reconnect. */
  | { readonly kind: 'invalid'; readonly problem: string };

const collections = [
  { kind: 'segments', name: 'segments' },
  { kind: 'features', name: 'flags' },
] as const satisfies readonly { kind: Kind; name: string }[];

export interface ReadOptions {
  /** What memory holds. */
  readonly held?: Held | undefined;
  /** Of the new items of one set, in memory; `receivedLimit`. */
  readonly maxBytes?: number | undefined;
  /** Where a transfer counts until it has ended. Undefined: nowhere. */
  readonly received?: Received | undefined;
}

interface Limits {
  readonly held: Held | undefined;
  readonly maxBytes: number;
  /** The path to the collections, for a problem. */
  readonly where: 'data.' | '';
}

/** What memory holds; an item with identical JSON is not validated again. */
export type Held = (kind: Kind, key: string) => Item | undefined;

const names = collections.map(({ name }) => name);

/**
 * Parses one event, with a yield after each item, and within large ones. Never throws. Problems quote only keys, versions and paths
 * of the payload.
 */
export function* readMessage(
  event: string | undefined,
  text: string,
  { held, maxBytes = receivedLimit() }: ReadOptions = {},
): Generator<void, Message> {
  if (event !== 'put' && event !== 'patch' && event !== 'delete') {
    return { kind: 'ignored', why: `an event of the unknown kind ${show(event ?? 'message')}` };
  }
  try {
    if (event === 'put') {
      return yield* readPut(yield* takeApart(text, ['data'], names, mostValuesIn(maxBytes)), {
        held,
        maxBytes,
        where: 'data.',
      });
    }
    const excess = yield* describeExcessInSlices(text, mostParsedIn(maxBytes));
    return excess === undefined ? yield* readChange(event, text) : yield* skipChange(event, text, excess);
  } catch (error) {
    if (error instanceof JsonExcessError) return { kind: 'invalid', problem: `a ${event}: ${error.message}` };
    if (!(error instanceof SyntaxError)) throw error;
    return { kind: 'invalid', problem: `a ${event} of ${text.length} characters is not JSON` };
  }
}

/** In characters: reading these takes a millisecond or two. */
export const LARGE_CHARACTERS = 16 * 1024;

/**
 * Checks the item in `data`, whose raw text is `json`, and completes it. A large one is also hashed, and its prerequisites are found.
 * Undefined for null, which older relays send for a deletion. Yields within large items.
 */
export function* readItem(
  kind: Kind,
  key: string,
  data: unknown,
  json: string,
): Generator<void, Item | UnreadableItem | undefined> {
  if (data === null) return undefined;
  const unreadable = (reason: string): UnreadableItem => ({ kind, key, reason });
  if (!isObject(data)) return unreadable(`must be an object, not ${describeType(data)}`);
  const keyProblem = describeKeyProblem(key);
  if (keyProblem !== undefined) return unreadable(keyProblem);
  const { version, deleted } = data;
  if (!isCount(version)) return unreadable(`version must be a whole number from 0, not ${show(version)}`);
  if (deleted === true) return createTombstone(kind, key, version);
  if (data.key !== key)
    return unreadable(`key must be ${show(key)} as in the map that holds it, not ${show(data.key)}`);
  const check = kind === 'features' ? describeFlagProblemInSteps : describeSegmentProblemInSteps;
  const problem = yield* check(data);
  if (problem !== undefined) return unreadable(problem);
  const item = { kind, key, version, deleted: false, json: yield* completeTextInSlices(kind, data, json) };
  if (json.length > LARGE_CHARACTERS) {
    // Otherwise it would be parsed and hashed in one turn, once it is held.
    rememberPrerequisites(item, data);
    yield* hashInSlices(item);
  }
  return item;
}

/**
 * Finds the hash and the prerequisites of an item, and whether it means the same as the held item of equal version. Otherwise this would be
 * done for all items of a set in the turn that applies it, or that first asks for it.
 */
export function* prepareItem(item: Item, before: Item | undefined): Generator<void, void> {
  if (item.deleted) return;
  yield* hashInSlices(item);
  prerequisitesOf(item);
  if (before?.version === item.version) yield* compareInSlices(before, item);
}

export function isUnreadable(item: Item | UnreadableItem): item is UnreadableItem {
  return 'reason' in item;
}

/** Throws SyntaxError. */
function* readPut({ frame, parts }: TakenApart, options: Limits): Generator<void, Message> {
  if (!isObject(frame)) return notAnObject('put', frame);
  // Some servers send no path with everything; LaunchDarkly's SDKs accept that.
  const path = frame.path ?? '';
  if (path !== '' && path !== '/') return { kind: 'ignored', why: `a put for the path ${show(path)}` };
  const { data } = frame;
  // Without this check a damaged put would count as an empty environment and remove every flag.
  if (!isObject(data) || !isObject(data.flags)) return { kind: 'invalid', problem: 'a put has no data.flags' };
  const read = yield* readCollections(data, parts, options);
  return typeof read === 'string' ? { kind: 'invalid', problem: `in a put, ${read}` } : { kind: 'put', ...read };
}

const notAnObject = (event: string, body: unknown) =>
  ({ kind: 'invalid', problem: `a ${event} is ${describeType(body)}, not an object` }) as const;

interface DataSet {
  readonly items: readonly Item[];
  readonly unreadable: readonly UnreadableItem[];
}

/**
 * Parses `{"flags":{…},"segments":{…}}`, as stored in archives, item by item with a yield after each. Never throws. There is no limit, since
 * an operator chose the file.
 */
export function* readDataSet(text: string): Generator<void, DataSet | { readonly problem: string }> {
  try {
    const { frame, parts } = yield* takeApart(text, [], names);
    if (!isObject(frame) || !isObject(frame.flags)) return { problem: 'has no flags' };
    const read = yield* readCollections(frame, parts, { held: undefined, maxBytes: Infinity, where: '' });
    return typeof read === 'string' ? { problem: read } : read;
  } catch (error) {
    if (error instanceof JsonExcessError) return { problem: `cannot be read: ${error.message}` };
    if (!(error instanceof SyntaxError)) throw error;
    return { problem: 'is not JSON' };
  }
}

/** Returns a string when the data is invalid: the problem. Throws SyntaxError. */
function* readCollections(
  data: JsonObject,
  parts: TakenApart['parts'],
  { held, maxBytes, where }: Limits,
): Generator<void, DataSet | string> {
  const items: Item[] = [];
  const unreadable: UnreadableItem[] = [];
  let sizeBytes = 0;
  for (const { kind, name } of collections) {
    const members = data[name];
    if (members === undefined) continue;
    if (!isObject(members)) return `${where}${name} is ${describeType(members)}`;
    for (const key of Object.keys(members)) {
      const text = parts.get(name)?.get(key) ?? '';
      const before = held?.(kind, key);
      const item = before?.json === text ? before : yield* readItemText(kind, key, text, mostParsedIn(maxBytes));
      yield;
      if (item === undefined) continue;
      if (item !== before) sizeBytes += sizeOf(item);
      if (sizeBytes > maxBytes) return describeTooLarge('the whole set of flags and segments', maxBytes);
      if (isUnreadable(item)) unreadable.push(item);
      else items.push(item);
    }
  }
  return { items, unreadable };
}

/** Throws SyntaxError. */
function* readItemText(kind: Kind, key: string, text: string, mostValues: number): ReturnType<typeof readItem> {
  const excess = yield* describeExcessInSlices(text, mostValues);
  if (excess !== undefined) return { kind, key, reason: excess };
  return yield* readItem(kind, key, yield* parseTextInSlices(text), text);
}

/** What an item takes besides its text. */
export const ITEM_BYTES = 256;

/** In memory. */
export function sizeOf(item: Item | UnreadableItem): number {
  return ITEM_BYTES + bytesOf(isUnreadable(item) ? item.reason : item.json);
}

/** A change that is too large to be parsed costs only its item. Throws SyntaxError. */
function* skipChange(event: 'patch' | 'delete', text: string, excess: string): Generator<void, Message> {
  const target = targetOf((yield* namesIn(text, ['path'])).get('path'));
  return target
    ? { kind: 'skip', item: { ...target, reason: excess } }
    : { kind: 'invalid', problem: `a ${event}: ${excess}` };
}

/** Undefined when the path is that of no item. */
function targetOf(path = ''): { readonly kind: Kind; readonly key: string } | undefined {
  const collection = collections.find(({ name }) => path.startsWith(`/${name}/`));
  const key = collection ? path.slice(collection.name.length + 2) : '';
  return collection && key !== '' ? { kind: collection.kind, key } : undefined;
}

/** Throws SyntaxError. */
function* readChange(event: 'patch' | 'delete', text: string): Generator<void, Message> {
  const body = yield* parseTextInSlices(text);
  if (!isObject(body)) return notAnObject(event, body);
  const { path } = body;
  if (typeof path !== 'string') return { kind: 'invalid', problem: `a ${event} has no path` };
  const target = targetOf(path);
  if (!target) return { kind: 'ignored', why: `a ${event} for the path ${show(path)}` };
  const { kind, key } = target;
  if (event === 'delete') {
    const { version } = body;
    if (!isCount(version)) return { kind: 'invalid', problem: `a delete of ${path} has the version ${show(version)}` };
    const reason = describeKeyProblem(key);
    if (reason !== undefined) return { kind: 'skip', item: { kind, key, reason } };
    return { kind: 'upsert', item: createTombstone(kind, key, version) };
  }
  if (!isObject(body.data)) return { kind: 'invalid', problem: `a patch of ${path} has no data` };
  const item = yield* readItem(kind, key, body.data, (yield* membersInSlices(text, ['data'])).get('data') ?? '');
  if (item === undefined) return { kind: 'ignored', why: 'an empty patch' };
  return isUnreadable(item) ? { kind: 'skip', item } : { kind: 'upsert', item };
}
