/** What an environment sends to clients that speak FDv2, as lists of events without framing. */
import type { Item } from '../../lib/flag-table/index.ts';
import { type FDv2Event, intentEvent, itemEvent, transferredEvent } from '../common/fdv2-events.ts';

export function createFDv2(view: {
  items(): Iterable<Item>;
  state(): string;
  /** The items, tombstones included, that lead from that state to the present one, in sending order. */
  changesSince(state: string): readonly Item[] | undefined;
}) {
  return {
    /** Everything. `named`: whether the client named a state, which is not remembered. */
    full(named: boolean): FDv2Event[] {
      const events = [intentEvent({ code: 'xfer-full', reason: named ? 'cant-catchup' : 'payload-missing' })];
      for (const item of view.items()) if (!item.deleted) events.push(itemEvent(item));
      events.push(transferredEvent(view.state()));
      return events;
    },
    /** What leads from that state to the present one. Undefined when it is not remembered: send `full`. */
    since(basis: string): FDv2Event[] | undefined {
      const items = view.changesSince(basis);
      if (items === undefined) return undefined;
      const state = view.state();
      if (basis === state) return [intentEvent({ code: 'none', reason: 'up-to-date' })];
      const intent = intentEvent({ code: 'xfer-changes', reason: 'stale' });
      return [intent, ...items.map(itemEvent), transferredEvent(state)];
    },
    /** A change, for a client that has everything before it. */
    update: (items: readonly Item[]): FDv2Event[] => [...items.map(itemEvent), transferredEvent(view.state())],
  };
}
