/**
 * OpenFeature's server provider on an edge reader. It imports nothing of OpenFeature, so it also works from a layer, where the SDK of
 * the function cannot be found. Source: OpenFeature specification, "Providers" and "Events".
 */
import type {
  AnyProviderEvent,
  EventHandler,
  JsonValue,
  EvaluationContext as OpenFeatureContext,
  Provider,
  ProviderEventEmitter,
  ResolutionDetails,
} from '@openfeature/server-sdk';
import { type Detail, openFeatureErrorCode, toLaunchDarkly } from '../../lib/evaluation/index.ts';
import type { EvaluationContext } from './context.ts';
import type { ReaderStatus } from './freshness.ts';
import type { Reader, WatchedReader } from './reader.ts';
import type { Logger } from './state-log.ts';

/**
 * Answers are those of LaunchDarkly's OpenFeature provider for Node on the same flags. Beyond it, the provider is `STALE` while the reader's
 * data is out of date and `ERROR` while there is none. It emits events about such changes, and about changed flags, during an evaluation,
 * because nothing runs in a frozen process between two calls.
 */
export function createOpenFeatureProvider(
  reader: Reader & Partial<Pick<WatchedReader, 'onChange'>>,
): Provider & { readonly events: ProviderEventEmitter<AnyProviderEvent> } {
  const events = createEmitter();
  /** The state that the SDK knows. When `initialize` ends, it reports by itself that the provider is ready or has failed. */
  let known: State = 'ready';

  function tell(status: ReaderStatus) {
    const before = known;
    known = stateOf(status);
    if (known !== before) events.emit(EVENTS[known], { message: status.message });
  }
  reader.onChange?.((flagKeys) => events.emit(CHANGED, { flagsChanged: [...flagKeys] }));

  async function resolve<T>(
    flagKey: string,
    fallback: T,
    context: OpenFeatureContext,
    isRight: (value: unknown) => boolean,
  ): Promise<ResolutionDetails<T>> {
    const asked = toLaunchDarkly(context) as unknown as EvaluationContext;
    const detail = await reader.variationDetail(flagKey, asked, fallback);
    tell(reader.status());
    return isRight(detail.value) ? resolution(detail as Detail<T>) : { value: fallback, ...WRONG_TYPE };
  }

  return {
    metadata: { name: 'edge-flag-reader' },
    runsOn: 'server',
    events,
    async initialize() {
      await reader.ready();
      const status = reader.status();
      const state = stateOf(status);
      if (state === 'error') throw new Error(status.message || 'the flag table could not be read in time');
      known = 'ready';
      // Later, because the SDK considers the provider ready when this ends.
      if (state === 'stale') setImmediate(tell, status);
    },
    resolveBooleanEvaluation: (flagKey, fallback, context) =>
      resolve(flagKey, fallback, context, (value) => typeof value === 'boolean'),
    resolveStringEvaluation: (flagKey, fallback, context) =>
      resolve(flagKey, fallback, context, (value) => typeof value === 'string'),
    resolveNumberEvaluation: (flagKey, fallback, context) =>
      resolve(flagKey, fallback, context, (value) => typeof value === 'number'),
    resolveObjectEvaluation: <T extends JsonValue>(flagKey: string, fallback: T, context: OpenFeatureContext) =>
      resolve<T>(flagKey, fallback, context, (value) => typeof value === 'object' && value !== null),
  };
}

type State = 'ready' | 'stale' | 'error';
type Event = Parameters<ProviderEventEmitter<AnyProviderEvent>['emit']>[0];
type ErrorCode = NonNullable<ResolutionDetails<unknown>['errorCode']>;

const EVENTS = {
  ready: 'PROVIDER_READY' as Event,
  stale: 'PROVIDER_STALE' as Event,
  error: 'PROVIDER_ERROR' as Event,
} satisfies Readonly<Record<State, Event>>;
const CHANGED = 'PROVIDER_CONFIGURATION_CHANGED' as Event;
const WRONG_TYPE = { reason: 'ERROR', errorCode: 'TYPE_MISMATCH' as ErrorCode };

/** Flags of the program itself are answers, too. */
function stateOf({ state, source }: ReaderStatus): State {
  if (state === 'ready' || state === 'stale') return state;
  return source === 'held' ? 'stale' : 'error';
}

function resolution<T>({ value, variationIndex, reason }: Detail<T>): ResolutionDetails<T> {
  return {
    value,
    ...(variationIndex !== null && { variant: String(variationIndex) }),
    reason: reason.kind,
    ...(reason.kind === 'ERROR' && { errorCode: openFeatureErrorCode(reason.errorKind) as ErrorCode }),
  };
}

function createEmitter(): ProviderEventEmitter<AnyProviderEvent> {
  const handlers = new Map<AnyProviderEvent, EventHandler[]>();
  let log: Pick<Logger, 'error'> = console;
  const of = (event: AnyProviderEvent) => handlers.get(event) ?? [];
  const emitter: ProviderEventEmitter<AnyProviderEvent> = {
    emit(event, details) {
      for (const handler of of(event)) {
        // A handler must not affect the evaluation that called it.
        void Promise.resolve()
          .then(() => handler(details as Parameters<EventHandler>[0]))
          .catch((error) => log.error(`edge reader: a handler of ${event} failed`, error));
      }
    },
    addHandler: (event, handler) => void handlers.set(event, [...of(event), handler]),
    removeHandler: (event, handler) =>
      void handlers.set(
        event,
        of(event).filter((one) => one !== handler),
      ),
    removeAllHandlers: (event) => (event === undefined ? handlers.clear() : void handlers.delete(event)),
    getHandlers: (event) => of(event),
    setLogger(logger) {
      log = logger;
      return emitter;
    },
  };
  return emitter;
}
