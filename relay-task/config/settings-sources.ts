/** Where environments, keys and flags come from, how upstream is reached, and where events go. */
import {
  boolean,
  bytes,
  durationFrom,
  durationMs,
  httpUrl,
  integer,
  list,
  type Reader,
  text,
} from '../common/setting-values.ts';
import { inSection } from './setting.ts';

const autoConfig = inSection('AutoConfig');
const offline = inSection('OfflineMode');
const ssm = inSection('SSM');
const events = inSection('Events');
const proxy = inSection('Proxy');
/** A thousand events, which is all that a queue holds by default, of 10 KB; with no limit, one request could take all memory. */
const MAX_EVENT_BYTES = 10 * 1024 * 1024;

const eventBytes: Reader<number> = (value) => {
  const result = bytes(value);
  return 'value' in result && result.value === 0 ? { value: MAX_EVENT_BYTES } : result;
};

/** Less would be full with a few bodies. */
const LEAST_SPOOL_BYTES = 8 * 1024 * 1024;

const spoolBytes: Reader<number> = (value) => {
  const result = bytes(value);
  const isTooSmall = 'value' in result && result.value < LEAST_SPOOL_BYTES;
  return isTooSmall ? { wanted: 'a size of at least 8MiB' } : result;
};

const ofBoth = { alsoIn: ['OfflineMode'] };

/** With a slash at its end. */
const parameterPath: Reader<string> = (value) =>
  /^(\/[\w.-]+)+\/?$/.test(value)
    ? { value: `${value.replace(/\/$/, '')}/` }
    : { wanted: 'a path of SSM parameters, such as /edge-flag-relay/prod/environments/' };

export const sourceSettings = {
  autoConfig: {
    key: autoConfig.optional(
      'key',
      'AUTO_CONFIG_KEY',
      text,
      'get environments and keys from LaunchDarkly with this auto-configuration key',
      { secret: true },
    ),
    cacheEncryptionKey: autoConfig.optional(
      'cacheEncryptionKey',
      'AUTO_CONFIG_CACHE_ENCRYPTION_KEY',
      text,
      'encrypts the copy of the last good auto-configuration in the store; derived from the auto-configuration key by default',
      { secret: true },
    ),
  },
  template: {
    prefix: autoConfig.setting(
      'envDatastorePrefix',
      'ENV_DATASTORE_PREFIX',
      text,
      '',
      "the prefix of an environment's keys in a store; `$CID` is replaced by the client-side ID",
      ofBoth,
    ),
    tableName: autoConfig.optional(
      'envDatastoreTableName',
      'ENV_DATASTORE_TABLE_NAME',
      text,
      'the DynamoDB table of an environment; `$CID` is replaced by the client-side ID',
      ofBoth,
    ),
    allowedOrigins: autoConfig.setting(
      'envAllowedOrigin',
      'ENV_ALLOWED_ORIGIN',
      list,
      '',
      'for every environment, the origins that browsers may send requests from; any by default',
      { many: true, ...ofBoth },
    ),
    allowedHeaders: autoConfig.setting(
      'envAllowedHeader',
      'ENV_ALLOWED_HEADER',
      list,
      '',
      "for every environment, request headers that browsers may send in addition to LaunchDarkly's",
      { many: true, ...ofBoth },
    ),
  },
  offline: {
    path: offline.optional(
      'fileDataSource',
      'FILE_DATA_SOURCE',
      text,
      'offline mode: read environments, keys and flags from this archive, watched for changes',
    ),
    intervalMs: offline.setting(
      'fileDataSourceMonitoringInterval',
      'FILE_DATA_SOURCE_MONITORING_INTERVAL',
      durationFrom(100, '100ms'),
      '1s',
      'how often to check the archive for changes',
    ),
  },
  ssm: {
    path: ssm.optional(
      'path',
      'KEYS_FROM_SSM',
      parameterPath,
      'read environments and keys from the SSM parameters under this path, watched for changes',
    ),
    cacheEncryptionKey: ssm.optional(
      'cacheEncryptionKey',
      'SSM_CACHE_ENCRYPTION_KEY',
      text,
      'keep a copy of the last good keys in the store, encrypted with this secret',
      { secret: true },
    ),
    url: ssm.optional('url', 'SSM_URL', httpUrl, "the SSM endpoint, if not the region's default"),
    graceMs: ssm.setting(
      'keysGraceTime',
      'KEYS_GRACE_TIME',
      durationMs,
      '24h',
      'how long a key keeps working after its parameter vanished or became unreadable without being revoked',
    ),
  },
  events: {
    enabled: events.setting(
      'sendEvents',
      'USE_EVENTS',
      boolean,
      'false',
      'forward events from SDKs to LaunchDarkly; otherwise they get 503',
    ),
    uri: events.setting(
      'eventsUri',
      'EVENTS_HOST',
      httpUrl,
      'https://events.launchdarkly.com',
      'the base URL that events are forwarded to',
    ),
    flushIntervalMs: events.setting(
      'flushInterval',
      'EVENTS_FLUSH_INTERVAL',
      durationMs,
      '5s',
      'how often events are forwarded',
      { bareMs: 1000, old: [{ option: 'flushIntervalSecs', bareMs: 1000 }] },
    ),
    capacity: events.setting(
      'capacity',
      'EVENTS_CAPACITY',
      integer(1, 100_000_000),
      '1000',
      'how many events may wait to be forwarded, for each key and kind of SDK; beyond it, the newest of the address with the most of them are dropped',
    ),
    maxInboundPayloadBytes: events.setting(
      'maxInboundPayloadSize',
      'EVENTS_MAX_INBOUND_PAYLOAD_SIZE',
      eventBytes,
      '0B',
      'the largest request body with events, after decompression; `0B`: 10 MiB',
    ),
    spoolDir: events.optional(
      'spoolDir',
      'EVENTS_SPOOL_DIR',
      text,
      'a directory for events that are not delivered yet, so that they survive the process; several relays may share it. Without it they are in memory only',
    ),
    spoolMaxBytes: events.setting(
      'spoolMaxSize',
      'EVENTS_SPOOL_MAX_BYTES',
      spoolBytes,
      '256MiB',
      'how much one relay may keep in that directory, with what it takes over from relays that have ended; at least 8 MiB',
    ),
  },
  proxy: {
    url: proxy.optional(
      'url',
      'PROXY_URL',
      httpUrl,
      'the HTTP proxy for connections to LaunchDarkly, not to AWS; by default `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` apply',
    ),
    user: proxy.optional('user', 'PROXY_AUTH_USER', text, "the proxy's user, for basic authentication"),
    password: proxy.optional('password', 'PROXY_AUTH_PASSWORD', text, "that user's password", { secret: true }),
    ntlmAuth: proxy.setting(
      'ntlmAuth',
      'PROXY_AUTH_NTLM',
      boolean,
      'false',
      'not supported: use a proxy with basic authentication or none',
    ),
    caCertFiles: proxy.setting(
      'caCertFiles',
      'PROXY_CA_CERTS',
      list,
      '',
      'PEM files with certificate authorities to trust for LaunchDarkly and AWS, in addition to the usual ones',
      { many: true },
    ),
  },
} as const;
