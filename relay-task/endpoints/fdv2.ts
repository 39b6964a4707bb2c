/**
 * LaunchDarkly's second protocol, by polling: `{"events": […]}` with the events that its streams send, starting from the
 * state that the client holds (`basis`).
 */
import type { Item } from '../../lib/flag-table/index.ts';
import { type FDv2Event, intentEvent, itemEvent, objectEvent, transferredEvent } from '../common/fdv2-events.ts';
import { perishable } from './bodies.ts';
import { type Body, bodyOf } from './encoding.ts';
import { evaluate, type ReadContext } from './evalx.ts';
import { represent, withoutData } from './represent.ts';
import type { Handler } from './request.ts';
import type { ServedView } from './services.ts';

/** Flags and segments for server SDKs: nothing, what changed, or everything. */
export function createFdv2Poll(): Handler {
  const full = { 'payload-missing': perishable<Body>(), 'cant-catchup': perishable<Body>() };
  return (request) => {
    const { environment, query } = request;
    const { view } = environment;
    if (!view.initialized) return withoutData(environment);
    const state = view.state();
    const basis = query.get('basis') ?? '';
    return represent(request, {
      digest: state,
      unconditional: isBehind(basis, state),
      body: () => {
        if (basis === state) return nothing();
        const changes = basis === '' ? undefined : view.changesSince(basis);
        if (!changes)
          return full[reasonFor(basis)](view, () => everything(basis, state, liveItems(view).map(itemEvent)));
        const intent = intentEvent({ code: 'xfer-changes', reason: 'stale' });
        return bodyOf(pollText([intent, ...changes.map(itemEvent), transferredEvent(state)]));
      },
    });
  };
}

/** All flags evaluated for one context, for client-side SDKs. Always the whole set: what the context had before is unknown. */
export function createFdv2Evaluation(readContext: ReadContext): Handler {
  return (request) => {
    const basis = request.query.get('basis') ?? '';
    return evaluate(request, readContext, ({ digest: state, flags }) => {
      const objects = () => flags().map(({ key, version, json }) => objectEvent('flag-eval', key, version, json));
      return {
        digest: state,
        unconditional: isBehind(basis, state),
        body: () => (basis === state ? nothing() : everything(basis, state, objects())),
      };
    });
  };
}

/** After a 304 whose tag matches but whose basis does not, the client would hold neither state. */
function isBehind(basis: string, state: string): boolean {
  return basis !== '' && basis !== state;
}

function nothing(): Body {
  return bodyOf(pollText([intentEvent({ code: 'none', reason: 'up-to-date' })]));
}

function everything(basis: string, state: string, objects: Iterable<FDv2Event>): Body {
  const intent = intentEvent({ code: 'xfer-full', reason: reasonFor(basis) });
  return bodyOf(pollText([intent, ...objects, transferredEvent(state)]));
}

function reasonFor(basis: string): 'payload-missing' | 'cant-catchup' {
  return basis === '' ? 'payload-missing' : 'cant-catchup';
}

function pollText(events: readonly FDv2Event[]): string {
  return `{"events":[${events.map(({ event, json }) => `{"event":"${event}","data":${json}}`).join(',')}]}`;
}

function liveItems(view: ServedView): Item[] {
  return [...view.items('features'), ...view.items('segments')].filter(({ deleted }) => !deleted);
}
