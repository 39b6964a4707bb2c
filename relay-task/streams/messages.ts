/**
 * The events of the server-side streams, put together from the raw JSON of items: nothing is parsed or serialised again,
 * so fields that nobody here knows pass through.
 */
import type { Item, Kind } from '../../lib/flag-table/index.ts';
import type { ItemView } from '../ports.ts';
import { eventText } from './framing.ts';

/**
 * `all`: flags and segments, for server SDKs. `flags`: flags only, for the oldest. `fdv2`: the same data in LaunchDarkly's
 * second protocol. `eval`: flags evaluated for one context, for client-side SDKs. `ping`: that something changed, for them too;
 * `refetch`: the same in OpenFeature's words.
 */
export type StreamKind = 'all' | 'flags' | 'ping' | 'refetch' | 'eval' | 'fdv2';

/** An event of FDv2; its data as JSON. */
export interface FDv2Event {
  readonly event: string;
  readonly json: string;
}

/** An environment's FDv2: everything; what leads on from a state, if it is remembered; one change. */
export interface FDv2Source {
  full(named: boolean): readonly FDv2Event[];
  since(basis: string): readonly FDv2Event[] | undefined;
  update(items: readonly Item[]): readonly FDv2Event[];
}

/** What streams of one kind say, as text. */
export interface Feed {
  everything(): string;
  /** One text for each event that readers may get apart from the others. */
  changes(items: readonly Item[]): readonly string[];
  /** What leads on from the state that a client holds; undefined: `everything` does. */
  since?(basis: string): string | undefined;
}

export interface Messages {
  /** The whole set as one `put` event. Tombstones are left out, so no entry is ever null. */
  put(view: ItemView): string;
  /** One item as a `patch` or, for a tombstone, a `delete`; undefined when this kind of stream does not tell of it. */
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

/** All events of one change are one text: none of them means anything without the last. */
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
