/**
 * Reads the events of FDv2, see `common/fdv2-events.ts`. What a client does with each event follows the protocol handlers of
 * @launchdarkly/js-sdk-common 2.26 and of LaunchDarkly's Go SDK 7.14; where they skip a damaged event and commit the rest, this
 * one asks for everything again.
 */
import type { Item, Kind } from '../../lib/flag-table/index.ts';
import { describeKeyProblem } from '../common/item-text.ts';
import { isCount, isObject, type JsonObject, showJson as show } from '../common/json.ts';
import { CLOSE_BRACE } from '../common/json-codes.ts';
import { describeExcessInSlices } from '../common/json-shape.ts';
import { membersInSlices, namesIn, skipSpace } from '../common/json-text.ts';
import { parseTextInSlices } from '../common/sliced-text.ts';
import { createTombstone } from '../common/tombstone.ts';
import type { UnreadableItem } from '../ports.ts';
import { ITEM_BYTES, isUnreadable, prepareItem, type ReadOptions, readItem, sizeOf } from './messages.ts';
import type { Transfer } from './read-events.ts';
import { describeTooLarge, mostParsedIn, receivedLimit } from './received-limit.ts';
import type { Step } from './synchronizer.ts';

const kinds: Readonly<Record<string, Kind>> = { flag: 'features', segment: 'segments' };

const pending = { kind: 'pending' } as const;
const ignored = (why: string) => ({ kind: 'ignored', why }) as const;
const invalid = (problem: string) => ({ kind: 'invalid', problem }) as const;

/** A reader of one connection, or of one answer. */
export function createFDv2Reader(options: ReadOptions) {
  const { held, maxBytes = receivedLimit() } = options;
  const transfer = createTransfer(options);
  const progress: Transfer = { isOpen: () => transfer.isOpen, isPart: (event) => event !== 'heart-beat' };

  return {
    transfer: progress,
    /** Forgets the transfer that has begun: the connection is over, and an object that is still being read belongs to no transfer. */
    reset: () => transfer.begin(undefined),
    /**
     * One event, after the one before was read to its end. Never throws. Yields within large objects. Problems quote only keys, versions
     * and kinds of the payload.
     */
    *read(event: string | undefined, text: string): Generator<void, Step> {
      if (event === undefined || !known.has(event))
        return ignored(`an event of the unknown kind ${show(event ?? 'message')}`);
      if (event === 'heart-beat') return pending;
      const { begun } = transfer;
      const isOver = () => transfer.begun !== begun;
      let body: unknown;
      try {
        const isObjectEvent = event === 'put-object' || event === 'delete-object';
        const mostValues = isObjectEvent ? mostParsedIn(maxBytes) : MOST_VALUES_BESIDES_OBJECTS;
        const excess = yield* describeExcessInSlices(text, mostValues);
        if (excess !== undefined) return yield* skipExcess(transfer, { event, text, isOver }, excess);
        body = yield* parseTextInSlices(text);
      } catch {
        return invalid(`a ${event} of ${text.length} characters is not JSON`);
      }
      if (isOver()) return pending;
      if (!isObject(body)) return invalid(`a ${event} is ${show(body)}, not an object`);
      switch (event) {
        case 'server-intent':
          return readIntent(transfer, body);
        case 'put-object':
        case 'delete-object':
          return yield* readChange(transfer, { event, text, isOver }, body, held);
        case 'payload-transferred':
          return readTransferred(transfer, body);
        case 'goodbye':
          transfer.begin(undefined);
          return readGoodbye(body);
        case 'error':
          // What was sent of the payload no longer counts; the server sends it again, under the same intent or another one.
          transfer.repeat();
          return ignored(`an error: ${show(body.reason)}`);
        default:
          return pending;
      }
    },
  };
}

/** An event about an object. `isOver`: the transfer that it belongs to has been given up meanwhile. */
interface ObjectEvent<Name extends string = 'put-object' | 'delete-object'> {
  readonly event: Name;
  readonly text: string;
  isOver(): boolean;
}

function readIntent(transfer: ObjectTransfer, { payloads }: JsonObject): Step {
  // Only the first one counts, since there is only one payload so far.
  const [payload] = Array.isArray(payloads) ? (payloads as unknown[]) : [];
  if (!isObject(payload)) return invalid('a server-intent names no payload');
  switch (payload.intentCode) {
    case 'xfer-full':
      transfer.begin('full');
      return pending;
    case 'xfer-changes':
      transfer.begin('changes');
      return pending;
    case 'none':
      transfer.begin('changes');
      return { kind: 'current' };
    default:
      return ignored(`a server-intent with the code ${show(payload.intentCode)}`);
  }
}

function* readChange(
  transfer: ObjectTransfer,
  { event, text, isOver }: ObjectEvent,
  body: JsonObject,
  held: ReadOptions['held'],
): Generator<void, Step> {
  if (transfer.kind === undefined) return ignored(`a ${event} before any server-intent`);
  const { key } = body;
  if (typeof body.kind !== 'string' || typeof key !== 'string' || key === '')
    return invalid(`a ${event} has no kind or no key`);
  const kind = Object.hasOwn(kinds, body.kind) ? kinds[body.kind] : undefined;
  if (kind === undefined) return ignored(`a ${event} of the kind ${show(body.kind)}`);
  if (event === 'delete-object') return transfer.take(readDeletion(kind, key, body));
  const json = (yield* membersInSlices(text, ['object'])).get('object') ?? '';
  const before = held?.(kind, key);
  const item = yield* readObject({ kind, key, before }, body, json);
  if (!isUnreadable(item)) yield* prepareItem(item, before);
  return isOver() ? pending : transfer.take(item);
}

/** An object that is too large to be parsed costs only itself. Throws SyntaxError. */
function* skipExcess(
  transfer: ObjectTransfer,
  { event, text, isOver }: ObjectEvent<string>,
  reason: string,
): Generator<void, Step> {
  const names = event === 'put-object' ? yield* namesIn(text, ['kind', 'key']) : undefined;
  if (isOver()) return pending;
  const [kind = '', key = ''] = ['kind', 'key'].map((name) => names?.get(name));
  if (transfer.kind === undefined || key === '') return invalid(`a ${event}: ${reason}`);
  return Object.hasOwn(kinds, kind)
    ? transfer.take({ kind: kinds[kind] ?? 'features', key, reason })
    : ignored(`a ${event} of the kind ${show(kind)}`);
}

function readTransferred(transfer: ObjectTransfer, { state }: JsonObject): Step {
  if (transfer.kind === undefined) return invalid('a payload-transferred before any server-intent');
  if (typeof state !== 'string') return invalid('a payload-transferred has no state');
  const all = transfer.items();
  const isFull = transfer.kind === 'full';
  if (isFull && transfer.isRepeated && all.length === 0)
    return invalid('an empty transfer of everything after an error');
  // Without another intent, changes follow.
  transfer.begin('changes');
  const name = isNameable(state) ? state : '';
  if (!isFull) return { kind: 'changes', changes: all, state: name };
  const items = all.filter((one): one is Item => !isUnreadable(one));
  return { kind: 'full', items, unreadable: all.filter(isUnreadable), state: name };
}

type ObjectTransfer = ReturnType<typeof createTransfer>;

/** What LaunchDarkly has sent of a payload so far. Counts as received until it ends or another one begins. */
function createTransfer({ held, maxBytes = receivedLimit(), received }: ReadOptions) {
  /** Undefined: LaunchDarkly has not said yet what it sends. */
  let kind: 'full' | 'changes' | undefined;
  /** If an object comes twice, the last one counts. */
  let changes = new Map<string, { readonly item: Item | UnreadableItem; readonly bytes: number }>();
  /** Size of the changes, without what memory holds anyway. */
  let sizeBytes = 0;
  /** After an error, the server began the transfer again. */
  let isRepeated = false;
  let begun = 0;
  const counted = received?.part('what is transferred');

  function begin(next: typeof kind): void {
    kind = next;
    begun += 1;
    changes = new Map();
    sizeBytes = 0;
    counted?.hold(0);
    isRepeated = false;
  }

  return {
    get kind() {
      return kind;
    },
    /** Live changes have no intent: they begin with the first one. */
    get isOpen() {
      return kind === 'full' || changes.size > 0;
    },
    /** How many have begun. */
    get begun() {
      return begun;
    },
    get isRepeated() {
      return isRepeated;
    },
    begin,
    repeat(): void {
      begin(kind);
      isRepeated = true;
    },
    /** Invalid if it takes too much: the transfer has to begin again. */
    take(item: Item | UnreadableItem): Step {
      const id = `${item.kind} ${item.key}`;
      const bytes = held?.(item.kind, item.key) === item ? ITEM_BYTES : sizeOf(item);
      sizeBytes += bytes - (changes.get(id)?.bytes ?? 0);
      if (sizeBytes > maxBytes) return invalid(describeTooLarge('what is transferred', maxBytes));
      const noRoom = counted?.hold(sizeBytes);
      if (noRoom !== undefined) return invalid(noRoom);
      changes.set(id, { item, bytes });
      return pending;
    },
    items: () => Array.from(changes.values(), ({ item }) => item),
  };
}

/** In events that carry no object, such as an intent or a goodbye. */
const MOST_VALUES_BESIDES_OBJECTS = 1_000;

/** Servers refuse longer request lines, most from 8 KiB on. */
const LONGEST_STATE = 4_096;

/** Whether a query can name it. If not, the data still counts, but the next connection has to ask for everything. */
function isNameable(state: string): boolean {
  return state.length <= LONGEST_STATE && state.isWellFormed();
}

const known: ReadonlySet<string> = new Set([
  'server-intent',
  'put-object',
  'delete-object',
  'payload-transferred',
  'goodbye',
  'error',
  'heart-beat',
]);

/** `before` is what memory holds: if the text is the same, so is the item. */
function* readObject(
  { kind, key, before }: { kind: Kind; key: string; before: Item | undefined },
  { object, version }: JsonObject,
  text: string,
): Generator<void, Item | UnreadableItem> {
  if (before?.json === text) return before;
  if (!isObject(object)) return { kind, key, reason: `must be an object, not ${show(object)}` };
  // What an object lacks is in its envelope. It is completed in place, since copying an object with very many names would take long.
  const data = object as Record<string, unknown>;
  const added: string[] = [];
  for (const [name, value] of Object.entries({ key, version })) {
    if (data[name] !== undefined) continue;
    data[name] = value;
    // An invalid version is refused below; it may be long, so it is not written.
    added.push(`"${name}":${isCount(value) || value === key ? JSON.stringify(value) : null}`);
  }
  const isEmpty = text.charCodeAt(skipSpace(text, 1)) === CLOSE_BRACE;
  const rest = added.length === 0 ? text : `{${added.join(',')}${isEmpty ? '' : ','}${text.slice(1)}`;
  return (yield* readItem(kind, key, data, rest)) ?? { kind, key, reason: 'must not be null' };
}

function readGoodbye({ reason, protocolFallbackTTL: seconds }: JsonObject): Step {
  const isFallback = typeof seconds === 'number' && Number.isFinite(seconds);
  return {
    kind: 'goodbye',
    reason: typeof reason === 'string' ? reason : 'none given',
    ...(isFallback && { fallbackMs: Math.max(0, seconds) * 1_000 }),
  };
}

function readDeletion(kind: Kind, key: string, { version }: JsonObject): Item | UnreadableItem {
  const problem = describeKeyProblem(key);
  if (problem !== undefined) return { kind, key, reason: problem };
  return isCount(version)
    ? createTombstone(kind, key, version)
    : { kind, key, reason: `a deletion with the version ${show(version)}` };
}
