/**
 * LaunchDarkly's second protocol for server-side flag data, as lists of events without framing.
 *
 * | event | data |
 * |---|---|
 * | `server-intent` | `{"payloads":[{"id":"default","target":1,"intentCode":CODE,"reason":REASON}]}` |
 * | `put-object` | `{"version":N,"kind":"flag" or "segment","key":K,"object":ITEM}` |
 * | `delete-object` | `{"version":N,"kind":"flag" or "segment","key":K}` |
 * | `payload-transferred` | `{"state":STATE,"id":"default","version":1}`: commits what came before it |
 *
 * Codes and reasons: `none` up-to-date, `xfer-changes` stale, `xfer-full` payload-missing (the client names no state) or
 * cant-catchup (nobody here remembers it). The state is what a client sends back as `basis`. Ids and versions of payloads
 * are constants, as in the SDKs' own adaptor for FDv1: counters of one relay would mean something else in the next.
 * Source: the protocol handler of @launchdarkly/js-sdk-common 2.26.
 */
import type { Item } from '../../lib/flag-table/index.ts';

export interface FDv2Event {
  readonly event: 'server-intent' | 'put-object' | 'delete-object' | 'payload-transferred';
  /** The data, as JSON. */
  readonly json: string;
}

/** What an environment says in FDv2. */
export interface FDv2 {
  /** Everything; `named`: whether the client named a state that could not be served from. */
  full(named: boolean): FDv2Event[];
  /** What leads from that state to the present one; undefined: it is not remembered, and `full` is the answer. */
  since(basis: string): FDv2Event[] | undefined;
  /** A change, for a client that has everything before it. */
  update(items: readonly Item[]): FDv2Event[];
}

export function createFDv2(view: {
  items(): Iterable<Item>;
  state(): string;
  changesSince(state: string): readonly Item[] | undefined;
}): FDv2 {
  const transferred = (): FDv2Event => ({
    event: 'payload-transferred',
    json: `{"state":${JSON.stringify(view.state())},"id":"default","version":1}`,
  });
  return {
    full(named) {
      const events = [intent('xfer-full', named ? 'cant-catchup' : 'payload-missing')];
      for (const item of view.items()) if (!item.deleted) events.push(objectEvent(item));
      events.push(transferred());
      return events;
    },
    since(basis) {
      const items = view.changesSince(basis);
      if (items === undefined) return undefined;
      if (basis === view.state()) return [intent('none', 'up-to-date')];
      return [intent('xfer-changes', 'stale'), ...items.map(objectEvent), transferred()];
    },
    update: (items) => [...items.map(objectEvent), transferred()],
  };
}

function intent(code: string, reason: string): FDv2Event {
  const json = `{"payloads":[{"id":"default","target":1,"intentCode":"${code}","reason":"${reason}"}]}`;
  return { event: 'server-intent', json };
}

function objectEvent({ kind, key, version, deleted, json }: Item): FDv2Event {
  const name = `"version":${version},"kind":"${kind === 'features' ? 'flag' : 'segment'}","key":${JSON.stringify(key)}`;
  return deleted
    ? { event: 'delete-object', json: `{${name}}` }
    : { event: 'put-object', json: `{${name},"object":${json}}` };
}
