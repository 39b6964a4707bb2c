/**
 * LaunchDarkly's second protocol, by polling: `{"events": […]}` with the events that its streams send, starting from the
 * state that the client holds (`basis`).
 */
import { type FDv2Event, intentEvent, itemEvent, objectEvent, transferredEvent } from '../common/fdv2-events.ts';
import { type Bodies, digestOf, perishable } from './bodies.ts';
import { type Body, bodyOf, sharedBodyOf } from './encoding.ts';
import { answerFor, type ReadContext, wantsReasons } from './evalx.ts';
import { represent, withoutData } from './represent.ts';
import type { Handler } from './request.ts';
import type { ServedView } from './services.ts';

/**
 * Flags and segments for server SDKs: nothing, what changed, or everything. Each has an ETag of its own, because relays that
 * hold the same items can remember different states and answer one basis in different ways.
 */
export function createFdv2Poll(bodies: Bodies): Handler {
  const full = { 'payload-missing': perishable<Body>(), 'cant-catchup': perishable<Body>() };
  return (request) => {
    const { environment, query } = request;
    const { view } = environment;
    if (!view.initialized) return withoutData(environment);
    const state = view.state();
    const basis = query.get('basis') ?? '';
    const changes = basis === '' ? undefined : view.fdv2.since(basis);
    const unconditional = isBehind(basis, state);
    if (!changes) {
      const make = () => sharedBodyOf(everything(basis, state, objectsOf(bodies, view)));
      const body = () => full[reasonFor(basis)](view, state, make);
      return represent(request, { digest: tagOfEverything(basis, state), unconditional, body });
    }
    const text = pollText(changes.map(textOf));
    const digest = basis === state ? state : digestOf(text);
    return represent(request, { digest, unconditional, body: () => bodyOf(text) });
  };
}

/** All flags evaluated for one context, for client-side SDKs. Always the whole set: what the context had before is unknown. */
export function createFdv2Evaluation(readContext: ReadContext): Handler {
  return async (request) => {
    const basis = request.query.get('basis') ?? '';
    const read = await readContext(request);
    return answerFor(request, read, {
      withReasons: wantsReasons(request),
      write: ({ key, version, json }) => textOf(objectEvent('flag-eval', key, version, json)),
      tag: (state) =>
        basis === state
          ? { digest: state }
          : { digest: tagOfEverything(basis, state), unconditional: isBehind(basis, state) },
      body: (objects, state) => bodyOf(basis === state ? nothing : everything(basis, state, objects)),
    });
  };
}

/**
 * SDKs keep tags by URL, which contains the basis, and take a 304 for "nothing changed". A client that comes back to a basis that
 * it had before, as after an answer of a relay that is behind, would stay there.
 */
function isBehind(basis: string, state: string): boolean {
  return basis !== '' && basis !== state;
}

/**
 * Clients hold the state alone as the tag of what they got without a basis. A client that names another basis holds something
 * else: after a 304 it would hold neither.
 */
function tagOfEverything(basis: string, state: string): string {
  return basis === '' ? state : `${state}-full`;
}

const nothing = pollText([textOf(intentEvent({ code: 'none', reason: 'up-to-date' }))]);

/** `objects`: events as `textOf` writes them. */
function everything(basis: string, state: string, objects: readonly string[]): string {
  const intent = intentEvent({ code: 'xfer-full', reason: reasonFor(basis) });
  return pollText([textOf(intent), ...objects, textOf(transferredEvent(state))]);
}

function reasonFor(basis: string): 'payload-missing' | 'cant-catchup' {
  return basis === '' ? 'payload-missing' : 'cant-catchup';
}

function textOf({ event, json }: FDv2Event): string {
  return `{"event":"${event}","data":${json}}`;
}

function pollText(events: readonly string[]): string {
  return `{"events":[${events.join(',')}]}`;
}

function objectsOf(bodies: Bodies, view: ServedView): string[] {
  return [...bodies.live(view, 'features'), ...bodies.live(view, 'segments')].map((item) => textOf(itemEvent(item)));
}
