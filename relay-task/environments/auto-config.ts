import { createPacedLines, createReasonLines } from '../common/paced-lines.ts';
import { sleep } from '../common/pause.ts';
import { inSlices } from '../common/slices.ts';
import type { EnvironmentSink, EnvironmentSource, Keeper, Log } from '../ports.ts';
import {
  type AutoConfigMessage,
  type Entries,
  type PutEntries,
  parseAutoConfigMessage,
} from './auto-config-messages.ts';
import { createAutoConfigState } from './auto-config-state.ts';
import { createRemembered } from './cached-source.ts';
import type { EnvironmentTemplates } from './environment-record.ts';
import { createSourceStatus } from './source-status.ts';

/** Receives the events of LaunchDarkly's auto-configuration stream. */
export interface AutoConfigListener {
  /** Reads one event in steps. Returns undefined if the stream can continue, otherwise why it must be reopened. */
  onEvent(
    event: string | undefined,
    data: string,
  ): Generator<void, { readonly problem: string } | 'reconnect' | undefined>;
  /** After each failure of the connection, which the stream retries by itself. */
  onFailure(failure: Failure): void;
  /** For log lines: what happens while there is no stream. */
  meanwhile(): string;
}

interface Failure {
  readonly message: string;
  readonly refused?: boolean | undefined;
}

interface AutoConfigOptions extends EnvironmentTemplates {
  /** Opens the stream and keeps it open, whatever fails, until it is closed. */
  open(listener: AutoConfigListener): { close(): void };
  readonly sink: EnvironmentSink;
  readonly log: Log;
  /** Where the last good state is stored, sealed, so that a relay can start while LaunchDarkly is down. */
  readonly cache?: {
    readonly keeper: Keeper;
    /** The encryption key if one was given, else the auto-configuration key. */
    readonly secret: string;
    /** How long to wait for LaunchDarkly before using the stored state; 1 s. */
    readonly patienceMs?: number;
    readonly retryMs?: number;
    /** Between two writes; 1 s. */
    readonly pauseMs?: number;
  };
  /** Unix ms; `Date.now`. */
  now?(): number;
}

type Arrived = Exclude<AutoConfigMessage, { kind: 'reconnect' | 'ignored' | 'invalid' }>;

/**
 * Environments, keys and filters from LaunchDarkly's relay auto-configuration. No failure removes an environment; a
 * rejected key is retried slowly and shown in the status.
 */
export function startAutoConfig(options: AutoConfigOptions): EnvironmentSource {
  const { sink, log, cache, now = Date.now } = options;
  const lines = createLines(log);
  const status = createSourceStatus('auto-configuration');
  const remembered = cache && createRemembered({ ...cache, what: 'the last good auto-configuration', log });
  let state = createAutoConfigState();
  /** LaunchDarkly has sent a put. */
  let heard = false;
  /** Its environments have been delivered. */
  let delivered = false;
  /** Messages that are still to be applied. */
  const arrived: Arrived[] = [];
  let applying = false;
  const closing = new AbortController();

  function* deliver(): Generator<void, void> {
    const environments = yield* state.describe(options, now());
    if (closing.signal.aborted) return;
    lines.changed(environments.length);
    sink.replace(environments);
  }

  function* onEvent(event: string | undefined, data: string): ReturnType<AutoConfigListener['onEvent']> {
    const message = yield* parseAutoConfigMessage(event, data);
    if (message.kind === 'reconnect') return 'reconnect';
    if (message.kind === 'invalid') return { problem: message.problem };
    if (message.kind === 'ignored') {
      lines.ignored(message.why);
      return undefined;
    }
    // A new connection will begin with a complete put.
    if (!heard && message.kind !== 'put') return { problem: 'the stream did not begin with a put' };
    heard = true;
    arrived.push(message);
    if (!applying) {
      applying = true;
      void inSlices(applyArrived());
    }
    return undefined;
  }

  /** In order of arrival. A put of thousands of environments takes several turns of the event loop; later messages wait. */
  function* applyArrived(): Generator<void, void> {
    for (let message = arrived.shift(); message && !closing.signal.aborted; message = arrived.shift()) {
      const change = message.kind === 'put' ? { kind: 'put' as const, ...(yield* readPut(message)) } : message;
      const changed = yield* state.apply(change, now());
      const isNews = changed || !delivered;
      if (isNews) yield* deliver();
      delivered = true;
      status.answered();
      if (isNews) remembered?.keep(state.serialize);
    }
    applying = false;
  }

  function* readPut({ read }: Extract<Arrived, { kind: 'put' }>): Generator<void, PutEntries> {
    const entries = yield* read();
    yield* lines.invalid('environment', entries.environments);
    yield* lines.invalid('filter', entries.filters);
    return entries;
  }

  async function useRemembered({ patienceMs = 1_000 }: { patienceMs?: number }) {
    const [text] = await Promise.all([remembered?.recall(), sleep(patienceMs, closing.signal)]);
    if (text === undefined || heard || closing.signal.aborted) return;
    const restored = createAutoConfigState();
    const isReadable = await inSlices(restored.restore(text));
    if (heard || closing.signal.aborted) return;
    if (!isReadable) {
      log.warn('Cannot use the last good auto-configuration; waiting for LaunchDarkly', {
        reason: 'this version cannot read it',
        runbook: 'operations.md#key-source-down',
      });
      return;
    }
    state = restored;
    log.warn('LaunchDarkly did not answer in time; using the last good auto-configuration', {
      runbook: 'operations.md#key-source-down',
    });
    applying = true;
    await inSlices(deliver());
    status.remembered();
    await inSlices(applyArrived());
  }

  const stream = options.open({
    onEvent,
    onFailure(failure) {
      status.failed(failure.message);
    },
    meanwhile: () =>
      status.read().state === 'INITIALIZING' ? 'no environment is known yet' : 'keeping the known environments',
  });
  const recalling = cache && useRemembered(cache);

  return {
    status: status.read,
    async close() {
      closing.abort();
      stream.close();
      await remembered?.close();
      await recalling;
    },
  };
}

/** What the log says. */
function createLines(log: Log) {
  const ignored = createReasonLines((fields) =>
    log.warn('Ignored an auto-configuration event', { ...fields, runbook: 'operations.md#ignored-messages' }),
  );
  const pacedChanges = createPacedLines();
  const pacedInvalid = createPacedLines();
  return {
    ignored,
    changed(environments: number): void {
      pacedChanges(`${environments}`, (more) => log.info('Auto-configuration changed', { environments, ...more }));
    },
    *invalid<T>(what: 'environment' | 'filter', entries: Entries<T>): Generator<void, void> {
      for (const [id, reason] of entries) {
        if (typeof reason !== 'string') continue;
        pacedInvalid(`${what} ${id} ${reason}`, (more) =>
          log.error(`An auto-configuration ${what} is invalid; keeping its previous state`, {
            id,
            reason,
            ...more,
            runbook: 'operations.md#auto-configuration',
          }),
        );
        yield;
      }
    },
  };
}
