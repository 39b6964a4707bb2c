/**
 * Bodies that many clients request, built once from the normal form of items: equal bytes in every relay that holds the same
 * items, as their strong ETags promise (RFC 9110 section 8.8).
 */
import { createHash } from 'node:crypto';
import type { Item, Kind } from '../../lib/flag-table/index.ts';
import { normalText } from '../common/item-text.ts';
import type { ItemView } from '../ports.ts';
import { type Body, sharedBodyOf } from './encoding.ts';
import type { ServedView } from './services.ts';

export type Whole = 'all' | 'flags' | 'segments';

export interface Bodies {
  /** `digest`: of what it is made of. */
  whole(view: ServedView, what: Whole, digest: string): Body;
  item(item: Item): Body & { readonly digest: string };
  /** The live items of one kind, in normal form and sorted by key. */
  live(view: ItemView, kind: Kind): Item[];
  /** The tag, without `relay-`, that ld-relay gives the set of all flags: 15 hex digits of a SHA-1 over keys and versions. */
  legacyDigest(view: ServedView): string;
}

export function createBodies(): Bodies {
  const wholes: Record<Whole, Perishable<Body>> = { all: perishable(), flags: perishable(), segments: perishable() };
  const legacy = perishable<string>();
  const items = new WeakMap<Item, Body & { readonly digest: string }>();
  /** Kept, so that a change costs one item and not all. */
  const normals = new WeakMap<Item, Item>();

  function normalOf(item: Item): Item {
    let normal = normals.get(item);
    if (normal === undefined) {
      const json = normalText(item.kind, item.json);
      normal = json === item.json ? item : { ...item, json };
      normals.set(item, normal);
    }
    return normal;
  }

  function live(view: ItemView, kind: Kind): Item[] {
    const present = [...view.items(kind)].filter(({ deleted }) => !deleted);
    return present.sort((a, b) => (a.key < b.key ? -1 : 1)).map(normalOf);
  }

  /** One kind as a JSON object by key. */
  function mapOf(view: ItemView, kind: Kind): string {
    return `{${live(view, kind)
      .map(({ key, json }) => `${JSON.stringify(key)}:${json}`)
      .join(',')}}`;
  }

  const wholeTexts: Readonly<Record<Whole, (view: ItemView) => string>> = {
    all: (view) => `{"flags":${mapOf(view, 'features')},"segments":${mapOf(view, 'segments')}}`,
    flags: (view) => mapOf(view, 'features'),
    segments: (view) => mapOf(view, 'segments'),
  };

  return {
    whole: (view, what, digest) => wholes[what](view, digest, () => sharedBodyOf(wholeTexts[what](view))),
    legacyDigest: (view) => legacy(view, view.generation, () => legacyDigest(view)),
    item(item) {
      const known = items.get(item);
      if (known) return known;
      const { json } = normalOf(item);
      const body = { ...sharedBodyOf(json), digest: digestOf(json) };
      items.set(item, body);
      return body;
    },
    live,
  };
}

/** 32 hexadecimal characters, for ETags. */
export function digestOf(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 32);
}

/** Of all the texts, in steps. */
export function* digestInSteps(texts: readonly string[]): Generator<void, string> {
  const hash = createHash('sha256');
  for (const [index, text] of texts.entries()) {
    hash.update(`${text.length}:`).update(text);
    if (index % TEXTS_AT_ONCE === TEXTS_AT_ONCE - 1) yield;
  }
  return hash.digest('hex').slice(0, 32);
}

/** Hashed between two looks at the clock. */
const TEXTS_AT_ONCE = 32;

/** Caches a value built from a view, as long as `of` stays the same. */
export type Perishable<T> = (view: ItemView, of: string | number, make: () => T) => T;

export function perishable<T>(): Perishable<T> {
  const held = new WeakMap<ItemView, { readonly of: string | number; readonly value: T }>();
  return (view, of, make) => {
    const known = held.get(view);
    if (known?.of === of) return known.value;
    const value = make();
    held.set(view, { of, value });
    return value;
  };
}

function legacyDigest(view: ItemView): string {
  const flags = [...view.items('features')].map(({ key, version }) => ({ key: Buffer.from(key), version }));
  const hash = createHash('sha1');
  for (const { key, version } of flags.sort((a, b) => Buffer.compare(a.key, b.key)))
    hash.update(key).update(`:${version}`);
  return hash.digest('hex').slice(0, 15);
}
