/**
 * LaunchDarkly's browser SDKs behind one interface. Everything here runs in a page: in jsdom, or bundled in a browser, where
 * results must be JSON.
 */
import { createClient, type LDClient, type LDOptions } from '@launchdarkly/js-client-sdk';
import { initialize, type LDClient as OlderClient } from 'launchdarkly-js-client-sdk';
import { silentLog } from '../support/logs.ts';

export type SomeContext = { kind: string; key?: string; [attribute: string]: unknown };

export interface Answer {
  readonly value: unknown;
  readonly variationIndex: number | null;
  readonly reason: unknown;
}

export interface ClientOptions {
  /** The relay's address. */
  readonly uri: string;
  readonly environmentId: string;
  readonly context: SomeContext;
  /** The hash of secure mode. */
  readonly hash?: string;
  readonly streaming: boolean;
  readonly useReport?: boolean;
  readonly sendEvents?: boolean;
  /** Default: the relay. */
  readonly eventsUri?: string;
  /** How long the SDK tries before it reports failure. Default: the SDK's own. */
  readonly patienceSeconds?: number;
}

export interface Client {
  /** Rejects with the SDK's error. */
  identify(context: SomeContext, hash?: string): Promise<void>;
  answers(flags: readonly string[], fallback: unknown): Record<string, Answer>;
  track(event: string): void;
  flush(): Promise<void>;
  close(): Promise<void>;
}

/** Resolves when the SDK is initialised; rejects with its error when it gives up. */
export type OpenClient = (options: ClientOptions) => Promise<Client>;

function openCurrent(more: LDOptions): OpenClient {
  return async (options) => {
    const { uri, environmentId, context, hash, streaming, useReport = false, sendEvents = false } = options;
    const timeout = options.patienceSeconds;
    const client: LDClient = createClient(environmentId, context as never, {
      ...{ baseUri: uri, streamUri: uri, eventsUri: options.eventsUri ?? uri, logger: silentLog },
      ...{ streaming, useReport, sendEvents, withReasons: true, diagnosticOptOut: !sendEvents, fetchGoals: false },
      ...more,
    });
    const started = await client.start({
      identifyOptions: { ...(hash !== undefined && { hash }), ...(timeout !== undefined && { timeout }) },
    });
    if (started.status !== 'complete') {
      await client.close();
      throw started.status === 'failed' ? started.error : new Error(started.status);
    }
    return {
      async identify(next, nextHash) {
        const result = await client.identify(next as never, {
          ...(nextHash !== undefined && { hash: nextHash }),
          ...(timeout !== undefined && { timeout }),
        });
        if (result.status === 'error') throw result.error;
        if (result.status !== 'completed') throw new Error(result.status);
      },
      answers: (flags, fallback) => collect(flags, (key) => client.variationDetail(key, fallback)),
      track: (event) => client.track(event),
      async flush() {
        await client.flush();
      },
      close: () => client.close(),
    };
  };
}

const openOlder: OpenClient = async (options) => {
  const { uri, environmentId, context, hash, streaming, useReport = false, sendEvents = false } = options;
  const client: OlderClient = initialize(environmentId, context as never, {
    ...{
      baseUrl: uri,
      streamUrl: uri,
      eventsUrl: options.eventsUri ?? uri,
      logger: silentLog,
      streamReconnectDelay: 200,
    },
    ...{ streaming, useReport, sendEvents, evaluationReasons: true, diagnosticOptOut: !sendEvents, fetchGoals: false },
    ...(hash !== undefined && { hash }),
  });
  try {
    await client.waitForInitialization();
  } catch (error) {
    await client.close();
    throw error;
  }
  return wrapOlder(client);
};

/** The older browser SDK and the Node client-side SDK share their code. */
export function wrapOlder(
  client: Pick<OlderClient, 'identify' | 'variationDetail' | 'track' | 'flush' | 'close'>,
): Client {
  return {
    async identify(next, nextHash) {
      await client.identify(next as never, nextHash);
    },
    answers: (flags, fallback) => collect(flags, (key) => client.variationDetail(key, fallback)),
    track: (event) => client.track(event),
    flush: () => client.flush(),
    close: () => client.close(),
  };
}

function collect(flags: readonly string[], ask: (key: string) => unknown): Record<string, Answer> {
  return Object.fromEntries(
    flags.map((key) => {
      const { value, variationIndex = null, reason } = ask(key) as Answer;
      return [key, { value, variationIndex, reason }];
    }),
  );
}

export const browserClients = {
  'the current browser SDK': openCurrent({}),
  'the current browser SDK with FDv2': openCurrent({ dataSystem: {} }),
  'the older browser SDK': openOlder,
} as const satisfies Record<string, OpenClient>;

export type BrowserClientName = keyof typeof browserClients;
