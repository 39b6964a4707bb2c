/**
 * The events of the server-side streams, put together from the raw JSON of items: nothing is parsed or serialised again,
 * so fields that nobody here knows pass through.
 */
import type { Item, Kind } from '../../lib/flag-table/index.ts';
import type { ItemView } from '../ports.ts';
import { eventText } from './framing.ts';

/** `all`: flags and segments, for every server SDK of today. `flags`: flags only, for the oldest. */
export type StreamKind = 'all' | 'flags';

export interface Messages {
  /** The whole set as one `put` event. Tombstones are left out, so no entry is ever null. */
  put(view: ItemView): string;
  /** One item as a `patch` or, for a tombstone, a `delete`; undefined when this kind of stream does not tell of it. */
  change(item: Item): string | undefined;
}

export const messages: Readonly<Record<StreamKind, Messages>> = {
  all: {
    put: (view) =>
      eventText(
        'put',
        `{"path":"/","data":{"flags":${mapOf(view, 'features')},"segments":${mapOf(view, 'segments')}}}`,
      ),
    change: (item) => changeText(item, `${item.kind === 'features' ? '/flags/' : '/segments/'}${item.key}`),
  },
  flags: {
    put: (view) => eventText('put', mapOf(view, 'features')),
    change: (item) => (item.kind === 'features' ? changeText(item, `/${item.key}`) : undefined),
  },
};

/** The key goes into the path as it is: SDKs take everything behind the prefix, without decoding. */
function changeText(item: Item, path: string): string {
  const start = `{"path":${JSON.stringify(path)}`;
  return item.deleted
    ? eventText('delete', `${start},"version":${item.version}}`)
    : eventText('patch', `${start},"data":${item.json}}`);
}

function mapOf(view: ItemView, kind: Kind): string {
  const entries: string[] = [];
  for (const item of view.items(kind)) {
    if (!item.deleted) entries.push(`${JSON.stringify(item.key)}:${item.json}`);
  }
  return `{${entries.join(',')}}`;
}
