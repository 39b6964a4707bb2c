/** The events of server-side streams, assembled from the raw JSON of items, so that unknown fields pass through. */
import type { Item, Kind } from '../../lib/flag-table/index.ts';
import type { FDv2Event } from '../common/fdv2-events.ts';
import type { ItemView } from '../ports.ts';
import { eventText } from './framing.ts';

/** An environment's FDv2 events: everything; what changed since a state, if it is remembered; one change. */
export interface FDv2Source {
  full(named: boolean): readonly FDv2Event[];
  since(basis: string): readonly FDv2Event[] | undefined;
  update(items: readonly Item[]): readonly FDv2Event[];
}

/** What streams of one kind send, as text. */
export interface Feed {
  everything(): string;
  /** One text for each event that may be sent without the others. */
  changes(items: readonly Item[]): readonly string[];
  /** What changed since the state that a client holds; undefined: send `everything`. */
  since?(basis: string): string | undefined;
}

export interface Messages {
  /** The whole set as one `put` event, without tombstones. */
  put(view: ItemView): string;
  /** One item as a `patch` or, for a tombstone, a `delete`; undefined if this kind of stream does not carry it. */
  change(item: Item): string | undefined;
}

export const messages: Readonly<Record<'all' | 'flags', Messages>> = {
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

export function createFeed(kind: 'all' | 'flags', view: ItemView): Feed {
  const { put, change } = messages[kind];
  return {
    everything: () => put(view),
    changes: (items) => items.map(change).filter((text) => text !== undefined),
  };
}

/** All events of one change are one text, since the last one commits the others. */
export function createFDv2Feed(source: FDv2Source): Feed {
  const textOf = (events: readonly FDv2Event[]) => events.map(({ event, json }) => eventText(event, json)).join('');
  return {
    everything: () => textOf(source.full(false)),
    changes: (items) => [textOf(source.update(items))],
    since(basis) {
      const events = source.since(basis);
      return events && textOf(events);
    },
  };
}

/** The key is not encoded in the path: SDKs take everything after the prefix as it is. */
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
