/** What feeds one environment: LaunchDarkly's stream, a watched file, or the data that came with its description. */
import { createTurnstile, type Turnstile } from '../common/turnstile.ts';
import type { Log, StreamAttempt, UpstreamStatus } from '../ports.ts';
import type { DataSystemTimes } from '../upstream/data-system.ts';
import type { EventStreamTimes } from '../upstream/event-stream.ts';
import { type FileReload, startFileSource } from '../upstream/file.ts';
import { startFixed } from '../upstream/fixed.ts';
import { startRotating } from '../upstream/rotating.ts';
import { type StreamingOptions, startStreaming } from '../upstream/streaming.ts';
import { firstKeyOf, sourceOf } from './admission.ts';
import type { Tenant, TenantParts } from './tenant.ts';

export type UpstreamTimes = EventStreamTimes & DataSystemTimes;

interface UpstreamsOptions
  extends Pick<StreamingOptions, 'streamUri' | 'baseUri' | 'protocol' | 'pollIntervalMs' | 'outbound' | 'userAgent'> {
  readonly times?: UpstreamTimes | undefined;
  logOf(tenant: Tenant): Log;
  /** After each attempt to open an environment's stream. Must not throw. */
  onAttempt?: ((environment: string, attempt: StreamAttempt) => void) | undefined;
  /** After every reading of an environment's flags file. Must not throw. */
  onReload?: ((environment: string, reload: FileReload) => void) | undefined;
}

/** How many environments connect at the same time, and how long one may hold up the others. */
const MOST_CONNECTING = 64;
const PATIENCE_MS = 1_000;

/** The function it returns rejects with RelayError FLAGS_FILE_INVALID. */
export function createUpstreams(options: UpstreamsOptions): TenantParts['upstream'] {
  const { times, logOf, onAttempt, onReload, ...launchDarkly } = options;
  // Answers that arrive together are parsed together: thousands would block the event loop for seconds.
  const connecting = createTurnstile({ maxInside: MOST_CONNECTING });
  return async (tenant, sinkOf, onStatus, closing) => {
    const { description, filter, name } = tenant;
    const { sdkKey, flagsFile, data } = description;
    const common = { sink: sinkOf(sourceOf(description)), onStatus, held: tenant.memory.get, log: logOf(tenant) };
    if (flagsFile !== undefined) {
      return startFileSource({ ...common, path: flagsFile, onReload: (reload) => onReload?.(name, reload) });
    }
    if (data) return startFixed({ ...common, items: data.items });
    if (sdkKey === undefined) return undefined;
    const answered = await enter(connecting, closing);
    if (!answered) return undefined;
    const upstream = startRotating({
      ...common,
      sinkOf: (key) => sinkOf(sourceOf(description, key)),
      sdkKey: keyToBeginWith(tenant),
      start: (key, to, tell) =>
        startStreaming({
          ...times,
          ...launchDarkly,
          ...common,
          serving: { environment: name, flags: () => flagsOf(tenant) },
          sink: to,
          onStatus(status) {
            answered(status);
            tell(status);
          },
          onAttempt: (attempt) => onAttempt?.(name, attempt),
          onEnvironmentId: (id) => tenant.admission.belongs(key, id),
          generation: () => tenant.memory.generation,
          sdkKey: key,
          filter,
        }),
    });
    upstream.setKey(sdkKey);
    return upstream;
  };
}

/** How many flags clients get; undefined before there is data. */
function flagsOf({ memory }: Tenant): number | undefined {
  if (!memory.initialized) return undefined;
  let flags = 0;
  for (const { deleted } of memory.items('features')) if (!deleted) flags += 1;
  return flags;
}

/** The key whose data was found in a store: going back to an earlier key's could undo a correction. Else the earliest. */
function keyToBeginWith({ description, admission }: Tenant): string {
  const { sdkKey = '', credentials } = description;
  const held = admission.key();
  const isValid = held === sdkKey || credentials.some(({ kind, value }) => kind === 'sdkKey' && value === held);
  return held !== undefined && isValid ? held : firstKeyOf(sdkKey, credentials);
}

/**
 * Resolves with a function that takes every status of the connection and lets the next one in after the first answer or
 * failure; with undefined when `closing` was aborted first.
 */
async function enter(connecting: Turnstile, closing: AbortSignal) {
  const leave = await connecting.enter(closing);
  if (!leave) return undefined;
  let inside = true;
  const end = () => {
    clearTimeout(timer);
    closing.removeEventListener('abort', end);
    if (inside) leave();
    inside = false;
  };
  const timer = setTimeout(end, PATIENCE_MS);
  timer.unref();
  closing.addEventListener('abort', end);
  return ({ current, lastError }: UpstreamStatus) => {
    if (current || lastError) end();
  };
}
