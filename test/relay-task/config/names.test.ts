/** The names of settings that ld-relay has had, from 1.0.0 to 8.10.1 by tag, and later ones as far as they are known. */
import { parseConfig } from '../../../relay-task/config/config.ts';
import { locateOption, locateVariable } from '../../../relay-task/config/names.ts';

const options: Readonly<Record<string, string>> = {
  Main: `baseUri bigSegmentsStaleAsDegraded bigSegmentsStaleThreshold clientSideBaseUri disableInternalUsageMetrics
    disconnectedStatusTime exitAlways exitOnError expiredCredentialCleanupInterval heartbeatInterval
    heartbeatIntervalSecs ignoreConnectionErrors initTimeout logLevel maxClientConnectionTime port streamUri tlsCert
    tlsEnabled tlsKey tlsMinVersion
    gracefulShutdownTimeout maxClientRequestBodySize pingStreamJitterTime clientWriteMinBytesPerSecond
    clientWriteSlack clientWriteMaxTime`,
  Environment: `allowedHeader allowedOrigin apiKey envId logLevel mobileKey prefix projKey sdkKey secureMode tableName
    ttl ttlMinutes`,
  Filters: 'keys',
  AutoConfig: `key envAllowedHeader envAllowedOrigin envDatastorePrefix envDatastoreTableName
    cacheKey cacheEncryptionKey`,
  OfflineMode: `fileDataSource fileDataSourceMonitoringInterval envAllowedHeader envAllowedOrigin envDatastorePrefix
    envDatastoreTableName`,
  Events: `capacity eventsUri flushInterval flushIntervalSecs inlineUsers maxInboundPayloadSize samplingInterval
    sendEvents metricsCapacity`,
  Redis: 'host localTtl password port tls url username',
  Consul: 'host localTtl token tokenFile',
  DynamoDB: 'enabled localTtl tableName url',
  Proxy: 'caCertFiles domain ntlmAuth password url user',
  Prometheus: 'enabled port prefix',
  Datadog: 'enabled prefix statsAddr tag traceAddr',
  Stackdriver: 'enabled prefix projectId',
  OpenTelemetry: `enabled protocol metricsCardinalityLimit environmentStatusMetrics logsExporter tracesExporter
    metricsExporter`,
  Concurrency: 'maxConcurrent maxQueued sendTimeout',
  Http: 'enableCompression idleConnTimeout maxIdleConns maxIdleConnsPerHost disableKeepAlives',
};

/** A variable that ends in `_` is followed by a name. */
const variables = `AUTO_CONFIG_KEY BASE_URI BIG_SEGMENTS_STALE_AS_DEGRADED BIG_SEGMENTS_STALE_THRESHOLD CACHE_TTL
  CLIENT_SIDE_BASE_URI CONSUL_HOST CONSUL_TOKEN CONSUL_TOKEN_FILE DATADOG_PREFIX DATADOG_STATS_ADDR DATADOG_TAG_
  DATADOG_TRACE_ADDR DISABLE_INTERNAL_USAGE_METRICS DISCONNECTED_STATUS_TIME DYNAMODB_TABLE DYNAMODB_URL
  ENV_ALLOWED_HEADER ENV_ALLOWED_ORIGIN ENV_DATASTORE_PREFIX ENV_DATASTORE_TABLE_NAME EVENTS_CAPACITY
  EVENTS_FLUSH_INTERVAL EVENTS_HOST EVENTS_INLINE_USERS EVENTS_MAX_INBOUND_PAYLOAD_SIZE EVENTS_SAMPLING_INTERVAL
  EVENTS_SEND EXIT_ALWAYS EXIT_ON_ERROR EXPIRED_CREDENTIAL_CLEANUP_INTERVAL FILE_DATA_SOURCE
  FILE_DATA_SOURCE_MONITORING_INTERVAL HEARTBEAT_INTERVAL IGNORE_CONNECTION_ERRORS INIT_TIMEOUT LD_ALLOWED_HEADER_
  LD_ALLOWED_ORIGIN_ LD_CLIENT_SIDE_ID_ LD_ENV_ LD_FILTER_KEYS_ LD_LOG_LEVEL_ LD_MOBILE_KEY_ LD_PREFIX_ LD_PROJ_KEY_
  LD_SECURE_MODE_ LD_TABLE_NAME_ LD_TTL_ LD_TTL_MINUTES_ LOG_LEVEL MAX_CLIENT_CONNECTION_TIME PORT PROMETHEUS_PORT
  PROMETHEUS_PREFIX PROXY_AUTH_DOMAIN PROXY_AUTH_NTLM PROXY_AUTH_PASSWORD PROXY_AUTH_USER PROXY_CA_CERTS PROXY_URL
  REDIS_HOST REDIS_PASSWORD REDIS_PORT REDIS_TLS REDIS_TTL REDIS_URL REDIS_USERNAME STACKDRIVER_PREFIX
  STACKDRIVER_PROJECT_ID STREAM_URI TLS_CERT TLS_ENABLED TLS_KEY TLS_MIN_VERSION USE_CONSUL USE_DATADOG USE_DYNAMODB
  USE_EVENTS USE_PROMETHEUS USE_REDIS USE_STACKDRIVER
  AUTO_CONFIG_CACHE_ENCRYPTION_KEY AUTO_CONFIG_CACHE_KEY CLIENT_WRITE_MAX_TIME CLIENT_WRITE_MIN_BYTES_PER_SECOND
  CLIENT_WRITE_SLACK EVENTS_METRICS_CAPACITY GRACEFUL_SHUTDOWN_TIMEOUT HTTP_DISABLE_KEEPALIVE HTTP_ENABLE_COMPRESSION
  HTTP_IDLE_CONN_TIMEOUT HTTP_MAX_IDLE_CONNS HTTP_MAX_IDLE_CONNS_PER_HOST INIT_MAX_CONCURRENT INIT_MAX_QUEUED
  USE_OTLP OTEL_EXPORTER_OTLP_PROTOCOL OTEL_METRICS_CARDINALITY_LIMIT OTEL_ENVIRONMENT_STATUS_METRICS OTEL_LOGS_EXPORTER
  OTEL_TRACES_EXPORTER OTEL_METRICS_EXPORTER INIT_SEND_TIMEOUT LD_TRACE_LOG_BIG_SEGMENTS MAX_CLIENT_REQUEST_BODY_SIZE PING_STREAM_JITTER_TIME`;

test.each(Object.entries(options))('every option that ld-relay has had in [%s] is known', (section, names) => {
  expect(names.split(/\s+/).filter((option) => locateOption(section, option) === undefined)).toEqual([]);
});

test('every variable that ld-relay has had is known', () => {
  const isUnknown = (variable: string) => locateVariable(variable.replace(/_$/, '_x')) === undefined;
  expect(variables.split(/\s+/).filter(isUnknown)).toEqual([]);
});

test('a variable that switched events off beside USE_EVENTS, in early images of ld-relay, is reported as without effect', () => {
  expect(parseConfig({ LD_ENV_a: 'sdk-a', USE_EVENTS: '1', EVENTS_SEND: 'false' }).warnings).toEqual([
    'EVENTS_SEND has no effect: whether events are forwarded is decided by USE_EVENTS alone',
  ]);
});

test('a warning names a file once, however many lines of it are meant', () => {
  const text =
    '[Environment "a"]\nsdkKey = sdk-a\n[Datadog]\ntraceAddr = agent:8126\n[Stackdriver]\nenabled = 1\nprojectID = p\nprojectID = q';
  expect(parseConfig({ STACKDRIVER_PREFIX: 'x' }, { path: 'relay.conf', text }).warnings).toEqual([
    "relay.conf:4: [Datadog] traceAddr has no effect: traces are sent by OTLP: set USE_OTLP=true, and OTEL_EXPORTER_OTLP_ENDPOINT to the agent's OTLP port, such as http://localhost:4318",
    'relay.conf:6: [Stackdriver] enabled, projectID (7), projectID (8), STACKDRIVER_PREFIX have no effect: Stackdriver is not supported: set USE_OTLP=true to send metrics and traces to an OpenTelemetry collector, which exports to Google Cloud',
  ]);
});
