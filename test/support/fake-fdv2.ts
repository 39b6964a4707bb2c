/** A LaunchDarkly that speaks FDv2 on `/sdk/stream` and `/sdk/poll`, and FDv1 on `/all` and `/sdk/latest-all`, with the same data. */
import { type Answer, type FakeUpstream, type RecordedRequest, startFakeUpstream } from './fake-upstream.ts';

/** A payload as the protocol handler of LaunchDarkly's SDKs reads it. */
export interface OfficialPayload {
  readonly type: 'full' | 'partial' | 'none';
  readonly state?: string;
  readonly updates: readonly {
    readonly kind: string;
    readonly key: string;
    readonly version: number;
    readonly object?: unknown;
    readonly deleted?: boolean;
  }[];
}

export interface FDv2Event {
  readonly event: string;
  readonly data: unknown;
}

type Kind = 'flag' | 'segment';
export type FDv2Data = { readonly key: string; readonly version: number };

export interface FakeFDv2 {
  readonly upstream: FakeUpstream;
  readonly uri: string;
  /** The present state. */
  state(): string;
  /** Changes these items in one transfer, and tells open streams. */
  set(kind: Kind, ...items: readonly FDv2Data[]): Promise<void>;
  remove(kind: Kind, key: string, version: number): Promise<void>;
  /** Changes it without telling anyone. */
  setQuietly(kind: Kind, ...items: readonly FDv2Data[]): void;
  /** Remembers no earlier state, so that everything has to be sent. */
  forget(): void;
  /** What a client that names this state gets. */
  eventsFor(basis: string | null): FDv2Event[];
  /** Instead of the usual answer to a request for a stream or a poll; undefined: the usual one. */
  trouble: (request: RecordedRequest) => Answer | undefined;
  /** Instead of the events of the usual answer. */
  script: (request: RecordedRequest) => readonly FDv2Event[] | undefined;
  /** Headers of every answer. */
  headersFor: (request: RecordedRequest) => Readonly<Record<string, string>>;
  /** Sends events to open FDv2 streams. */
  send(...events: readonly FDv2Event[]): Promise<void>;
  /** Of FDv2: streams and polls, oldest first. */
  requests(path: '/sdk/stream' | '/sdk/poll' | '/all'): RecordedRequest[];
  close(): Promise<void>;
}

export const intent = (intentCode: string, reason = 'test'): FDv2Event => ({
  event: 'server-intent',
  data: { payloads: [{ id: 'p', target: 1, intentCode, reason }] },
});
export const putObject = (kind: string, object: FDv2Data): FDv2Event => ({
  event: 'put-object',
  data: { version: object.version, kind, key: object.key, object },
});
export const deleteObject = (kind: string, key: string, version: number): FDv2Event => ({
  event: 'delete-object',
  data: { version, kind, key },
});
export const transferred = (state: string): FDv2Event => ({
  event: 'payload-transferred',
  data: { state, version: 1, id: 'p' },
});

const pathOf = ({ url }: RecordedRequest) => url.split('?')[0] ?? '';
export const basisOf = ({ url }: RecordedRequest) => new URL(url, 'http://fake').searchParams.get('basis');

export const textOf = ({ event, data }: FDv2Event) =>
  `event: ${event}\ndata: ${typeof data === 'string' ? data : JSON.stringify(data)}\n\n`;

const toFDv1 = { to: (request: RecordedRequest) => pathOf(request) === '/all' };

/** A real server on 127.0.0.1 and a free port. The caller closes it. */
export async function startFakeFDv2(...flags: readonly FDv2Data[]): Promise<FakeFDv2> {
  const upstream = await startFakeUpstream();
  const items = new Map<
    string,
    { readonly kind: Kind; readonly data: FDv2Data; readonly deleted: boolean; at: number }
  >();
  let step = 0;
  let oldest = 0;

  function store(kind: Kind, deleted: boolean, changed: readonly FDv2Data[]): FDv2Event[] {
    step += 1;
    for (const data of changed) items.set(`${kind} ${data.key}`, { kind, data, deleted, at: step });
    upstream.data = { flags: liveOf('flag'), segments: liveOf('segment') };
    return [...changed.map((data) => eventOf({ kind, data, deleted })), transferred(fake.state())];
  }
  const eventOf = ({ kind, data, deleted }: { kind: Kind; data: FDv2Data; deleted: boolean }) =>
    deleted ? deleteObject(kind, data.key, data.version) : putObject(kind, data);
  const liveOf = (kind: Kind) =>
    Object.fromEntries(
      [...items.values()].flatMap((one) => (one.kind === kind && !one.deleted ? [[one.data.key, one.data]] : [])),
    );

  const fake: FakeFDv2 = {
    upstream,
    uri: upstream.uri,
    state: () => `state-${step}`,
    async set(kind, ...changed) {
      await fake.send(...store(kind, false, changed));
      for (const data of changed) await upstream.event('patch', { path: `/${kind}s/${data.key}`, data }, toFDv1);
    },
    async remove(kind, key, version) {
      await fake.send(...store(kind, true, [{ key, version }]));
      await upstream.event('delete', { path: `/${kind}s/${key}`, version }, toFDv1);
    },
    setQuietly: (kind, ...changed) => void store(kind, false, changed),
    forget() {
      oldest = step;
    },
    eventsFor(basis) {
      const named = /^state-(\d+)$/.exec(basis ?? '')?.[1];
      const from = named === undefined ? -1 : Number(named);
      if (from === step) return [intent('none', 'up-to-date')];
      const isKnown = from >= oldest;
      const wanted = [...items.values()].filter((one) => (isKnown ? one.at > from : !one.deleted));
      const code = isKnown ? intent('xfer-changes', 'stale') : intent('xfer-full', 'payload-missing');
      return [code, ...wanted.map(eventOf), transferred(fake.state())];
    },
    trouble: () => undefined,
    script: () => undefined,
    headersFor: () => ({}),
    async send(...events) {
      await upstream.send(events.map(textOf).join(''), { to: (request) => pathOf(request) === '/sdk/stream' });
    },
    requests: (path) => upstream.requests.filter((request) => pathOf(request) === path),
    close: upstream.close,
  };
  const eventsOf = (request: RecordedRequest) => fake.script(request) ?? fake.eventsFor(basisOf(request));
  upstream.headersFor = (request) => fake.headersFor(request);
  upstream.greetingFor = (request) =>
    pathOf(request) === '/sdk/stream' ? eventsOf(request).map(textOf).join('') : undefined;
  upstream.answer = (request) => {
    const trouble = fake.trouble(request);
    if (trouble !== undefined) return trouble;
    const bodies: Record<string, () => unknown> = {
      '/sdk/poll': () => ({ events: eventsOf(request) }),
      '/sdk/latest-all': () => upstream.data,
    };
    const body = bodies[pathOf(request)]?.();
    if (body === undefined) return 'stream';
    const headers = { 'Content-Type': 'application/json', ...fake.headersFor(request) };
    return { status: 200, headers, body: JSON.stringify(body) };
  };
  if (flags.length > 0) store('flag', false, flags);
  return fake;
}
