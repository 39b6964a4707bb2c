import { createServer, type IncomingHttpHeaders, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gunzipSync } from 'node:zlib';
import type { Item } from '../../../lib/flag-table/index.ts';
import { createMeasures, type MeasureName } from '../../../relay-task/common/measures.ts';
import { nextTurn } from '../../../relay-task/common/slices.ts';
import { createEventForwarding, type EventForwardingOptions } from '../../../relay-task/events/forwarding.ts';
import type { CredentialKind, EventDelivery, EventIntake } from '../../../relay-task/ports.ts';
import { createLogRecorder } from '../../support/logs.ts';
import { closeAfterEach } from '../../support/opened.ts';

export const SDK_KEY = 'sdk-0a1b2c3d-never-show-this';
export const MOBILE_KEY = 'mob-0a1b2c3d-never-show-this';
export const ENVIRONMENT_ID = '64a0c0ffee';

/** A flush interval for tests that call `flush` themselves: only then do they know what one payload holds. */
export const NEVER_MS = 3_600_000;

export type Event = Record<string, unknown>;

export interface Received {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  /** The body as JSON. */
  readonly events: Event[];
  /** The status of the response. */
  readonly status: number;
}

/** `hang`: no response; `cut`: the connection is destroyed; `lost`: the events are accepted, but the response is lost. */
export type Reaction =
  | number
  | 'hang'
  | 'cut'
  | 'lost'
  | { readonly status: number; readonly headers: Readonly<Record<string, string>> };

/** Each test file that imports this module closes what it opened after each of its tests. */
export const { behind: closeLater } = closeAfterEach();

export async function startServer(
  listener: RequestListener,
): Promise<{ readonly uri: string; readonly server: Server }> {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closeLater(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  return { uri: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, server };
}

/** LaunchDarkly's event recorder; `mood.react` decides its responses. */
export async function startLaunchDarkly(
  react: (request: Omit<Received, 'status'>) => Reaction | Promise<Reaction> = () => 202,
) {
  const requests: Received[] = [];
  const mood = { react, underWay: 0, mostUnderWay: 0 };
  const { uri, server } = await startServer((request, response) => {
    mood.underWay += 1;
    mood.mostUnderWay = Math.max(mood.mostUnderWay, mood.underWay);
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('error', () => {});
    request.on('end', async () => {
      const body = Buffer.concat(chunks);
      const text = (request.headers['content-encoding'] === 'gzip' ? gunzipSync(body) : body).toString();
      const received = { path: request.url ?? '', headers: request.headers, text, events: JSON.parse(text) as Event[] };
      const reaction = await mood.react(received);
      // Before the response is sent, because the next request may follow at once.
      mood.underWay -= 1;
      const status = statusOf(reaction);
      requests.push({ ...received, status });
      if (reaction === 'cut' || reaction === 'lost') request.socket.destroy();
      else if (reaction !== 'hang')
        response.writeHead(status, typeof reaction === 'object' ? reaction.headers : {}).end();
    });
  });
  return {
    uri,
    server,
    mood,
    requests,
    /** Accepted events in order; a repeated payload ID counts once, as at LaunchDarkly. */
    taken(path?: string): Event[] {
      const payloads = new Set<unknown>();
      return requests.flatMap(({ headers, events, status, path: to }) => {
        const id = headers['x-launchdarkly-payload-id'];
        if (status < 200 || status > 299 || (path !== undefined && to !== path)) return [];
        if (id !== undefined && payloads.has(id)) return [];
        payloads.add(id);
        // A diagnostic event is a single object.
        return Array.isArray(events) ? events : [events];
      });
    },
  };
}

function statusOf(reaction: Reaction): number {
  if (typeof reaction === 'number') return reaction;
  if (typeof reaction === 'object') return reaction.status;
  return reaction === 'lost' ? 202 : 0;
}

/** Retries soon, so that tests need not wait. No answer counts as slow, since a busy machine may delay any. */
export function startForwarding(eventsUri: string, more: Partial<EventForwardingOptions> = {}) {
  const { log, lines } = createLogRecorder();
  const measures = createMeasures();
  const forwarding = createEventForwarding({
    eventsUri,
    flushIntervalMs: 10,
    capacity: 1_000,
    userAgent: 'EdgeFlagRelay/1.2.3',
    log,
    measures,
    ...more,
    timings: {
      slowAfterMs: NEVER_MS,
      firstRetryMs: 5,
      longestRetryMs: 20,
      firstRefusedMs: 60_000,
      longestRefusedMs: 60_000,
      closingRetryMs: 5,
      ...more.timings,
    },
  });
  closeLater(() => forwarding.close(0));
  /** The sum of one metric, over all labels or the given ones. */
  const measured = async (name: MeasureName, labels: Record<string, string> = {}) => {
    const metric = await measures.registry.getSingleMetric(measures.fullName(name))?.get();
    const matching = metric?.values.filter((value) =>
      Object.entries(labels).every(([label, text]) => value.labels[label] === text),
    );
    return (matching ?? []).reduce((total, { value }) => total + value, 0);
  };
  return { forwarding, lines, measures, measured };
}

/** Of all clients with an SDK key or a mobile key. */
export const CLIENT_KEY = 'sdk-of-the-client';

/** An environment whose events are all sent with `credentials`, which a test may change. */
export function startEnvironment(
  eventsUri: string,
  more: Partial<EventForwardingOptions> = {},
  flags: Readonly<Record<string, object>> = {},
) {
  const started = startForwarding(eventsUri, more);
  const credentials = { sdkKey: SDK_KEY, mobileKey: MOBILE_KEY, environmentId: ENVIRONMENT_ID };
  const items = new Map(Object.entries(flags).map(([key, data]) => [key, itemOf(key, data)]));
  const intake = started.forwarding.environment({
    name: 'production',
    senderOf: (kind) => credentials[kind],
    flag: (key) => items.get(key),
  });
  return { ...started, intake, credentials };
}

function itemOf(key: string, data: object): Item {
  return { kind: 'features', key, version: 1, deleted: false, ...data, json: JSON.stringify({ key, ...data }) };
}

/** What the endpoints say of a request beside its events. */
export const FROM = { address: '192.0.2.1', pause: nextTurn };

export interface Sending extends Partial<Pick<EventDelivery, 'address' | 'pause'>> {
  readonly kind?: CredentialKind;
  readonly schema?: number | string | undefined;
  readonly headers?: IncomingHttpHeaders;
}

/** Passes a request on as the endpoints do. */
export function send(
  intake: EventIntake,
  body: unknown,
  { kind = 'sdkKey', schema = 4, headers, ...from }: Sending = {},
): Promise<void> {
  return intake.analytics({
    ...{ kind, ...FROM, ...from },
    credential: kind === 'environmentId' ? ENVIRONMENT_ID : CLIENT_KEY,
    headers: { ...(schema !== undefined && { 'x-launchdarkly-event-schema': String(schema) }), ...headers },
    body: Buffer.isBuffer(body) ? body : Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)),
  });
}

/** A server for an official SDK that passes event bodies to the intake as the endpoints do. */
export function startInbound(intake: EventIntake) {
  return startServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const sent = Buffer.concat(chunks);
      const body = request.headers['content-encoding'] === 'gzip' ? gunzipSync(sent) : sent;
      const delivery = {
        ...FROM,
        kind: 'sdkKey' as const,
        credential: request.headers.authorization ?? '',
        headers: request.headers,
        body,
      };
      if (request.url === '/bulk') intake.analytics(delivery);
      if (request.url === '/diagnostic') intake.diagnostic(delivery);
      response.writeHead(202).end();
    });
  });
}

export const user = (key: string, more: object = {}) => ({ kind: 'user', key, ...more });

export const custom = (id: number | string, more: object = {}) => ({
  kind: 'custom',
  creationDate: 1_760_000_000_000,
  key: `event-${id}`,
  context: user('alice'),
  ...more,
});
