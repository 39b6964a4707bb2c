import { boolean, durationMs, httpUrl, integer, oneOf, type Reader, text } from './readers.ts';

/** One setting: the variable that carries it, how its text is read, what holds without it, and what it is for. */
export interface Setting<T> {
  readonly env: string;
  readonly read: Reader<T>;
  /** The text that is read when the variable is absent or empty; undefined: the setting then has no value. */
  readonly fallback: string | undefined;
  readonly says: string;
}

function setting<T>(env: string, read: Reader<T>, fallback: string, says: string): Setting<T> & { fallback: string } {
  return { env, read, fallback, says };
}

function optional<T>(env: string, read: Reader<T>, says: string): Setting<T> & { fallback: undefined } {
  return { env, read, fallback: undefined, says };
}

/**
 * Every setting of the relay as a whole. Names are ld-relay's where ld-relay has the setting.
 * `docs/configuration.md` is held against this table by a test.
 */
export const settings = {
  port: setting('PORT', integer(0, 65_535), '8030', 'where to listen; 0 picks a free port'),
  listenHost: optional('LISTEN_HOST', text, 'the address to listen on; every interface unless set'),
  streamUri: setting('STREAM_URI', httpUrl, 'https://stream.launchdarkly.com', 'where LaunchDarkly streams from'),
  initTimeoutMs: setting(
    'INIT_TIMEOUT',
    durationMs,
    '10s',
    'how long an environment may take to get its first data before readiness stops waiting for it',
  ),
  heartbeatIntervalMs: setting(
    'HEARTBEAT_INTERVAL',
    durationMs,
    '3m',
    'how often an idle stream carries a comment; 0 or less: never. Behind a load balancer use at most half of its idle timeout',
  ),
  maxClientConnectionTimeMs: setting(
    'MAX_CLIENT_CONNECTION_TIME',
    durationMs,
    '0',
    'how long a stream may live, shortened at random by up to a fifth; 0: for ever',
  ),
  disconnectedStatusTimeMs: setting(
    'DISCONNECTED_STATUS_TIME',
    durationMs,
    '1m',
    'how long upstream may be interrupted before `/status` says disconnected',
  ),
  drainWindowMs: setting('DRAIN_WINDOW', durationMs, '5s', 'on SIGTERM, the time over which open streams are closed'),
  readyRequires: setting(
    'READY_REQUIRES',
    oneOf('any', 'all'),
    'any',
    '`/readyz` turns 200 when one environment has data, or only when all have',
  ),
  logLevel: setting(
    'LOG_LEVEL',
    oneOf('debug', 'info', 'warn', 'error', 'none'),
    'info',
    'the least severe log lines to print',
  ),
  useDynamoDB: setting('USE_DYNAMODB', boolean, 'false', 'keep a DynamoDB table current'),
  dynamoDBTable: optional('DYNAMODB_TABLE', text, 'the table, unless an environment names its own'),
  dynamoDBUrl: optional('DYNAMODB_URL', httpUrl, "the DynamoDB endpoint, where it is not the region's own"),
  awsRegion: optional('AWS_REGION', text, "the DynamoDB table's region, where AWS's own configuration does not say it"),
  storeWriter: setting(
    'STORE_WRITER',
    oneOf('auto', 'never'),
    'auto',
    '`auto`: take part in the lease that decides who writes; `never`: boot from the store and leave it alone, as relays outside the home region must',
  ),
} as const;

/** The settings of one environment: the variable is the prefix here followed by the environment's name. */
export const environmentSettings = {
  sdkKey: optional('LD_ENV_', text, 'the SDK key; this variable is what defines the environment'),
  mobileKey: optional('LD_MOBILE_KEY_', text, 'the mobile key; without it the environment answers no mobile SDK'),
  environmentId: optional(
    'LD_CLIENT_SIDE_ID_',
    text,
    'the client-side ID; without it the environment answers no browser SDK',
  ),
  prefix: setting('LD_PREFIX_', text, '', "the prefix of the environment's keys in a store"),
  tableName: optional('LD_TABLE_NAME_', text, "the environment's own DynamoDB table"),
  flagsFile: optional(
    'LD_FLAGS_FILE_',
    text,
    'take flags from this JSON or YAML file, watched, instead of from LaunchDarkly',
  ),
} as const;

/** ld-relay's variables that this version does not act on yet: refused, since running without them would surprise. */
export const refusedForNow = [
  'AUTO_CONFIG_KEY',
  'FILE_DATA_SOURCE',
  'USE_REDIS',
  'USE_CONSUL',
  'TLS_ENABLED',
  'PROXY_URL',
  'PROXY_AUTH_NTLM',
] as const;

/** ld-relay's variables whose absence of effect harms nobody: named in one warning. */
export const ignoredForNow = [
  'BASE_URI',
  'CLIENT_SIDE_BASE_URI',
  'EVENTS_HOST',
  'USE_EVENTS',
  'EVENTS_FLUSH_INTERVAL',
  'EVENTS_CAPACITY',
  'EVENTS_MAX_INBOUND_PAYLOAD_SIZE',
  'EVENTS_INLINE_USERS',
  'EXIT_ON_ERROR',
  'EXIT_ALWAYS',
  'IGNORE_CONNECTION_ERRORS',
  'CACHE_TTL',
  'USE_PROMETHEUS',
  'USE_DATADOG',
  'USE_STACKDRIVER',
] as const;
export const ignoredEnvironmentPrefixes = [
  'LD_ALLOWED_ORIGIN_',
  'LD_ALLOWED_HEADER_',
  'LD_SECURE_MODE_',
  'LD_LOG_LEVEL_',
  'LD_TTL_',
  'LD_PROJ_KEY_',
] as const;

/** Variables that begin with `LD_` and belong to the dynamic linker, not to us. */
export const linkerVariables =
  /^LD_(LIBRARY_PATH|PRELOAD|RUN_PATH|AUDIT|BIND_NOW|BIND_NOT|DEBUG|DEBUG_OUTPUT|DYNAMIC_WEAK|HWCAP_MASK|ORIGIN_PATH|POINTER_GUARD|PROFILE|PROFILE_OUTPUT|SHOW_AUXV|TRACE_LOADED_OBJECTS|USE_LOAD_BIAS|ASSUME_KERNEL|VERBOSE|WARN)$/;
