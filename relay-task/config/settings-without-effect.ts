/** What ld-relay has and this relay has no use for: understood, checked, and answered with one line of why. */
import { boolean, durationFrom, durationMs, integer, type Reader, text } from '../common/setting-values.ts';
import type { SettingSource } from './setting.ts';

export interface SettingWithoutEffect extends SettingSource<unknown> {
  /** Completes "… has no effect: ". */
  readonly why: string;
}

const row = (
  section: string,
  option: string | undefined,
  env: string,
  read: Reader<unknown>,
  why: string,
  more: Partial<SettingWithoutEffect> = {},
): SettingWithoutEffect => ({ section, option, env, read, why, ...more });

const memory = 'all data is in memory; the store is read at startup and while LaunchDarkly cannot be reached';
const datadogTraces =
  "traces are sent by OTLP: set USE_OTLP=true, and OTEL_EXPORTER_OTLP_ENDPOINT to the agent's OTLP port, such as http://localhost:4318";
const stackdriver =
  'Stackdriver is not supported: set USE_OTLP=true to send metrics and traces to an OpenTelemetry collector, which exports to Google Cloud';
const connections = 'there are few upstream connections, and they are kept open';
const slowReaders = 'clients 8 MiB or 30 s behind are always disconnected';

export const settingsWithoutEffect: readonly SettingWithoutEffect[] = [
  row('Redis', 'localTtl', 'CACHE_TTL', durationMs, memory, {
    alsoIn: ['Consul', 'DynamoDB'],
    bareMs: 1,
    old: [{ env: 'REDIS_TTL', bareMs: 1 }],
  }),
  row('Redis', 'atomicUpsert', 'REDIS_ATOMIC_UPSERT', boolean, 'updates are always atomic'),
  row('Events', 'inlineUsers', 'EVENTS_INLINE_USERS', boolean, 'ld-relay ignores it too'),
  row(
    'Events',
    'samplingInterval',
    'EVENTS_SAMPLING_INTERVAL',
    integer(0, Number.MAX_SAFE_INTEGER),
    'all events are forwarded; LaunchDarkly samples',
  ),
  row('Events', undefined, 'EVENTS_SEND', text, 'whether events are forwarded is decided by USE_EVENTS alone'),
  row(
    'Events',
    'metricsCapacity',
    'EVENTS_METRICS_CAPACITY',
    integer(1, Number.MAX_SAFE_INTEGER),
    'usage metrics wait in no queue',
  ),
  row(
    'Main',
    'expiredCredentialCleanupInterval',
    'EXPIRED_CREDENTIAL_CLEANUP_INTERVAL',
    durationFrom(100, '100ms'),
    'an expired key is refused at once',
  ),
  row('AutoConfig', 'cacheKey', 'AUTO_CONFIG_CACHE_KEY', text, 'the copy has a fixed place in the store', {
    secret: true,
  }),
  row('Concurrency', 'sendTimeout', 'INIT_SEND_TIMEOUT', durationMs, slowReaders),
  row('Main', 'clientWriteMinBytesPerSecond', 'CLIENT_WRITE_MIN_BYTES_PER_SECOND', text, slowReaders),
  row('Main', 'clientWriteSlack', 'CLIENT_WRITE_SLACK', durationMs, slowReaders),
  row('Main', 'clientWriteMaxTime', 'CLIENT_WRITE_MAX_TIME', durationMs, slowReaders),
  row(
    'Http',
    'enableCompression',
    'HTTP_ENABLE_COMPRESSION',
    boolean,
    'responses are compressed for clients that accept it',
  ),
  row('Http', 'idleConnTimeout', 'HTTP_IDLE_CONN_TIMEOUT', durationMs, connections),
  row('Http', 'maxIdleConns', 'HTTP_MAX_IDLE_CONNS', integer(0, Number.MAX_SAFE_INTEGER), connections),
  row('Http', 'maxIdleConnsPerHost', 'HTTP_MAX_IDLE_CONNS_PER_HOST', integer(0, Number.MAX_SAFE_INTEGER), connections),
  row('Http', 'disableKeepAlives', 'HTTP_DISABLE_KEEPALIVE', boolean, connections),
  row('Proxy', 'domain', 'PROXY_AUTH_DOMAIN', text, 'only NTLM needs it'),
  row('Datadog', 'traceAddr', 'DATADOG_TRACE_ADDR', text, datadogTraces),
  row('Stackdriver', 'enabled', 'USE_STACKDRIVER', boolean, stackdriver),
  row('Stackdriver', 'prefix', 'STACKDRIVER_PREFIX', text, stackdriver),
  row('Stackdriver', 'projectId', 'STACKDRIVER_PROJECT_ID', text, stackdriver),
  row('Main', undefined, 'LD_TRACE_LOG_BIG_SEGMENTS', boolean, '`LOG_LEVEL=debug` logs more'),
];
