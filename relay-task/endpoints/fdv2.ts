/**
 * LaunchDarkly's second protocol, by polling: `{"events": […]}` with the events that its streams send, starting from the
 * state that the client holds (`basis`).
 */
import { intentEvent, objectEvent, transferredEvent } from '../common/fdv2-events.ts';
import { type Bodies, type FullReason, textOf } from './bodies.ts';
import { bodyOf } from './encoding.ts';
import { answerFor, type ReadContext, wantsReasons } from './evalx.ts';
import { represent, withoutData } from './represent.ts';
import type { Handler } from './request.ts';

/**
 * Flags and segments for server SDKs: nothing, what changed, or everything. Each has an ETag of its own, because relays that
 * hold the same items can remember different states and answer one basis in different ways.
 */
export function createFdv2Poll(bodies: Bodies): Handler {
  return async (request) => {
    const { environment, query } = request;
    const { view } = environment;
    if (!view.initialized) return withoutData(environment);
    await view.hashed();
    const state = view.state();
    const basis = query.get('basis') ?? '';
    // A state that was left by lower versions is not remembered, even if it is the present one again.
    if (basis === state && view.fdv2.since(basis)) {
      return represent(request, { digest: state, body: () => bodyOf(nothing) });
    }
    const changes = basis === '' ? undefined : await bodies.changes(view, basis);
    // As for everything, no answer to a basis is "nothing changed".
    if (changes) return represent(request, { digest: changes.digest, unconditional: true, body: () => changes });
    const what = reasonFor(basis);
    return represent(request, {
      digest: tagOfEverything(basis, state),
      unconditional: isBehind(basis, state),
      compressed: (encoding) => bodies.compressedWhole(view, what, encoding),
      async body() {
        const body = await bodies.whole(view, what);
        return { ...body, digest: tagOfEverything(basis, body.digest) };
      },
    });
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

function reasonFor(basis: string): FullReason {
  return basis === '' ? 'payload-missing' : 'cant-catchup';
}

function pollText(events: readonly string[]): string {
  return `{"events":[${events.join(',')}]}`;
}
