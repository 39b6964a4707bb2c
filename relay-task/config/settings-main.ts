/** The settings of the relay itself: section `[Main]` and its smaller neighbours. */
import {
  boolean,
  bytes,
  durationFrom,
  durationMs,
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

/** As Node.js names the version. */
const tlsVersion: Reader<(typeof nodeTlsVersions)[keyof typeof nodeTlsVersions]> = (value) => {
  const result = oneOf('1.0', '1.1', '1.2', '1.3')(value);
  return 'value' in result ? { value: nodeTlsVersions[result.value] } : result;
};

export const mainSettings = {
  port: main.setting('port', 'PORT', integer(0, 65_535), '8030', 'where to listen; 0 picks a free port'),
  listenHost: main.optional('listenHost', 'LISTEN_HOST', text, 'the address to listen on; every interface unless set'),
  streamUri: main.setting(
    'streamUri',
    'STREAM_URI',
    httpUrl,
    'https://stream.launchdarkly.com',
    'where LaunchDarkly streams from',
  ),
  baseUri: main.setting(
    'baseUri',
    'BASE_URI',
    httpUrl,
    'https://sdk.launchdarkly.com',
    'where LaunchDarkly is polled for Big Segments',
  ),
  clientSideBaseUri: main.optional(
    'clientSideBaseUri',
    'CLIENT_SIDE_BASE_URI',
    httpUrl,
    'where goals of browsers come from; `https://clientsdk.launchdarkly.com`, or `BASE_URI` where that is set',
  ),
  exitOnError: main.setting(
    'exitOnError',
    'EXIT_ON_ERROR',
    boolean,
    'false',
    'end with exit code 1 when an environment cannot be initialised within `INIT_TIMEOUT`',
  ),
  exitAlways: main.setting(
    'exitAlways',
    'EXIT_ALWAYS',
    boolean,
    'false',
    'fill the stores once and end, without listening: exit code 0 if every environment was initialised and every store has it',
  ),
  ignoreConnectionErrors: main.setting(
    'ignoreConnectionErrors',
    'IGNORE_CONNECTION_ERRORS',
    boolean,
    'false',
    'an environment that cannot be initialised is worth a warning, and no reason to end',
  ),
  initTimeoutMs: main.setting(
    'initTimeout',
    'INIT_TIMEOUT',
    durationMs,
    '10s',
    'how long an environment may take to get its first data before readiness stops waiting for it',
  ),
  heartbeatIntervalMs: main.setting(
    'heartbeatInterval',
    'HEARTBEAT_INTERVAL',
    durationMs,
    '3m',
    'how often an idle stream carries a comment; 0 or less: never. Behind a load balancer use at most half of its idle timeout',
    { bareMs: 1000, old: [{ option: 'heartbeatIntervalSecs', bareMs: 1000 }] },
  ),
  maxClientConnectionTimeMs: main.setting(
    'maxClientConnectionTime',
    'MAX_CLIENT_CONNECTION_TIME',
    durationMs,
    '0',
    'how long a stream may live, shortened at random by up to a fifth; 0: for ever',
  ),
  disconnectedStatusTimeMs: main.setting(
    'disconnectedStatusTime',
    'DISCONNECTED_STATUS_TIME',
    durationMs,
    '1m',
    'how long upstream may be interrupted before `/status` says disconnected',
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
    'on SIGTERM, the most that everything together may take; the drain window is cut to fit',
  ),
  readyRequires: main.setting(
    'readyRequires',
    'READY_REQUIRES',
    oneOf('any', 'all'),
    'any',
    '`/readyz` turns 200 when one environment has data, or only when all have',
  ),
  logLevel: main.setting('logLevel', 'LOG_LEVEL', logLevel, 'info', 'the least severe log lines to print'),
  tls: {
    enabled: main.setting('tlsEnabled', 'TLS_ENABLED', boolean, 'false', 'listen with TLS'),
    certFile: main.optional('tlsCert', 'TLS_CERT', text, 'the file of the certificate and its chain, PEM; watched'),
    keyFile: main.optional('tlsKey', 'TLS_KEY', text, "the file of the certificate's private key, PEM; watched"),
    minVersion: main.setting(
      'tlsMinVersion',
      'TLS_MIN_VERSION',
      tlsVersion,
      '1.2',
      'the oldest version of TLS that is spoken',
    ),
  },
  bigSegments: {
    staleAsDegraded: main.setting(
      'bigSegmentsStaleAsDegraded',
      'BIG_SEGMENTS_STALE_AS_DEGRADED',
      boolean,
      'false',
      '`/status` says degraded while Big Segments are stale',
    ),
    staleThresholdMs: main.setting(
      'bigSegmentsStaleThreshold',
      'BIG_SEGMENTS_STALE_THRESHOLD',
      durationMs,
      '5m',
      'how long after their last synchronisation Big Segments are stale',
    ),
  },
  expiredCredentialCleanupIntervalMs: main.setting(
    'expiredCredentialCleanupInterval',
    'EXPIRED_CREDENTIAL_CLEANUP_INTERVAL',
    durationFrom(100, '100ms'),
    '1m',
    'accepted as ld-relay has it; a key whose time is over is refused at once, whatever stands here',
  ),
  clientStreams: main.setting(
    'clientStreams',
    'CLIENT_STREAMS',
    oneOf('evaluated', 'ping'),
    'evaluated',
    'what streams of browsers and mobile SDKs carry: `evaluated` flags, or a `ping` that makes them ask again, as with ld-relay',
  ),
  pingStreamJitterMs: main.setting(
    'pingStreamJitterTime',
    'PING_STREAM_JITTER_TIME',
    durationMs,
    '0',
    'pings are spread at random between half of this and all of it; 0: at once',
  ),
  statusAccess: main.setting(
    'statusAccess',
    'STATUS_ACCESS',
    oneOf('public', 'restricted'),
    'public',
    'who may read `/status`: everybody, or only who sends a valid SDK key or `STATUS_TOKEN` as Authorization',
  ),
  statusToken: main.optional('statusToken', 'STATUS_TOKEN', text, 'opens a restricted `/status`', { secret: true }),
  maxClientRequestBodyBytes: main.setting(
    'maxClientRequestBodySize',
    'MAX_CLIENT_REQUEST_BODY_SIZE',
    bytes,
    '5MiB',
    'the largest context that is accepted in the body of a request',
  ),
  initMaxConcurrent: concurrency.optional(
    'initMaxConcurrent',
    'INIT_MAX_CONCURRENT',
    integer(1, 1_000_000),
    'how many streams are sent their first payload at once; the relay chooses unless set',
  ),
  initMaxQueued: concurrency.optional(
    'initMaxQueued',
    'INIT_MAX_QUEUED',
    integer(0, 10_000_000),
    'how many streams may wait for that before new ones are answered with 503; the relay chooses unless set',
  ),
} as const;
