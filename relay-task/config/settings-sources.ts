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
/** Far above what any SDK sends; with no limit at all, one request could take all memory. */
const MAX_EVENT_BYTES = 64 * 1024 * 1024;

const eventBytes: Reader<number> = (value) => {
  const result = bytes(value);
  return 'value' in result && result.value === 0 ? { value: MAX_EVENT_BYTES } : result;
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
      'take environments and keys from LaunchDarkly under this auto-configuration key',
      { secret: true },
    ),
    cacheEncryptionKey: autoConfig.optional(
      'cacheEncryptionKey',
      'AUTO_CONFIG_CACHE_ENCRYPTION_KEY',
      text,
      'encrypts the last good auto-configuration that is kept in the store; made from the auto-configuration key unless set',
      { secret: true },
    ),
  },
  template: {
    prefix: autoConfig.setting(
      'envDatastorePrefix',
      'ENV_DATASTORE_PREFIX',
      text,
      '',
      "the prefix of an environment's keys in a store; `$CID` in it stands for the client-side ID",
      ofBoth,
    ),
    tableName: autoConfig.optional(
      'envDatastoreTableName',
      'ENV_DATASTORE_TABLE_NAME',
      text,
      'the DynamoDB table of an environment; `$CID` in it stands for the client-side ID',
      ofBoth,
    ),
    allowedOrigins: autoConfig.setting(
      'envAllowedOrigin',
      'ENV_ALLOWED_ORIGIN',
      list,
      '',
      'the origins from which browsers may ask, of every environment; any unless set',
      { many: true, ...ofBoth },
    ),
    allowedHeaders: autoConfig.setting(
      'envAllowedHeader',
      'ENV_ALLOWED_HEADER',
      list,
      '',
      "request headers that browsers may send beside LaunchDarkly's own, of every environment",
      { many: true, ...ofBoth },
    ),
  },
  offline: {
    path: offline.optional(
      'fileDataSource',
      'FILE_DATA_SOURCE',
      text,
      'offline mode: take environments, keys and flags from this archive, watched',
    ),
    intervalMs: offline.setting(
      'fileDataSourceMonitoringInterval',
      'FILE_DATA_SOURCE_MONITORING_INTERVAL',
      durationFrom(100, '100ms'),
      '1s',
      'how often the archive is looked at',
    ),
  },
  ssm: {
    path: ssm.optional(
      'path',
      'KEYS_FROM_SSM',
      parameterPath,
      'take environments and keys from the SSM parameters below this path, watched',
    ),
    url: ssm.optional('url', 'SSM_URL', httpUrl, "the SSM endpoint, where it is not the region's own"),
    graceMs: ssm.setting(
      'keysGraceTime',
      'KEYS_GRACE_TIME',
      durationMs,
      '24h',
      'how long a key goes on working after its parameter vanished or became unreadable without being revoked',
    ),
  },
  events: {
    enabled: events.setting(
      'sendEvents',
      'USE_EVENTS',
      boolean,
      'false',
      'forward events of SDKs to LaunchDarkly; without it they are answered with 503',
    ),
    uri: events.setting(
      'eventsUri',
      'EVENTS_HOST',
      httpUrl,
      'https://events.launchdarkly.com',
      'where events are forwarded to',
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
      'how many events may wait for that',
    ),
    maxInboundPayloadBytes: events.setting(
      'maxInboundPayloadSize',
      'EVENTS_MAX_INBOUND_PAYLOAD_SIZE',
      eventBytes,
      '0B',
      'the largest body of events that is accepted, decompressed; `0B`: 64 MiB, which no SDK comes near',
    ),
  },
  proxy: {
    url: proxy.optional(
      'url',
      'PROXY_URL',
      httpUrl,
      'the HTTP proxy through which LaunchDarkly is reached; `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` hold unless set',
    ),
    user: proxy.optional('user', 'PROXY_AUTH_USER', text, "the proxy's user, for basic authentication"),
    password: proxy.optional('password', 'PROXY_AUTH_PASSWORD', text, "that user's password", { secret: true }),
    ntlmAuth: proxy.setting(
      'ntlmAuth',
      'PROXY_AUTH_NTLM',
      boolean,
      'false',
      'not supported: a proxy has to take basic authentication or none',
    ),
    caCertFiles: proxy.setting(
      'caCertFiles',
      'PROXY_CA_CERTS',
      list,
      '',
      'files of certificate authorities, PEM, trusted upstream beside the usual ones',
      { many: true },
    ),
  },
} as const;
