/**
 * Concurrent readers of a relay: requests with every kind of credential, raw streams and official SDKs. Each records
 * everything that a rotation of keys must not cause.
 */
import { init, type LDClient } from '@launchdarkly/node-server-sdk';
import { until } from './eventually.ts';
import { silentLog } from './logs.ts';
import { readStream, type StreamReader } from './read-stream.ts';

interface LoadOptions {
  readonly port: number;
  readonly mobileKey: string;
  readonly environmentId: string;
  readonly requestsPerSecond: number;
  /** A flag that always exists, and whose value is never `FALLBACK`. */
  readonly flag: string;
}

interface Load {
  /** Requests so far. */
  readonly requests: number;
  /** Evaluations by official SDKs so far. */
  readonly evaluations: number;
  /** Descriptions of everything that must not happen. */
  readonly failures: readonly string[];
  /** How many streams are open. */
  readonly openStreams: number;
  /** From now on requests use this SDK key, too. */
  use(sdkKey: string): void;
  /** Stops requests with this key and resolves when those in progress are answered. Its streams stay open. */
  retire(sdkKey: string): Promise<void>;
  /** Opens raw streams of server SDKs, and waits until each has its first event. */
  openServerStreams(sdkKey: string, count: number): Promise<void>;
  /** Opens raw streams of mobile SDKs and browsers in turn. */
  openClientStreams(count: number): Promise<void>;
  /** Starts official SDKs, each of which evaluates the flag repeatedly. */
  startSdks(sdkKey: string, count: number): Promise<void>;
  closeSdks(sdkKey: string): void;
  /** Resolves with how each raw stream of this revoked key ended, once all have. */
  ended(sdkKey: string): Promise<readonly string[]>;
  /** Resolves when every open server stream has seen this flag in this version. */
  seen(flag: string, version: number): Promise<void>;
  close(): Promise<void>;
}

const context = Buffer.from('{"kind":"user","key":"load"}').toString('base64url');

export function startLoad(options: LoadOptions): Load {
  const { port, mobileKey, environmentId, requestsPerSecond, flag } = options;
  const failures: string[] = [];
  const sdkKeys = new Set<string>();
  const underWay = new Map<Promise<void>, string>();
  const streams = new Map<StreamReader, string>();
  const sdks = new Map<LDClient, string>();
  let requests = 0;
  let evaluations = 0;
  let closing = false;

  const isEmpty = (body: string) => Object.keys(JSON.parse(body)).length === 0;
  const hasNoFlags = (body: string) => isEmpty(JSON.stringify(JSON.parse(body).flags));
  const kinds: readonly ((sdkKey: string) => {
    path: string;
    key?: string;
    body?: string;
    status?: number;
    bad(body: string): boolean;
  })[] = [
    (key) => ({ path: '/sdk/latest-all', key, bad: hasNoFlags }),
    () => ({ path: `/msdk/evalx/contexts/${context}`, key: mobileKey, bad: isEmpty }),
    (key) => ({ path: `/sdk/flags/${flag}`, key, bad: isEmpty }),
    () => ({ path: `/sdk/evalx/${environmentId}/contexts/${context}`, bad: isEmpty }),
    (key) => ({ path: `/sdk/evalx/contexts/${context}`, key, bad: isEmpty }),
    (key) => ({ path: '/bulk', key, body: '[]', status: 202, bad: () => false }),
  ];

  async function ask(sdkKey: string, turn: number): Promise<void> {
    const { path, key, body, status = 200, bad } = kinds[turn % kinds.length]!(sdkKey);
    try {
      const response = await fetch(`http://127.0.0.1:${port}${path}`, {
        headers: { ...(key !== undefined && { Authorization: key }), 'Content-Type': 'application/json' },
        ...(body !== undefined && { method: 'POST', body }),
      });
      const text = await response.text();
      if (response.status !== status) failures.push(`${path} was answered with ${response.status}: ${text}`);
      else if (bad(text)) failures.push(`${path} was answered with nothing in it: ${text}`);
    } catch (error) {
      failures.push(`${path} was not answered: ${String((error as Error).cause ?? error)}`);
    }
    requests += 1;
  }

  const ticking = setInterval(() => {
    const keys = [...sdkKeys];
    if (keys.length === 0) return;
    const turn = requests + underWay.size;
    const sdkKey = keys[Math.floor(turn / kinds.length) % keys.length]!;
    const asking: Promise<void> = ask(sdkKey, turn).finally(() => underWay.delete(asking));
    underWay.set(asking, sdkKey);
  }, 1_000 / requestsPerSecond);

  const evaluating = setInterval(async () => {
    for (const [sdk] of sdks) {
      const value = await sdk.variation(flag, { kind: 'user', key: 'load' }, 'FALLBACK');
      evaluations += 1;
      if (value === 'FALLBACK' && sdks.has(sdk)) failures.push('an official SDK answered with the fallback');
    }
  }, 20);

  async function openStream(path: string, key: string | undefined, owner: string): Promise<void> {
    const stream = await readStream({ port, path, headers: key === undefined ? {} : { Authorization: key } });
    if (stream.status !== 200) return void failures.push(`the stream ${path} was answered with ${stream.status}`);
    streams.set(stream, owner);
    await stream.next(20_000);
    void stream.ended.then((how) => {
      if (streams.delete(stream) && !closing) failures.push(`the stream ${path} ended unexpectedly (${how})`);
    });
  }

  function examine(stream: StreamReader) {
    for (const { event, data } of stream.events) {
      if (event !== 'put') continue;
      const body = JSON.parse(data);
      if (isEmpty(JSON.stringify(body.data?.flags ?? body))) failures.push(`a stream was sent an empty put: ${data}`);
    }
  }

  const inBatches = async (count: number, open: (index: number) => Promise<void>) => {
    for (let done = 0; done < count; done += 20) {
      await Promise.all(Array.from({ length: Math.min(20, count - done) }, (_, index) => open(done + index)));
    }
  };

  return {
    get requests() {
      return requests;
    },
    get evaluations() {
      return evaluations;
    },
    failures,
    get openStreams() {
      return streams.size;
    },
    use: (sdkKey) => void sdkKeys.add(sdkKey),
    async retire(sdkKey) {
      sdkKeys.delete(sdkKey);
      await Promise.all([...underWay].flatMap(([asking, key]) => (key === sdkKey ? [asking] : [])));
    },
    openServerStreams: (sdkKey, count) => inBatches(count, () => openStream('/all', sdkKey, sdkKey)),
    openClientStreams: (count) =>
      inBatches(count, (index) =>
        index % 2 === 0
          ? openStream(`/meval/${context}`, mobileKey, mobileKey)
          : openStream(`/eval/${environmentId}/${context}`, undefined, environmentId),
      ),
    async startSdks(sdkKey, count) {
      const uri = `http://127.0.0.1:${port}`;
      await inBatches(count, async () => {
        const sdk = init(sdkKey, {
          ...{ streamUri: uri, baseUri: uri, eventsUri: uri, sendEvents: false, diagnosticOptOut: true },
          logger: silentLog,
        });
        try {
          await sdk.waitForInitialization({ timeout: 60 });
          sdks.set(sdk, sdkKey);
        } catch (error) {
          failures.push(`an official SDK did not start: ${(error as Error).message}`);
        }
      });
    },
    closeSdks(sdkKey) {
      for (const [sdk, key] of sdks) {
        if (key !== sdkKey) continue;
        sdks.delete(sdk);
        sdk.close();
      }
    },
    async ended(sdkKey) {
      const own = [...streams].flatMap(([stream, owner]) => (owner === sdkKey ? [stream] : []));
      for (const stream of own) streams.delete(stream);
      for (const stream of own) examine(stream);
      return Promise.all(own.map(({ ended }) => ended));
    },
    seen: (key, version) =>
      until(`every server stream had ${key} in version ${version}`, () =>
        [...streams].every(([{ events }, owner]) => {
          if (owner === mobileKey || owner === environmentId) return true;
          return events.some(({ data }) => {
            const message = JSON.parse(data);
            const item = message.path === `/flags/${key}` ? message.data : message.data?.flags?.[key];
            return item?.version >= version;
          });
        }),
      ),
    async close() {
      closing = true;
      clearInterval(ticking);
      clearInterval(evaluating);
      await Promise.all(underWay.keys());
      for (const sdk of sdks.keys()) sdk.close();
      sdks.clear();
      for (const stream of streams.keys()) {
        examine(stream);
        stream.close();
      }
    },
  };
}
