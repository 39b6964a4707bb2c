/**
 * LaunchDarkly's second protocol, by polling: `{"events": […]}` with the events that its streams send, from the state that
 * the client says it holds (`basis`). Shapes: `internal/fdv2` of LaunchDarkly's js-sdk-common 2.26.
 *
 * Ids and versions of payloads are constants, as in the SDK's own adaptor: what tells one content from another is its
 * state, a digest that is equal in every relay, and a counter would not be.
 */
import type { Item } from '../../lib/flag-table/index.ts';
import { perishable } from './bodies.ts';
import { type Body, bodyOf } from './encoding.ts';
import { evaluate, type ReadContext } from './evalx.ts';
import { represent, withoutData } from './represent.ts';
import type { Handler } from './routes.ts';
import type { ServedView } from './services.ts';

const PAYLOAD = { id: 'default', version: 1 };

/** Flags and segments for server SDKs: nothing, what changed, or everything. */
export function createFdv2Poll(): Handler {
  const full = { 'payload-missing': perishable<Body>(), 'cant-catchup': perishable<Body>() };
  return (request) => {
    const environment = request.environment!;
    const { view } = environment;
    if (!view.initialized) return withoutData(environment);
    const state = view.state();
    const basis = request.query.get('basis') ?? '';
    return represent(request, {
      digest: state,
      unconditional: isBehind(basis, state),
      body: () => {
        if (basis === state) return bodyOf(nothing());
        const changes = basis === '' ? undefined : view.changesSince(basis);
        if (changes) return bodyOf(transfer('xfer-changes', 'stale', state, changes.map(itemEvent)));
        const reason = missing(basis);
        return full[reason](view, () => bodyOf(transfer('xfer-full', reason, state, liveItems(view).map(itemEvent))));
      },
    });
  };
}

/** All flags evaluated for one context, for client-side SDKs. Changes are not told apart: the context's past is unknown. */
export function createFdv2Evaluation(readContext: ReadContext): Handler {
  return (request) => {
    const basis = request.query.get('basis') ?? '';
    return evaluate(request, readContext, ({ digest: state, flags }) => ({
      digest: state,
      unconditional: isBehind(basis, state),
      body: () =>
        basis === state
          ? bodyOf(nothing())
          : bodyOf(
              transfer(
                'xfer-full',
                missing(basis),
                state,
                flags().map(({ key, version, json }) => putObject('flag-eval', key, version, json)),
              ),
            ),
    }));
  };
}

/** To a 304 for a tag that does not fit its basis, a client would be left with neither the one nor the other. */
function isBehind(basis: string, state: string): boolean {
  return basis !== '' && basis !== state;
}

function missing(basis: string): 'payload-missing' | 'cant-catchup' {
  return basis === '' ? 'payload-missing' : 'cant-catchup';
}

function nothing(): string {
  return `{"events":[${intent('none', 'up-to-date')}]}`;
}

function transfer(intentCode: string, reason: string, state: string, objects: readonly string[]): string {
  const transferred = event('payload-transferred', JSON.stringify({ state, ...PAYLOAD }));
  return `{"events":[${[intent(intentCode, reason), ...objects, transferred].join(',')}]}`;
}

function intent(intentCode: string, reason: string): string {
  const payloads = [{ id: PAYLOAD.id, target: PAYLOAD.version, intentCode, reason }];
  return event('server-intent', JSON.stringify({ payloads }));
}

function itemEvent(item: Item): string {
  const kind = item.kind === 'features' ? 'flag' : 'segment';
  const { key, version } = item;
  return item.deleted
    ? event('delete-object', JSON.stringify({ version, kind, key }))
    : putObject(kind, key, version, item.json);
}

function putObject(kind: string, key: string, version: number, json: string): string {
  return event('put-object', `${JSON.stringify({ version, kind, key }).slice(0, -1)},"object":${json}}`);
}

function event(name: string, data: string): string {
  return `{"event":"${name}","data":${data}}`;
}

function liveItems(view: ServedView): Item[] {
  return [...view.items('features'), ...view.items('segments')].filter(({ deleted }) => !deleted);
}
