/** The settings of the relay itself: section `[Main]` and its smaller neighbours. */
import {
  boolean,
  bytes,
  bytesFrom,
  durationFrom,
  durationMs,
  durationOrNone,
  httpUrl,
  integer,
  logLevel,
  oneOf,
  type Reader,
  text,
} from '../common/setting-values.ts';
import { inSection } from './setting.ts';

const main = inSection('Main');
const concurrency = inSection('Concurrency');

const nodeTlsVersions = { '1.0': 'TLSv1', '1.1': 'TLSv1.1', '1.2': 'TLSv1.2', '1.3': 'TLSv1.3' } as const;

/** Larger contexts would hold up everyone else while they are evaluated. */
export const MAX_CONTEXT_BYTES = 1024 * 1024;

const contextBytes: Reader<number> = (value) => {
  const result = bytes(value);
  return 'value' in result ? { value: Math.min(result.value || MAX_CONTEXT_BYTES, MAX_CONTEXT_BYTES) } : result;
};

/** As Node.js names the version. */
const tlsVersion: Reader<(typeof nodeTlsVersions)[keyof typeof nodeTlsVersions]> = (value) => {
  const result = oneOf('1.0', '1.1', '1.2', '1.3')(value);
  return 'value' in result ? { value: nodeTlsVersions[result.value] } : result;
};

export const mainSettings = {
  port: main.setting('port', 'PORT', integer(0, 65_535), '8030', 'the port to listen on; 0 picks a free one'),
  listenHost: main.optional('listenHost', 'LISTEN_HOST', text, 'the address to listen on; all interfaces by default'),
  streamUri: main.setting(
    'streamUri',
    'STREAM_URI',
    httpUrl,
    'https://stream.launchdarkly.com',
    "the base URL of LaunchDarkly's streams",
  ),
  baseUri: main.setting(
    'baseUri',
    'BASE_URI',
    httpUrl,
    'https://sdk.launchdarkly.com',
    'the base URL for polling LaunchDarkly, for Big Segments and FDv2',
  ),
  upstreamProtocol: main.setting(
    'upstreamProtocol',
    'UPSTREAM_PROTOCOL',
    oneOf('fdv1', 'fdv2', 'fdv2-streaming', 'fdv2-polling'),
    'fdv1',
    'the protocol in which LaunchDarkly sends flags: `fdv1`; `fdv2`, by a stream, or by polling while the stream does not work; `fdv2-streaming` or `fdv2-polling`, in that way only',
  ),
  pollIntervalMs: main.setting(
    'pollInterval',
    'POLL_INTERVAL',
    durationFrom(1_000, '1s', 86_400_000, '24h'),
    '30s',
    'how often LaunchDarkly is asked for changes while flags come by polling',
  ),
  clientSideBaseUri: main.optional(
    'clientSideBaseUri',
    'CLIENT_SIDE_BASE_URI',
    httpUrl,
    'the base URL of goals for browsers; by default `https://clientsdk.launchdarkly.com`, or `BASE_URI` if that is set',
  ),
  exitOnError: main.setting(
    'exitOnError',
    'EXIT_ON_ERROR',
    boolean,
    'false',
    'exit with code 1 if an environment cannot be initialised within `INIT_TIMEOUT`',
  ),
  exitAlways: main.setting(
    'exitAlways',
    'EXIT_ALWAYS',
    boolean,
    'false',
    'fill the stores once and exit, without listening; exit code 0 if every environment was initialised and written to every store',
  ),
  ignoreConnectionErrors: main.setting(
    'ignoreConnectionErrors',
    'IGNORE_CONNECTION_ERRORS',
    boolean,
    'false',
    'log a warning instead of exiting when an environment cannot be initialised',
  ),
  initTimeoutMs: main.setting(
    'initTimeout',
    'INIT_TIMEOUT',
    durationMs,
    '10s',
    "how long readiness waits for an environment's first data",
  ),
  heartbeatIntervalMs: main.setting(
    'heartbeatInterval',
    'HEARTBEAT_INTERVAL',
    durationOrNone,
    '3m',
    'how often a comment is sent on idle streams; 0 or less: never. Behind a load balancer, use at most half of its idle timeout',
    { bareMs: 1000, old: [{ option: 'heartbeatIntervalSecs', bareMs: 1000 }] },
  ),
  maxClientConnectionTimeMs: main.setting(
    'maxClientConnectionTime',
    'MAX_CLIENT_CONNECTION_TIME',
    durationOrNone,
    '0',
    'how long a stream may stay open, shortened at random by up to a fifth; 0: no limit',
  ),
  disconnectedStatusTimeMs: main.setting(
    'disconnectedStatusTime',
    'DISCONNECTED_STATUS_TIME',
    durationMs,
    '1m',
    'how long upstream may be interrupted before `/status` reports it as disconnected; before the first connection it always does',
  ),
  drainWindowMs: main.setting(
    'drainWindow',
    'DRAIN_WINDOW',
    durationMs,
    '5s',
    'on SIGTERM, the time over which open streams are closed',
  ),
  gracefulShutdownTimeoutMs: main.setting(
    'gracefulShutdownTimeout',
    'GRACEFUL_SHUTDOWN_TIMEOUT',
    durationMs,
    '30s',
    'on SIGTERM, the time limit for the whole shutdown; the drain window is shortened to fit',
  ),
  readyRequires: main.setting(
    'readyRequires',
    'READY_REQUIRES',
    oneOf('any', 'all'),
    'any',
    '`/readyz` answers 200 when `any` environment has data, or only when `all` have',
  ),
  logLevel: main.setting('logLevel', 'LOG_LEVEL', logLevel, 'info', 'the lowest severity of log lines to print'),
  logFormat: main.setting(
    'logFormat',
    'LOG_FORMAT',
    oneOf('auto', 'json', 'text'),
    'auto',
    'how log lines are written: `json`, or `text` for people; `auto`: text on a terminal, JSON elsewhere',
  ),
  tls: {
    enabled: main.setting('tlsEnabled', 'TLS_ENABLED', boolean, 'false', 'listen with TLS'),
    certFile: main.optional(
      'tlsCert',
      'TLS_CERT',
      text,
      'a PEM file with the certificate and its chain; watched for changes',
    ),
    keyFile: main.optional(
      'tlsKey',
      'TLS_KEY',
      text,
      "a PEM file with the certificate's private key; watched for changes",
    ),
    minVersion: main.setting('tlsMinVersion', 'TLS_MIN_VERSION', tlsVersion, '1.2', 'the oldest TLS version to accept'),
  },
  bigSegments: {
    staleAsDegraded: main.setting(
      'bigSegmentsStaleAsDegraded',
      'BIG_SEGMENTS_STALE_AS_DEGRADED',
      boolean,
      'false',
      '`/status` reports degraded while Big Segments are stale',
    ),
    staleThresholdMs: main.setting(
      'bigSegmentsStaleThreshold',
      'BIG_SEGMENTS_STALE_THRESHOLD',
      durationMs,
      '5m',
      'Big Segments are stale this long after their last synchronisation',
    ),
    cacheBytes: main.setting(
      'bigSegmentsCacheSize',
      'BIG_SEGMENTS_CACHE_SIZE',
      bytes,
      '32MiB',
      'memory for the memberships of contexts in Big Segments, which stay in use while the store cannot be asked; 32 MiB hold about 90,000 contexts. All environments share it, and open streams remember their own',
    ),
  },
  clientStreams: main.setting(
    'clientStreams',
    'CLIENT_STREAMS',
    oneOf('evaluated', 'ping'),
    'evaluated',
    'what browsers and mobile SDKs receive on streams: `evaluated` flags, or a `ping` to poll again, as with ld-relay',
  ),
  pingStreamJitterMs: main.setting(
    'pingStreamJitterTime',
    'PING_STREAM_JITTER_TIME',
    durationOrNone,
    '0',
    'each ping is delayed at random by half of this to all of it; 0: no delay',
  ),
  statusAccess: main.setting(
    'statusAccess',
    'STATUS_ACCESS',
    oneOf('public', 'restricted'),
    'public',
    'who may read `/status`: everyone, or only clients that send a valid SDK key or `STATUS_TOKEN` as Authorization',
  ),
  statusToken: main.optional(
    'statusToken',
    'STATUS_TOKEN',
    text,
    'a token that gives access to a restricted `/status`',
    { secret: true },
  ),
  maxClientRequestBodyBytes: main.setting(
    'maxClientRequestBodySize',
    'MAX_CLIENT_REQUEST_BODY_SIZE',
    contextBytes,
    '256KiB',
    'the largest context accepted in a request body, after decompression; at most 1 MiB, which `0B` means too, and 64 KiB for a stream',
  ),
  memoryBudgetBytes: main.optional(
    'memoryBudget',
    'MEMORY_BUDGET',
    bytesFrom(16 * 1024 * 1024, '16MiB'),
    'how many bytes the relay may hold in memory for clients: open streams, request bodies, waiting events; beyond it, new ones get 503. At least 16 MiB; by default, and for `0B`, a quarter of the memory, and at most half of the heap (`memory` in `/status`)',
  ),
  initMaxConcurrent: concurrency.optional(
    'maxConcurrent',
    'INIT_MAX_CONCURRENT',
    integer(0, 1_000_000),
    'how many streams are sent their first payload at the same time; chosen by the relay by default, and for 0',
  ),
  initMaxQueued: concurrency.optional(
    'maxQueued',
    'INIT_MAX_QUEUED',
    integer(0, 10_000_000),
    'how many streams may wait for that before new ones get 503; chosen by the relay by default',
  ),
} as const;
