/**
 * Bodies that many clients request, made of the normal form of items: equal bytes in every relay that holds the same items, as their
 * strong ETags promise (RFC 9110 section 8.8). They are made in slices, once for all requests meanwhile, and what they take counts.
 */
import { createHash } from 'node:crypto';
import type { Item, Kind } from '../../lib/flag-table/index.ts';
import { type Budget, createBudget } from '../common/budget.ts';
import { type FDv2Event, intentEvent, itemEvent, transferredEvent } from '../common/fdv2-events.ts';
import { normalTextInSlices } from '../common/item-text.ts';
import { sortInSlices } from '../common/sliced-sort.ts';
import { resultOf } from '../common/slices.ts';
import type { ItemView } from '../ports.ts';
import { type Section, sectionOf } from './blocks.ts';
import type { Compression, SharedBody } from './encoding.ts';
import type { ServedView } from './services.ts';
import { type Packed, sharedBody } from './shared-body.ts';
import { createSharedWork, type SharedWork } from './shared-work.ts';
import { createShelf, type Kept, type Shelf } from './shelf.ts';

/** Of polls without a basis, and with one that is not remembered. */
export type FullReason = 'payload-missing' | 'cant-catchup';
export type Whole = 'all' | 'flags' | 'segments' | FullReason;

type Promised<T> = T | Promise<T>;

export interface Bodies {
  /** The whole set as it is now; its digest is `digestOfWhole`. Rejects with Refusal 503 if there is no memory for it. */
  whole(view: ServedView, what: Whole): Promised<SharedBody>;
  /** The same body compressed, if it was before and is kept. */
  compressedWhole(view: ServedView, what: Whole, encoding: Compression): Pick<SharedBody, 'parts' | 'hold'> | undefined;
  /** One item; its digest is that of its normal form. Rejects as `whole` does. */
  item(view: ServedView, item: Item): Promised<SharedBody>;
  /** FDv2's events since a state; undefined if it is not remembered. Its digest is that of the text. Rejects as `whole` does. */
  changes(view: ServedView, basis: string): Promised<SharedBody | undefined>;
  /** The tag, without `relay-`, that ld-relay gives the set of all flags: 15 hex digits of a SHA-1 over keys and versions. */
  legacyDigest(view: ServedView): Promised<string>;
}

/** What a view's bodies are made of, as far as it is kept. */
interface Store {
  readonly lane: string;
  readonly sections: Map<string, KeptSection>;
  readonly packed: Map<string, Packed>;
  readonly changes: Map<string, KeptBody & { readonly of: string }>;
  legacy: { readonly generation: number; readonly tag: string } | undefined;
}

interface KeptSection {
  readonly of: string;
  readonly section: Section;
  readonly kept: Kept;
}

interface KeptBody {
  readonly parts: readonly Buffer[];
  readonly digest: string;
  readonly packed: Map<string, Packed>;
  readonly kept: Kept;
}

interface Tools {
  readonly shelf: Shelf;
  readonly work: SharedWork;
}

/** `budget`: for what they take while they are kept or sent. */
export function createBodies(budget: Budget = createBudget(Number.POSITIVE_INFINITY)): Bodies {
  const tools: Tools = { shelf: createShelf(budget), work: createSharedWork() };
  const stores = new WeakMap<ItemView, Store>();
  let names = 0;
  const storeOf = (view: ItemView): Store => {
    let store = stores.get(view);
    if (!store) {
      names += 1;
      store = { lane: String(names), sections: new Map(), packed: new Map(), changes: new Map(), legacy: undefined };
      stores.set(view, store);
    }
    return store;
  };
  const items = createItemBodies(tools);
  return {
    whole: (view, what) => wholeOf(view, storeOf(view), what, tools),
    compressedWhole(view, what, encoding) {
      const { lane, packed } = storeOf(view);
      const known = packed.get(`${what} ${encoding}`);
      if (!known?.done || known.of !== digestOfWhole(view, what)) return undefined;
      known.done.kept.used();
      return { parts: [known.done.bytes], hold: (buffers) => tools.shelf.hold(lane, buffers) };
    },
    item: (view, item) => items(storeOf(view).lane, item),
    changes: (view, basis) => changesOf(view, storeOf(view), basis, tools),
    legacyDigest(view) {
      const store = storeOf(view);
      const { generation } = view;
      if (store.legacy?.generation === generation) return store.legacy.tag;
      return tools.work.run(
        { owner: store, name: 'legacy', lanes: [store.lane, 'legacy'], stateOf: () => String(view.generation) },
        () => legacyDigest(view, store),
      );
    },
  };
}

/** The digest that the whole set would have now. */
export function digestOfWhole(view: ServedView, what: Whole): string {
  return layouts[what].digest(view);
}

interface Layout {
  digest(view: ServedView): string;
  readonly form: Form;
  /** Text, or the items of a kind. */
  parts(state: string): readonly (string | { readonly of: Kind })[];
}

interface Form {
  readonly name: string;
  /** How an item is written, behind another one. */
  write(item: Item, normal: string): string;
  /** How much of that is the separator. */
  readonly separatorBytes: number;
}

const members: Form = {
  name: 'members',
  write: ({ key }, normal) => `,${JSON.stringify(key)}:${normal}`,
  separatorBytes: 1,
};
/** The intent comes before all of them. */
const events: Form = {
  name: 'events',
  write: (item, json) => `,${textOf(itemEvent({ ...item, json }))}`,
  separatorBytes: 0,
};
const features = { of: 'features' } as const;
const segments = { of: 'segments' } as const;

const full = (reason: FullReason): Layout => ({
  // From now on, it is remembered what leads on from that state.
  digest: (view) => view.state(),
  form: events,
  parts: (state) => [
    `{"events":[${textOf(intentEvent({ code: 'xfer-full', reason }))}`,
    features,
    segments,
    `,${textOf(transferredEvent(state))}]}`,
  ],
});

const layouts: Readonly<Record<Whole, Layout>> = {
  all: {
    digest: (view) => view.digest('all'),
    form: members,
    parts: () => ['{"flags":{', features, '},"segments":{', segments, '}}'],
  },
  flags: { digest: (view) => view.digest('features'), form: members, parts: () => ['{', features, '}'] },
  segments: { digest: (view) => view.digest('segments'), form: members, parts: () => ['{', segments, '}'] },
  'payload-missing': full('payload-missing'),
  'cant-catchup': full('cant-catchup'),
};

/** An event in the answer to a poll. */
export function textOf({ event, json }: FDv2Event): string {
  return `{"event":"${event}","data":${json}}`;
}

function wholeOf(view: ServedView, store: Store, what: Whole, tools: Tools): Promised<SharedBody> {
  const { digest, form } = layouts[what];
  const known = assembled(view, store, what, tools);
  if (known) return known;
  return tools.work.run({ owner: store, name: what, lanes: [store.lane, form.name], stateOf: () => digest(view) }, () =>
    madeOf(view, store, what, tools),
  );
}

/** From what is kept; undefined if something is missing. */
function assembled(view: ServedView, store: Store, what: Whole, tools: Tools): SharedBody | undefined {
  const { form, parts } = layouts[what];
  const found = new Map<Kind, Section>();
  const digest = digestOfWhole(view, what);
  for (const part of parts(digest)) {
    if (typeof part === 'string') continue;
    const known = store.sections.get(`${form.name} ${part.of}`);
    if (known?.of !== view.digest(part.of)) return undefined;
    known.kept.used();
    found.set(part.of, known.section);
  }
  return bodyOfSections(store, what, digest, found, tools);
}

/** All of one moment, at which it begins. */
function* madeOf(view: ServedView, store: Store, what: Whole, tools: Tools): Generator<void, SharedBody> {
  const { form, parts } = layouts[what];
  const digest = digestOfWhole(view, what);
  const wanted = parts(digest).flatMap((part) => {
    if (typeof part === 'string') return [];
    const of = view.digest(part.of);
    const known = store.sections.get(`${form.name} ${part.of}`);
    return { kind: part.of, of, known, items: known?.of === of ? undefined : [...view.items(part.of)] };
  });
  const found = new Map<Kind, Section>();
  for (const { kind, of, known, items } of wanted) {
    if (known) found.set(kind, known.section);
    if (items) found.set(kind, yield* keptSection(store, { form, kind, of, items }, known, tools));
  }
  return bodyOfSections(store, what, digest, found, tools);
}

/** What an item takes in a section besides its text. */
const BYTES_OF_ITEM = 64;

function* keptSection(
  { lane, sections }: Store,
  { form, kind, of, items }: { form: Form; kind: Kind; of: string; items: readonly Item[] },
  before: KeptSection | undefined,
  { shelf }: Tools,
): Generator<void, Section> {
  const name = `${form.name} ${kind}`;
  const wholeBytes = items.reduce((sum, { json }) => sum + json.length, 0);
  const releases: (() => void)[] = [];
  try {
    const section = yield* sectionOf(items, {
      before: before?.section,
      write: form.write,
      made(bytes) {
        shelf.makeRoom(lane, bytes.length, wholeBytes);
        releases.push(shelf.hold(lane, [bytes]));
      },
    });
    const drop = () => {
      if (sections.get(name) === entry) sections.delete(name);
    };
    const buffers = section.blocks.map(({ bytes }) => bytes);
    const entry: KeptSection = { of, section, kept: shelf.keep(lane, buffers, drop, items.length * BYTES_OF_ITEM) };
    sections.get(name)?.kept.remove();
    sections.set(name, entry);
    return section;
  } finally {
    for (const release of releases) release();
  }
}

function bodyOfSections(
  store: Store,
  what: Whole,
  digest: string,
  found: ReadonlyMap<Kind, Section>,
  tools: Tools,
): SharedBody {
  const { form, parts } = layouts[what];
  const buffers = parts(digest).flatMap((part) => {
    if (typeof part === 'string') return Buffer.from(part);
    const blocks = (found.get(part.of)?.blocks ?? []).map(({ bytes }) => bytes);
    return blocks.map((bytes, index) => (index === 0 ? bytes.subarray(form.separatorBytes) : bytes));
  });
  // Of the parts, only the blocks are shared; the first one of a kind is a view of its block.
  const shared = [...found.values()].flatMap(({ blocks }) => blocks.map(({ bytes }) => bytes));
  return sharedBody(
    { lane: store.lane, packed: store.packed, name: what, digest, parts: buffers, shared },
    tools.shelf,
  );
}

/** Smaller items are written at once. */
const SMALL_CHARACTERS = 8 * 1024;

function createItemBodies(tools: Tools): (lane: string, item: Item) => Promised<SharedBody> {
  const { shelf, work } = tools;
  const held = new WeakMap<Item, KeptBody>();
  const bodyOf = (lane: string, { parts, digest, packed, kept }: KeptBody) => {
    kept.used();
    return sharedBody({ lane, packed, name: '', digest, parts }, tools.shelf);
  };
  function* made(lane: string, item: Item): Generator<void, SharedBody> {
    const text = yield* normalTextInSlices(item.kind, item.json);
    const collected = collect(lane, 2 * text.length, tools);
    try {
      yield* collected.add(text);
      return bodyOf(lane, keepItem(lane, item, yield* collected.end()));
    } finally {
      collected.release();
    }
  }
  /** It must not keep the item alive. */
  function keepItem(lane: string, item: Item, { parts, digest }: Collected): KeptBody {
    const known = new WeakRef(item);
    const drop = () => {
      const dropped = known.deref();
      if (dropped) held.delete(dropped);
    };
    const packed = new Map<string, Packed>();
    const body: KeptBody = { parts, digest, packed, kept: shelf.keep(lane, parts, drop) };
    held.set(item, body);
    return body;
  }
  return (lane, item) => {
    const known = held.get(item);
    if (known) return bodyOf(lane, known);
    if (item.json.length <= SMALL_CHARACTERS) return resultOf(made(lane, item));
    return work.run({ owner: item, name: 'item', lanes: [lane, 'item'], stateOf: () => '' }, () => made(lane, item));
  };
}

/** What belongs to another state than this one is dropped. */
function changesOf(view: ServedView, store: Store, basis: string, tools: Tools): Promised<SharedBody | undefined> {
  const { lane, changes } = store;
  const state = view.state();
  const known = changes.get(basis);
  if (known?.of === state) {
    known.kept.used();
    return bodyOfChanges(lane, known, tools);
  }
  return tools.work.run(
    { owner: store, name: `changes ${basis}`, lanes: [lane, 'changes'], stateOf: () => view.state() },
    () => madeChanges(view, store, basis, tools),
  );
}

/** They are for few clients, most of which name them once. */
function bodyOfChanges(lane: string, { packed, digest, parts }: KeptBody, tools: Tools): SharedBody {
  return sharedBody({ lane, packed, name: '', digest, parts, effort: 'one' }, tools.shelf);
}

function* madeChanges(
  view: ServedView,
  { lane, changes }: Store,
  basis: string,
  tools: Tools,
): Generator<void, SharedBody | undefined> {
  const of = view.state();
  const found = view.fdv2.since(basis);
  if (!found) return undefined;
  const wholeBytes = found.reduce((sum, { json }) => sum + json.length, 0);
  const collected = collect(lane, wholeBytes, tools);
  try {
    for (const [index, event] of found.entries()) {
      yield* collected.add(`${index === 0 ? '{"events":[' : ','}${textOf(event)}`);
    }
    yield* collected.add(']}');
    const { parts, digest } = yield* collected.end();
    for (const [other, { of: otherState, kept }] of changes) {
      if (otherState !== of && changes.delete(other)) kept.remove();
    }
    const drop = () => {
      if (changes.get(basis) === body) changes.delete(basis);
    };
    const body = { of, parts, digest, packed: new Map<string, Packed>(), kept: tools.shelf.keep(lane, parts, drop) };
    changes.set(basis, body);
    return bodyOfChanges(lane, body, tools);
  } finally {
    collected.release();
  }
}

/** A text in parts, and its digest. */
interface Collected {
  readonly parts: readonly Buffer[];
  readonly digest: string;
}

const PART_BYTES = 64 * 1024;
/** Less than a millisecond's work. */
const HASHED_AT_ONCE = 256 * 1024;

/** Joins small texts, and hashes all; the parts count until they are released. */
function collect(lane: string, wholeBytes: number, { shelf }: Tools) {
  const hash = createHash('sha256');
  const parts: Buffer[] = [];
  const releases: (() => void)[] = [];
  let next: string[] = [];
  let size = 0;
  function* close(): Generator<void, void> {
    if (size === 0) return;
    const bytes = Buffer.from(next.join(''));
    shelf.makeRoom(lane, bytes.length, wholeBytes);
    releases.push(shelf.hold(lane, [bytes]));
    parts.push(bytes);
    next = [];
    size = 0;
    for (let at = 0; at < bytes.length; at += HASHED_AT_ONCE) {
      hash.update(bytes.subarray(at, at + HASHED_AT_ONCE));
      yield;
    }
  }
  return {
    *add(text: string): Generator<void, void> {
      if (size + text.length > PART_BYTES) yield* close();
      next.push(text);
      size += text.length;
    },
    *end(): Generator<void, Collected> {
      yield* close();
      return { parts, digest: shortened(hash.digest('hex')) };
    },
    release() {
      for (const release of releases) release();
    },
  };
}

function* legacyDigest(view: ItemView, store: Store): Generator<void, string> {
  const { generation } = view;
  const flags = [...view.items('features')].map(({ key, version }) => ({ key, version }));
  const named: { readonly key: Buffer; readonly version: number }[] = [];
  for (const { key, version } of flags) {
    named.push({ key: Buffer.from(key), version });
    if (named.length % FLAGS_AT_ONCE === 0) yield;
  }
  const hash = createHash('sha1');
  const sorted = yield* sortInSlices(named, (a, b) => Buffer.compare(a.key, b.key));
  for (const [index, { key, version }] of sorted.entries()) {
    hash.update(key).update(`:${version}`);
    if (index % FLAGS_AT_ONCE === 0) yield;
  }
  const tag = hash.digest('hex').slice(0, 15);
  store.legacy = { generation, tag };
  return tag;
}

/** Read or hashed between two looks at the clock. */
const FLAGS_AT_ONCE = 256;

/** 32 hexadecimal characters, for ETags. */
export function digestOf(text: string): string {
  return shortened(createHash('sha256').update(text).digest('hex'));
}

function shortened(digest: string): string {
  return digest.slice(0, 32);
}

/** Of all the texts, in steps. */
export function* digestInSteps(texts: readonly string[]): Generator<void, string> {
  const hash = createHash('sha256');
  for (const [index, text] of texts.entries()) {
    hash.update(`${text.length}:`).update(text);
    if (index % TEXTS_AT_ONCE === TEXTS_AT_ONCE - 1) yield;
  }
  return shortened(hash.digest('hex'));
}

/** Hashed between two looks at the clock. */
const TEXTS_AT_ONCE = 32;
