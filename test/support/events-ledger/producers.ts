/** What sends numbered events: LaunchDarkly's SDKs, and for volume a plain HTTP client that posts the same bodies. */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { createClient } from '@launchdarkly/js-client-sdk';
import { init } from '@launchdarkly/node-server-sdk';
import { drivers, startDriver } from '../../interop/sdk-driver.ts';
import { silentLog } from '../logs.ts';
import type { Random } from '../random.ts';
import { keyOf, type Ledger } from './ledger.ts';

export interface SdkProducer {
  /** Tracks so many numbered events and flushes. What the SDK could not send, it has dropped then, or will send later. */
  send(count: number): Promise<void>;
  close(): Promise<void>;
}

interface Place {
  readonly uri: string;
  readonly ledger: Ledger;
  /** The environment's number in the ledger. */
  readonly environment: number;
}

type OpenSdk = (place: Place, credential: string) => Promise<SdkProducer>;

const context = (number: number) => ({ kind: 'user', key: `user-${number % 50}` });

export const openNodeSdk: OpenSdk = async ({ uri, ledger, environment }, sdkKey) => {
  const client = init(sdkKey, {
    ...{ streamUri: uri, baseUri: uri, eventsUri: uri, logger: silentLog, diagnosticOptOut: true },
    ...{ capacity: 100_000, flushInterval: 1 },
  });
  await client.waitForInitialization({ timeout: 60 });
  return {
    async send(count) {
      const { from, to } = ledger.offer(environment, count);
      for (let number = from; number < to; number++) client.track(keyOf(number), context(number), undefined, number);
      await client.flush().catch(() => {});
    },
    async close() {
      await client.flush().catch(() => {});
      client.close();
    },
  };
};

/** In jsdom: see `openWindow`. */
export const openBrowserSdk: OpenSdk = async ({ uri, ledger, environment }, environmentId) => {
  const client = createClient(environmentId, context(0) as never, {
    ...{ baseUri: uri, streamUri: uri, eventsUri: uri, logger: silentLog, diagnosticOptOut: true },
    // More than a test sends at once, and the SDK adds events of its own.
    ...{ capacity: 10_000, streaming: false, fetchGoals: false },
  });
  const started = await client.start();
  if (started.status !== 'complete') throw new Error(`the browser SDK did not start: ${started.status}`);
  return {
    async send(count) {
      const { from, to } = ledger.offer(environment, count);
      for (let number = from; number < to; number++) client.track(keyOf(number), undefined, number);
      await client.flush();
    },
    close: () => client.close(),
  };
};

const python = drivers.find(({ language }) => language === 'Python')?.command;

/** Undefined unless `test/interop/install.sh` has installed it. */
export const openPythonSdk: OpenSdk | undefined =
  python &&
  (async ({ uri, ledger, environment }, sdkKey) => {
    const driver = await startDriver(python, { mode: 'streaming', relay: uri, sdkKey, events: true });
    return {
      async send(count) {
        const { from, to } = ledger.offer(environment, count);
        await driver.ask({ track: [from, to] });
      },
      close: driver.close,
    };
  });

interface Volume extends Place {
  readonly credential: string;
  readonly count: number;
  readonly random: Random;
  /** Waits before a body while this is true: LaunchDarkly is behind. */
  readonly isBehind?: () => boolean;
  /** Events per body at most. */
  readonly mostPerBody?: number;
  /** Characters that each event has more. */
  readonly padding?: number;
  /** Senders of bodies at the same time. */
  readonly senders?: number;
}

const KINDS_OF_SDK = ['NodeJSClient/9.13.7', 'GoClient/7.14.6', 'PythonClient/9.18.2'];
const RETRY_MS = 50;

/**
 * Posts this many events in bodies of random sizes, and resolves when a relay has accepted all of them. It retries under the same payload ID,
 * as SDKs do, but longer, so that every number is accepted in the end.
 */
export async function sendVolume(volume: Volume): Promise<void> {
  const { ledger, environment, random, mostPerBody = 200, senders = 8, isBehind = () => false } = volume;
  let left = volume.count;
  const whole = (most: number) => 1 + Math.floor(random() * most);

  async function work(): Promise<void> {
    while (left > 0) {
      while (isBehind()) await sleep(5);
      const count = Math.min(left, whole(mostPerBody));
      left -= count;
      if (count <= 0) return;
      await post(volume, ledger.offer(environment, count));
    }
  }
  await Promise.all(Array.from({ length: senders }, work));
}

async function post(
  { uri, credential, random, padding = 0 }: Volume,
  { from, to }: { readonly from: number; readonly to: number },
): Promise<void> {
  const filler = padding > 0 ? { data: 'x'.repeat(Math.floor(random() * 2 * padding)) } : {};
  const events = Array.from({ length: to - from }, (_, index) => ({
    ...{ kind: 'custom', creationDate: 1_760_000_000_000, key: keyOf(from + index), context: context(from + index) },
    ...{ metricValue: from + index, ...filler },
  }));
  const text = JSON.stringify(events);
  const isGzip = random() < 0.25;
  const isServer = /^(?:sdk|mob)-/.test(credential);
  const path = credential.startsWith('sdk-') ? '/bulk' : isServer ? '/mobile' : `/events/bulk/${credential}`;
  const headers = {
    'Content-Type': 'application/json',
    'User-Agent': KINDS_OF_SDK[Math.floor(random() * KINDS_OF_SDK.length)] ?? '',
    'X-Forwarded-For': `198.51.100.${Math.floor(random() * 4)}`,
    'X-LaunchDarkly-Event-Schema': '4',
    'X-LaunchDarkly-Payload-ID': randomUUID(),
    ...(isGzip && { 'Content-Encoding': 'gzip' }),
    ...(isServer && { Authorization: credential }),
  };
  const body = isGzip ? gzipSync(text) : text;
  for (;;) {
    const status = await fetch(uri + path, { method: 'POST', headers, body }).then(
      async (answer) => {
        await answer.arrayBuffer();
        return answer.status;
      },
      () => 0,
    );
    if (status === 202) return;
    if (status >= 400 && status < 500) throw new Error(`the relay answered ${status} to events`);
    await sleep(RETRY_MS);
  }
}
