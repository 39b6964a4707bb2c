/** The events of server-side streams, assembled from the raw JSON of items, so that unknown fields pass through. */
import type { Item } from '../../lib/flag-table/index.ts';
import { type FDv2Event, intentEvent, itemEvent } from '../common/fdv2-events.ts';
import { flagsInOrder } from '../common/prerequisites.ts';
import type { ItemView } from '../ports.ts';
import { eventText, oneLine } from './framing.ts';

/** An environment's FDv2 events: what changed since a state, if it is remembered; one change, or none, and the new state. */
export interface FDv2Source {
  since(basis: string): readonly FDv2Event[] | undefined;
  update(items: readonly Item[]): readonly FDv2Event[];
}

/** What streams of one kind send, as text. */
export interface Feed {
  /** The whole set, as one or more events. */
  everything(): WholeSet;
  /** A live item of the whole set. */
  textOf(item: Item): string;
  /** Between two live items of a section. */
  readonly separator: string;
  /** One text for each event that may be sent without the others. */
  changes(items: readonly Item[]): readonly string[];
  /** What changed since the state that a client holds; undefined: send `everything`. */
  since?(basis: string): string | undefined;
}

interface WholeSet {
  readonly sections: readonly {
    readonly opening: string;
    /** Tombstones included, which are not part of the text. */
    readonly items: Iterable<Item>;
  }[];
  readonly closing: string;
}

/** `put` with everything, then one `patch` or, for a tombstone, one `delete` for each item that such a stream carries. */
export function createFeed(kind: 'all' | 'flags', view: ItemView): Feed {
  const row = rows[kind];
  return {
    everything: () => row.put(view),
    textOf: ({ key, json }) => `${JSON.stringify(key)}:${oneLine(json)}`,
    separator: ',',
    changes: (items) => items.map(row.change).filter((text) => text !== undefined),
  };
}

interface FeedRow {
  put(view: ItemView): WholeSet;
  /** Undefined if this kind of stream does not carry the item. */
  change(item: Item): string | undefined;
}

const rows: Readonly<Record<'all' | 'flags', FeedRow>> = {
  all: {
    put: (view) => ({
      sections: [
        { opening: 'event: put\ndata: {"path":"/","data":{"flags":{', items: sortedFlags(view) },
        { opening: '},"segments":{', items: view.items('segments') },
      ],
      closing: '}}}\n\n',
    }),
    change: (item) => changeText(item, `${item.kind === 'features' ? '/flags/' : '/segments/'}${item.key}`),
  },
  flags: {
    put: (view) => ({
      sections: [{ opening: 'event: put\ndata: {', items: sortedFlags(view) }],
      closing: '}\n\n',
    }),
    change: (item) => (item.kind === 'features' ? changeText(item, `/${item.key}`) : undefined),
  },
};

/** As SDKs write them to a persistent store of theirs. Deleted flags keep their places: see `Snapshots`. */
const sortedFlags = (view: ItemView) => flagsInOrder(view.items('features'), view.get);

/** All events of one change are one text, since the last one commits the others. */
export function createFDv2Feed(view: ItemView, source: FDv2Source): Feed {
  const textOf = (events: readonly FDv2Event[]) => events.map(({ event, json }) => eventText(event, json)).join('');
  return {
    // Segments first and prerequisites before flags, as in a change.
    everything: () => ({
      sections: [
        {
          opening: textOf([intentEvent({ code: 'xfer-full', reason: 'payload-missing' })]),
          items: view.items('segments'),
        },
        { opening: '', items: sortedFlags(view) },
      ],
      closing: textOf(source.update([])),
    }),
    textOf: (item) => textOf([itemEvent(item)]),
    separator: '',
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
