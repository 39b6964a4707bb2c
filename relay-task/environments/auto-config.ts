import type { EnvironmentSink, EnvironmentSource, Keeper, Log } from '../ports.ts';
import { type Entries, parseAutoConfigMessage } from './auto-config-messages.ts';
import { createAutoConfigState } from './auto-config-state.ts';
import { createRemembered } from './cached-source.ts';
import type { EnvironmentTemplates } from './environment-record.ts';
import { createSourceStatus } from './source-status.ts';

/** Who hears of LaunchDarkly's auto-configuration stream. */
export interface AutoConfigListener {
  /** One event. The answer says whether the stream goes on (undefined) or is made anew, and why. */
  onEvent(event: string | undefined, data: string): { readonly problem: string } | 'reconnect' | undefined;
  /** After each failure of the connection; it is tried again by whoever holds it. */
  onFailure(failure: { readonly message: string; readonly refused?: boolean | undefined }): void;
}

export interface AutoConfigOptions extends EnvironmentTemplates {
  /** Opens the stream and holds it, over any failure, until it is closed. */
  open(listener: AutoConfigListener): { close(): void };
  readonly sink: EnvironmentSink;
  readonly log: Log;
  /** Where the last good state is kept, sealed, so that one can start while LaunchDarkly is down. */
  readonly cache?: {
    readonly keeper: Keeper;
    /** The encryption key if one was given, else the auto-configuration key. */
    readonly secret: string;
    /** LaunchDarkly may take so long before the kept state is used; 1 s. */
    readonly patienceMs?: number;
    readonly retryMs?: number;
  };
  /** Unix ms; `Date.now`. */
  now?(): number;
}

/**
 * Environments and keys as LaunchDarkly's relay auto-configuration tells them. Nothing that goes wrong takes an
 * environment away; a refused key is tried again slowly and shows in the status. Filters come with their environments.
 */
export function startAutoConfig(options: AutoConfigOptions): EnvironmentSource {
  const { sink, log, cache, now = Date.now } = options;
  const status = createSourceStatus('auto-configuration');
  const remembered = cache && createRemembered({ ...cache, log });
  let state = createAutoConfigState();
  let heard = false;
  let refused = false;
  let closed = false;

  function deliver() {
    const environments = state.describe(options, now());
    log.info('auto-configuration changed', { environments: environments.length });
    sink.replace(environments);
  }

  function onEvent(event: string | undefined, data: string): ReturnType<AutoConfigListener['onEvent']> {
    const message = parseAutoConfigMessage(event, data);
    if (message.kind === 'reconnect') return 'reconnect';
    if (message.kind === 'invalid') return { problem: message.problem };
    if (message.kind === 'ignored') {
      log.warn('an auto-configuration event was ignored', { reason: message.why });
      return undefined;
    }
    // A new connection will begin with everything.
    if (!heard && message.kind !== 'put') return { problem: 'the stream did not begin with a put' };
    if (message.kind === 'put') {
      warnUnreadable('an environment', message.environments);
      warnUnreadable('a filter', message.filters);
    }
    const changed = state.apply(message, now());
    if (changed || !heard) deliver();
    heard = true;
    status.answered();
    remembered?.keep(state.serialize());
    return undefined;
  }

  function warnUnreadable<T>(what: string, entries: Entries<T>) {
    for (const [id, reason] of entries) {
      if (typeof reason !== 'string') continue;
      const fields = { id, reason };
      log.error(`${what} of the auto-configuration could not be understood, what is known of it stays`, fields);
    }
  }

  async function useRemembered({ patienceMs = 1_000 }: { patienceMs?: number }) {
    const [text] = await Promise.all([remembered?.recall(), pause(patienceMs)]);
    if (text === undefined || heard || closed) return;
    const restored = createAutoConfigState();
    if (!restored.restore(text)) {
      log.warn('the last good auto-configuration cannot be used', { reason: 'this version does not understand it' });
      return;
    }
    state = restored;
    log.warn('LaunchDarkly did not answer in time, the last good auto-configuration is used');
    deliver();
    status.remembered();
  }

  let patience: NodeJS.Timeout | undefined;
  let endPause = () => {};
  const pause = (ms: number) =>
    new Promise<void>((resolve) => {
      endPause = resolve;
      patience = setTimeout(resolve, ms);
    });

  const onFailure: AutoConfigListener['onFailure'] = (failure) => {
    status.failed(failure.message);
    if (failure.refused && !refused) {
      const reason = failure.message;
      log.error('auto-configuration is refused; what is known stays, the key is tried again slowly', { reason });
    }
    refused = failure.refused ?? false;
  };

  const stream = options.open({ onEvent, onFailure });
  const recalling = cache && useRemembered(cache);

  return {
    status: status.read,
    async close() {
      closed = true;
      stream.close();
      clearTimeout(patience);
      endPause();
      await remembered?.close();
      await recalling;
    },
  };
}
