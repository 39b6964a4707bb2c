/**
 * A small CloudFront emulator: runs the built edge functions, each in its own process, in CloudFront's order.
 * It has no cache: every request is a miss.
 */
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { CloudFrontRequest, CloudFrontResponse, CloudFrontResultResponse } from 'aws-lambda';
import type { ReaderStatus } from '../../lambda/edge-reader/index.ts';
import { type CustomOrigin, flagKeysOf } from '../../lambda/edge-router/config.ts';
import { readBootstrap } from '../../lib/infrastructure/edge-bootstrap.ts';
import { buildEdge, type EdgeConfigs } from '../../lib/infrastructure/edge-bundle.ts';
import { routerConfigs } from '../../lib/infrastructure/edge-configs.ts';
import {
  describeResultProblem,
  type EventType,
  isGenerated,
  toCloudFrontHeaders,
  toEvent,
  toNodeHeaders,
} from './cloudfront.ts';
import { edgeHost } from './edge-host.ts';
import {
  createSite,
  type LocalBehavior,
  type LocalSite,
  type LocalSiteSettings,
  type SiteOrigin,
} from './edge-site.ts';
import { type LambdaProcess, startLambdaProcess } from './lambda-process.ts';
import { bytesOf, EdgeError, fetchOrigin } from './origin.ts';
import { describeRefusal, matchesPath, toForwarded, toSent, withoutForeignCookies } from './origin-request.ts';
import { close, listen } from './sample-origins.ts';

interface LocalEdgeOptions extends LocalSiteSettings {
  /** 0 picks a free one. */
  readonly port: number;
  readonly table: { readonly endpoint: string; readonly name: string; readonly prefix?: string };
  /** How long the reader answers from memory. Default 1,000, so that a change shows soon. */
  readonly refreshMs?: number;
  /** The execution region. Default eu-west-1. */
  readonly region?: string;
  /** One readable line. */
  log?(line: string): void;
}

export interface LocalEdge {
  readonly url: string;
  /** What the reader inside viewer-request holds. Starts a read if one is due, so polling it shows when a revision arrives. */
  status(): Promise<ReaderStatus>;
  /** Process ids of the edge functions. */
  pids(): Readonly<Record<EventType, number | undefined>>;
  close(): Promise<void>;
}

/** The stage that preview links must name. */
export const LOCAL_STAGE = 'local';

/** AWS quotas of viewer and origin functions. */
const LIMITS: Readonly<Record<EventType, { timeoutMs: number; memoryMb: number }>> = {
  'viewer-request': { timeoutMs: 5_000, memoryMb: 128 },
  'origin-request': { timeoutMs: 30_000, memoryMb: 128 },
  'viewer-response': { timeoutMs: 5_000, memoryMb: 128 },
};

/** Rejects if the port is in use. The functions' processes end on `close`, and when this process does. */
export async function startLocalEdge(options: LocalEdgeOptions): Promise<LocalEdge> {
  const { port, table, refreshMs = 1_000, region = 'eu-west-1', log = () => {}, ...settings } = options;
  const site = createSite(settings);
  const directory = await mkdtemp(join(tmpdir(), 'local-edge-'));
  const functions = new Map<EventType, LambdaProcess>();
  const handle = createHandler(site, functions);
  const server = createServer((request, response) => {
    handle(request).then(
      ({ answer, body }) => {
        response.writeHead(Number(answer.status), answer.statusDescription, toNodeHeaders(answer.headers));
        response.end(body);
      },
      (problem) => refuse(response, problem, log),
    );
  });

  async function closeAll() {
    await close(server);
    await Promise.all([...functions.values()].map((one) => one.close()));
    await rm(directory, { recursive: true, force: true });
  }

  try {
    const host = edgeHost(directory);
    const { endpoint, name: tableName, prefix = '' } = table;
    const reader = { tableName, prefix, endpoint, refreshMs, replicas: { default: [region] } };
    const configs = toConfigs(site, reader);
    for (const entry of ['viewer-request', 'origin-request', 'viewer-response'] as const) {
      const file = buildEdge({ entry, config: configs[entry], outdir: join(directory, entry), target: 'node20' });
      functions.set(entry, startLambdaProcess({ name: entry, host, file, region, ...LIMITS[entry], log }));
    }
    const url = await listen(server, port);
    return {
      url,
      status: async () => (await functions.get('viewer-request')!.status()) as ReaderStatus,
      pids: () =>
        Object.fromEntries([...functions].map(([name, one]) => [name, one.pid()])) as ReturnType<LocalEdge['pids']>,
      close: closeAll,
    };
  } catch (problem) {
    await closeAll();
    throw problem;
  }
}

/** Answers a viewer's request as the distribution would. Rejects with an EdgeError for what CloudFront answers itself. */
function createHandler(site: LocalSite, functions: ReadonlyMap<EventType, LambdaProcess>) {
  /** The function's result, if CloudFront would accept it. */
  async function run<T extends object>(
    eventType: EventType,
    requestId: string,
    request: CloudFrontRequest,
    response?: CloudFrontResponse,
  ): Promise<T> {
    const result = await functions
      .get(eventType)!
      .invoke(toEvent(eventType, requestId, request, response))
      .catch((problem: Error) => {
        throw new EdgeError(503, problem.message);
      });
    const problem = describeResultProblem(eventType, result, (response ?? request).headers, response?.status);
    if (problem) throw new EdgeError(502, `${eventType} returned a result that CloudFront rejects: ${problem}`);
    return result as T;
  }

  async function handle(incoming: IncomingMessage): Promise<{ answer: CloudFrontResponse; body: Buffer }> {
    const requestId = randomUUID();
    const body = await bytesOf(incoming);
    const seen = toRequest(incoming);
    const behavior = site.behaviors.find(({ path }) => path === undefined || matchesPath(path, seen.uri))!;
    const refusal = describeRefusal(seen, body.length, behavior.methods);
    if (refusal) throw new EdgeError(refusal.status, refusal.why);
    if (!behavior.routed) return fetchAny(behavior, seen, body, requestId, incoming);

    const viewed = await run<CloudFrontRequest | CloudFrontResultResponse>('viewer-request', requestId, seen);
    if (isGenerated(viewed)) return generated(viewed);
    const request = viewed as CloudFrontRequest;

    const fetched = await fetchAny(behavior, request, body, requestId, incoming);
    // "Restrictions on all edge functions": not invoked when the origin answers 400 or above.
    if (Number(fetched.answer.status) >= 400) return fetched;

    const answer = await run<CloudFrontResponse>('viewer-response', requestId, request, fetched.answer);
    return { answer, body: fetched.body };
  }

  /** From the behavior's origin or, if that fails, from its fallback. */
  async function fetchAny(
    behavior: LocalBehavior,
    request: CloudFrontRequest,
    body: Buffer,
    requestId: string,
    { socket, httpVersion }: IncomingMessage,
  ) {
    const { forwarding, routed, origins } = behavior;
    const viewer = { port: socket.remotePort ?? 0, httpVersion };
    const from = async (own: SiteOrigin) => {
      const via = `${httpVersion} local.cloudfront.net (CloudFront)`;
      const forwarded = toForwarded(request, { forwarding, originHost: own.host, viewer, via });
      const missed = structuredClone({ ...forwarded, origin: toOrigin(own.settings) });
      const sent = routed
        ? await run<CloudFrontRequest | CloudFrontResultResponse>('origin-request', requestId, missed)
        : missed;
      if (isGenerated(sent)) return generated(sent);
      const last = toSent(sent as CloudFrontRequest, requestId);
      const { answer, body: bytes } = await fetchOrigin(last, body, site.hostname(last.origin!.custom!.domainName));
      return { answer: withoutForeignCookies(answer, forwarding), body: bytes };
    };
    const [first, second] = origins;
    if (!second || !['GET', 'HEAD'].includes(request.method)) return from(first);
    const failed = (status: number) => behavior.failoverStatusCodes.includes(status);
    const one = await from(first).catch((problem) => {
      if (problem instanceof EdgeError && failed(problem.status)) return undefined;
      throw problem;
    });
    return one && !failed(Number(one.answer.status)) ? one : from(second);
  }

  return handle;
}

/** As a stage has them, for a site without TLS: browsers keep no secure cookies of it. */
function toConfigs({ edge }: LocalSite, reader: EdgeConfigs['reader']): EdgeConfigs {
  const { bootstrapFile, preview } = edge;
  const configs = routerConfigs({ ...edge, cookieSecure: false }, reader);
  return {
    reader,
    ...configs,
    'viewer-request': {
      ...configs['viewer-request'],
      ...(bootstrapFile !== undefined && { bootstrap: readBootstrap(bootstrapFile, flagKeysOf(edge)) }),
      ...(preview && { preview: { ...preview, stage: LOCAL_STAGE, secure: false } }),
    },
  };
}

function toRequest(incoming: IncomingMessage): CloudFrontRequest {
  const [uri = '/', querystring = ''] = (incoming.url ?? '/').split(/\?(.*)/s);
  const { method = 'GET', socket } = incoming;
  return {
    clientIp: socket.remoteAddress ?? '',
    headers: toCloudFrontHeaders(incoming.headers),
    method,
    querystring,
    uri,
  };
}

function toOrigin(origin: CustomOrigin): NonNullable<CloudFrontRequest['origin']> {
  const { domainName, protocol = 'https', port, headers = {} } = origin;
  const customHeaders = toCloudFrontHeaders(headers);
  const custom = { domainName, protocol, port: port ?? (protocol === 'https' ? 443 : 80), path: '', customHeaders };
  return { custom: { ...custom, sslProtocols: ['TLSv1.2'], readTimeout: 30, keepaliveTimeout: 5 } };
}

function generated({
  status,
  statusDescription = '',
  headers = {},
  body = '',
  bodyEncoding,
}: CloudFrontResultResponse) {
  const answer: CloudFrontResponse = { status: String(status), statusDescription, headers };
  return { answer, body: Buffer.from(body, bodyEncoding === 'base64' ? 'base64' : 'utf8') };
}

function refuse(response: ServerResponse, problem: unknown, log: (line: string) => void) {
  const status = problem instanceof EdgeError ? problem.status : 502;
  const message = problem instanceof Error ? problem.message : String(problem);
  log(`${status}: ${message}`);
  response.writeHead(status, {
    'content-type': 'text/plain; charset=utf-8',
    'x-cache': 'Error from the local edge',
  });
  response.end(`${message}\n`);
}
