/** Bodies that many clients request, built once from the raw JSON of items. */
import { createHash } from 'node:crypto';
import type { Item, Kind } from '../../lib/flag-table/index.ts';
import type { ItemView } from '../ports.ts';
import { type Body, bodyOf } from './encoding.ts';
import type { ServedView } from './services.ts';

export type Whole = 'all' | 'flags' | 'segments';

export interface Bodies {
  whole(view: ServedView, what: Whole): Body;
  item(item: Item): Body & { readonly digest: string };
  /** The tag, without `relay-`, that ld-relay gives the set of all flags: 15 hex digits of a SHA-1 over keys and versions. */
  legacyDigest(view: ServedView): string;
}

export function createBodies(): Bodies {
  const wholes: Record<Whole, Perishable<Body>> = { all: perishable(), flags: perishable(), segments: perishable() };
  const legacy = perishable<string>();
  const items = new WeakMap<Item, Body & { readonly digest: string }>();
  return {
    whole: (view, what) => wholes[what](view, () => bodyOf(wholeTexts[what](view))),
    legacyDigest: (view) => legacy(view, () => legacyDigest(view)),
    item(item) {
      const known = items.get(item);
      if (known) return known;
      const body = { ...bodyOf(item.json), digest: createHash('sha256').update(item.json).digest('hex').slice(0, 32) };
      items.set(item, body);
      return body;
    },
  };
}

const wholeTexts: Readonly<Record<Whole, (view: ItemView) => string>> = {
  all: (view) => `{"flags":${mapOf(view, 'features')},"segments":${mapOf(view, 'segments')}}`,
  flags: (view) => mapOf(view, 'features'),
  segments: (view) => mapOf(view, 'segments'),
};

/** One kind as a JSON object by key, without tombstones. */
function mapOf(view: ItemView, kind: Kind): string {
  const entries: string[] = [];
  for (const item of view.items(kind)) {
    if (!item.deleted) entries.push(`${JSON.stringify(item.key)}:${item.json}`);
  }
  return `{${entries.join(',')}}`;
}

/** Caches a value built from a view for one generation. */
export type Perishable<T> = (view: ItemView, make: () => T) => T;

export function perishable<T>(): Perishable<T> {
  const held = new WeakMap<ItemView, { readonly generation: number; readonly value: T }>();
  return (view, make) => {
    const known = held.get(view);
    if (known?.generation === view.generation) return known.value;
    const value = make();
    held.set(view, { generation: view.generation, value });
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
