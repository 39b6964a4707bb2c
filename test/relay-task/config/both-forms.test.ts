/** A file and the corresponding variables give the same configuration. */
import type { Config, EnvironmentConfig } from '../../../relay-task/config/config.ts';
import { parseAsFile, parseAsVariables } from '../../support/config-rows.ts';

type Expected = { readonly [Name in keyof Config]?: unknown };
/** Lines of the file, variables, and the configuration expected from both. */
type Row = readonly [file: string, variables: string, expected: Expected];

const redis = {
  ...{ host: 'localhost', port: 6379, db: 0, tls: false, username: undefined, password: undefined },
  ...{ certFile: undefined, keyFile: undefined, caFile: undefined, connectTimeoutMs: 5000, readTimeoutMs: 5000 },
  ...{ sentinel: undefined, cluster: undefined },
};
const events = {
  ...{ enabled: false, uri: 'https://events.launchdarkly.com', flushIntervalMs: 5000, capacity: 1000 },
  ...{ maxInboundPayloadBytes: 10_485_760, spoolDir: undefined, spoolMaxBytes: 268_435_456 },
};
const production: EnvironmentConfig = {
  ...{ name: 'production', sdkKey: 'sdk-1', mobileKey: undefined, environmentId: undefined, prefix: '' },
  ...{ tableName: undefined, allowedOrigins: [], allowedHeaders: [], secureMode: false, logLevel: undefined },
  ...{ ttlMs: 0, projKey: undefined, filters: [], heartbeatFlag: undefined, flagsFile: undefined },
};
const environment = (more: Partial<EnvironmentConfig>): Expected => ({ environments: [{ ...production, ...more }] });
const template = { prefix: '', tableName: undefined, allowedOrigins: [], allowedHeaders: [] };

/** Every setting at least once, and some with several values. */
const one: readonly Row[] = [
  ['Main: port = 8333', 'PORT=8333', { port: 8333 }],
  ['Main: port = 0', 'PORT=0', { port: 0 }],
  ['Main: PORT = +80', 'PORT=+80', { port: 80 }],
  ['Main: port =', 'PORT=', { port: 8030 }],
  ['Main: listenHost = 127.0.0.1', 'LISTEN_HOST=127.0.0.1', { listenHost: '127.0.0.1' }],
  ['Main: listenHost = "::1"', 'LISTEN_HOST=::1', { listenHost: '::1' }],
  [
    'Main: streamUri = http://proxy:8080/ld/',
    'STREAM_URI=http://proxy:8080/ld/',
    { streamUri: 'http://proxy:8080/ld' },
  ],
  ['MAIN: STREAMURI = "https://s"', 'STREAM_URI=https://s', { streamUri: 'https://s' }],
  [
    'Main: baseUri = https://private.example',
    'BASE_URI=https://private.example',
    { baseUri: 'https://private.example', clientSideBaseUri: 'https://private.example' },
  ],
  [
    'Main: baseUri = https://app.launchdarkly.com',
    'BASE_URI=https://app.launchdarkly.com',
    { baseUri: 'https://sdk.launchdarkly.com', clientSideBaseUri: 'https://clientsdk.launchdarkly.com' },
  ],
  [
    'Main: clientSideBaseUri = https://c\nMain: baseUri = https://b',
    'CLIENT_SIDE_BASE_URI=https://c\nBASE_URI=https://b',
    { baseUri: 'https://b', clientSideBaseUri: 'https://c' },
  ],
  ['Main: exitOnError = true', 'EXIT_ON_ERROR=true', { exitOnError: true }],
  ['Main: exitOnError', 'EXIT_ON_ERROR=1', { exitOnError: true }],
  ['Main: exitOnError = YES', 'EXIT_ON_ERROR=Yes', { exitOnError: true }],
  ['Main: exitOnError = on', 'EXIT_ON_ERROR=TRUE', { exitOnError: true }],
  ['Main: exitOnError = no', 'EXIT_ON_ERROR=0', { exitOnError: false }],
  ['Main: exitOnError = off', 'EXIT_ON_ERROR=', { exitOnError: false }],
  [
    'Main: disableInternalUsageMetrics = true',
    'DISABLE_INTERNAL_USAGE_METRICS=true',
    { disableInternalUsageMetrics: true },
  ],
  ['Main: exitAlways = true', 'EXIT_ALWAYS=true', { exitAlways: true }],
  ['Main: ignoreConnectionErrors = 1', 'IGNORE_CONNECTION_ERRORS=1', { ignoreConnectionErrors: true }],
  ['Main: initTimeout = 1m30s', 'INIT_TIMEOUT=1m30s', { initTimeoutMs: 90_000 }],
  ['Main: initTimeout = 1.5h', 'INIT_TIMEOUT=1.5h', { initTimeoutMs: 5_400_000 }],
  ['Main: initTimeout = .5s', 'INIT_TIMEOUT=.5s', { initTimeoutMs: 500 }],
  ['Main: initTimeout = 0', 'INIT_TIMEOUT=0', { initTimeoutMs: 0 }],
  ['Main: initTimeout = 2h3m4s5ms', 'INIT_TIMEOUT=2h3m4s5ms', { initTimeoutMs: 7_384_005 }],
  ['Main: heartbeatInterval = -1s', 'HEARTBEAT_INTERVAL=-1s', { heartbeatIntervalMs: 0 }],
  [
    'Main: maxClientConnectionTime = -1s\nMain: pingStreamJitterTime = -1s',
    'MAX_CLIENT_CONNECTION_TIME=-1s\nPING_STREAM_JITTER_TIME=-1s',
    { maxClientConnectionTimeMs: 0, pingStreamJitterMs: 0 },
  ],
  ['Main: heartbeatInterval = 90', 'HEARTBEAT_INTERVAL=90', { heartbeatIntervalMs: 90_000 }],
  ['Main: heartbeatIntervalSecs = 15', 'HEARTBEAT_INTERVAL=15', { heartbeatIntervalMs: 15_000 }],
  ['Main: maxClientConnectionTime = 30m', 'MAX_CLIENT_CONNECTION_TIME=30m', { maxClientConnectionTimeMs: 1_800_000 }],
  ['Main: disconnectedStatusTime = 3m', 'DISCONNECTED_STATUS_TIME=3m', { disconnectedStatusTimeMs: 180_000 }],
  ['Main: drainWindow = 20s', 'DRAIN_WINDOW=20s', { drainWindowMs: 20_000 }],
  [
    'Main: gracefulShutdownTimeout = 3s',
    'GRACEFUL_SHUTDOWN_TIMEOUT=3s',
    { gracefulShutdownTimeoutMs: 3000, drainWindowMs: 3000 },
  ],
  ['Main: readyRequires = all', 'READY_REQUIRES=ALL', { readyRequires: 'all' }],
  ['Main: logLevel = DEBUG', 'LOG_LEVEL=DEBUG', { logLevel: 'debug' }],
  ['Main: logLevel = none', 'LOG_LEVEL=none', { logLevel: 'none' }],
  [
    'Main: tlsEnabled = true\nMain: tlsCert = c.pem\nMain: tlsKey = k.pem',
    'TLS_ENABLED=true\nTLS_CERT=c.pem\nTLS_KEY=k.pem',
    { tls: { certFile: 'c.pem', keyFile: 'k.pem', minVersion: 'TLSv1.2' } },
  ],
  [
    'Main: tlsEnabled\nMain: tlsCert = c\nMain: tlsKey = k\nMain: tlsMinVersion = 1.3',
    'TLS_ENABLED=yes\nTLS_CERT=c\nTLS_KEY=k\nTLS_MIN_VERSION=1.3',
    { tls: { certFile: 'c', keyFile: 'k', minVersion: 'TLSv1.3' } },
  ],
  ['Main: tlsCert = c\nMain: tlsKey = k', 'TLS_CERT=c\nTLS_KEY=k', { tls: undefined }],
  [
    'Main: bigSegmentsStaleAsDegraded = true\nMain: bigSegmentsStaleThreshold = 7m\nMain: bigSegmentsCacheSize = 8MiB',
    'BIG_SEGMENTS_STALE_AS_DEGRADED=true\nBIG_SEGMENTS_STALE_THRESHOLD=7m\nBIG_SEGMENTS_CACHE_SIZE=8MiB',
    { bigSegments: { staleAsDegraded: true, staleThresholdMs: 420_000, cacheBytes: 8_388_608 } },
  ],
  ['Main: expiredCredentialCleanupInterval = 100ms', 'EXPIRED_CREDENTIAL_CLEANUP_INTERVAL=100ms', { port: 8030 }],
  ['Main: clientStreams = ping', 'CLIENT_STREAMS=ping', { clientStreams: 'ping' }],
  ['Main: pingStreamJitterTime = 10s', 'PING_STREAM_JITTER_TIME=10s', { pingStreamJitterMs: 10_000 }],
  [
    'Main: statusAccess = restricted\nMain: statusToken = let me in',
    'STATUS_ACCESS=restricted\nSTATUS_TOKEN=let me in',
    { statusAccess: 'restricted', statusToken: 'let me in' },
  ],
  ['Main: maxClientRequestBodySize = 1KiB', 'MAX_CLIENT_REQUEST_BODY_SIZE=1KiB', { maxClientRequestBodyBytes: 1024 }],
  ['Main: maxClientRequestBodySize = 0B', 'MAX_CLIENT_REQUEST_BODY_SIZE=0B', { maxClientRequestBodyBytes: 1_048_576 }],
  [
    'Main: maxClientRequestBodySize = 5MiB',
    'MAX_CLIENT_REQUEST_BODY_SIZE=5MiB',
    { maxClientRequestBodyBytes: 1_048_576 },
  ],
  [
    'Concurrency: maxConcurrent = 10\nConcurrency: maxQueued = 0',
    'INIT_MAX_CONCURRENT=10\nINIT_MAX_QUEUED=0',
    { initMaxConcurrent: 10, initMaxQueued: 0 },
  ],
  ['Concurrency: maxConcurrent = 0', 'INIT_MAX_CONCURRENT=0', { initMaxConcurrent: 0 }],
  ['Events: sendEvents = true', 'USE_EVENTS=true', { events: { ...events, enabled: true } }],
  ['Events: eventsUri = http://e:1/', 'EVENTS_HOST=http://e:1/', { events: { ...events, uri: 'http://e:1' } }],
  ['Events: flushInterval = 500ms', 'EVENTS_FLUSH_INTERVAL=500ms', { events: { ...events, flushIntervalMs: 500 } }],
  ['Events: flushIntervalSecs = 7', 'EVENTS_FLUSH_INTERVAL=7', { events: { ...events, flushIntervalMs: 7000 } }],
  ['Events: capacity = 10000', 'EVENTS_CAPACITY=10000', { events: { ...events, capacity: 10_000 } }],
  [
    'Events: maxInboundPayloadSize = 100MiB',
    'EVENTS_MAX_INBOUND_PAYLOAD_SIZE=100MiB',
    { events: { ...events, maxInboundPayloadBytes: 104_857_600 } },
  ],
  [
    'Events: maxInboundPayloadSize = 1.5KB',
    'EVENTS_MAX_INBOUND_PAYLOAD_SIZE=1.5KiB',
    { events: { ...events, maxInboundPayloadBytes: 1536 } },
  ],
  ['Events: maxInboundPayloadSize = 0B', 'EVENTS_MAX_INBOUND_PAYLOAD_SIZE=0B', { events }],
  [
    'Events: inlineUsers = true\nEvents: samplingInterval = 0',
    'EVENTS_INLINE_USERS=true\nEVENTS_SAMPLING_INTERVAL=0',
    { events },
  ],
  ['Proxy: url = http://p:3128', 'PROXY_URL=http://p:3128', { proxy: { url: 'http://p:3128', caCertFiles: [] } }],
  [
    'Proxy: url = http://p\nProxy: user = u\nProxy: password = "p;w"',
    'PROXY_URL=http://p\nPROXY_AUTH_USER=u\nPROXY_AUTH_PASSWORD=p;w',
    { proxy: { url: 'http://p', user: 'u', password: 'p;w', caCertFiles: [] } },
  ],
  ['Proxy: ntlmAuth = false', 'PROXY_AUTH_NTLM=false', { proxy: { caCertFiles: [] } }],
  [
    'Proxy: caCertFiles = a.pem\nProxy: caCertFiles = b.pem, c.pem',
    'PROXY_CA_CERTS=a.pem, b.pem,c.pem',
    { proxy: { caCertFiles: ['a.pem', 'b.pem', 'c.pem'] } },
  ],
  ['Prometheus: enabled = true', 'USE_PROMETHEUS=true', { prometheus: { port: 8031, prefix: 'launchdarkly_relay' } }],
  [
    'Prometheus: enabled\nPrometheus: port = 9100\nPrometheus: prefix = ours',
    'USE_PROMETHEUS=1\nPROMETHEUS_PORT=9100\nPROMETHEUS_PREFIX=ours',
    { prometheus: { port: 9100, prefix: 'ours' } },
  ],
  [
    'Prometheus: enabled\nPrometheus: prefix = 1st-relay.',
    'USE_PROMETHEUS=1\nPROMETHEUS_PREFIX=1st-relay.',
    { prometheus: { port: 8031, prefix: 'key_1st_relay_' } },
  ],
  ['Prometheus: port = 9100', 'PROMETHEUS_PORT=9100', { prometheus: undefined }],
  [
    'Metrics: emf = true\nMetrics: emfInterval = 10s\nMetrics: namespace = Ours',
    'METRICS_EMF=true\nMETRICS_EMF_INTERVAL=10s\nMETRICS_NAMESPACE=Ours',
    { metrics: { emf: true, emfIntervalMs: 10_000, namespace: 'Ours' } },
  ],
  [
    'Datadog: enabled = true\nDatadog: prefix = my-\nDatadog: tag = b:c:d\nDatadog: tag = a:b',
    'USE_DATADOG=true\nDATADOG_PREFIX=my-\nDATADOG_TAG_b=c:d\nDATADOG_TAG_a=b',
    { datadog: { statsAddr: { host: 'localhost', port: 8125 }, prefix: 'my-', tags: ['a:b', 'b:c:d'] } },
  ],
  [
    'Datadog: enabled = true\nDatadog: statsAddr = "unix:///var/run/dsd.socket"',
    'USE_DATADOG=true\nDATADOG_STATS_ADDR=unix:///var/run/dsd.socket',
    { datadog: { statsAddr: { path: '/var/run/dsd.socket' }, prefix: 'launchdarkly_relay', tags: [] } },
  ],
  [
    'Datadog: enabled = true\nDatadog: statsAddr = "[::1]:18125"',
    'USE_DATADOG=true\nDATADOG_STATS_ADDR=[::1]:18125',
    { datadog: { statsAddr: { host: '::1', port: 18_125 }, prefix: 'launchdarkly_relay', tags: [] } },
  ],
  ['Datadog: prefix = x', 'DATADOG_PREFIX=x', { datadog: undefined }],
  ['Stackdriver: enabled\nStackdriver: projectID = p', 'USE_STACKDRIVER=1\nSTACKDRIVER_PROJECT_ID=p', { port: 8030 }],
  [
    'Http: enableCompression = true\nHttp: maxIdleConns = 5',
    'HTTP_ENABLE_COMPRESSION=true\nHTTP_MAX_IDLE_CONNS=5',
    { port: 8030 },
  ],
  ['Store: writer = never', 'STORE_WRITER=never', { storeWriter: 'never' }],
];

const stores: readonly Row[] = [
  ['Redis: host = localhost', 'USE_REDIS=true', { redis }],
  ['Redis: host = r1', 'USE_REDIS=1\nREDIS_HOST=r1', { redis: { ...redis, host: 'r1' } }],
  ['Redis: port = 6400', 'USE_REDIS=yes\nREDIS_PORT=6400', { redis: { ...redis, port: 6400 } }],
  [
    'Redis: host = r1\nRedis: port = 6400',
    'USE_REDIS=1\nREDIS_HOST=r1\nREDIS_PORT=6400',
    { redis: { ...redis, host: 'r1', port: 6400 } },
  ],
  [
    'Redis: port = tcp://10.0.0.9:6400',
    'USE_REDIS=1\nREDIS_PORT=tcp://10.0.0.9:6400',
    { redis: { ...redis, host: '10.0.0.9', port: 6400 } },
  ],
  ['Redis: port = tcp://10.0.0.9', 'USE_REDIS=1\nREDIS_PORT=tcp://10.0.0.9', { redis: { ...redis, host: '10.0.0.9' } }],
  ['Redis: url = redis://r1', 'USE_REDIS=1\nREDIS_URL=redis://r1', { redis: { ...redis, host: 'r1' } }],
  [
    'Redis: url = "rediss://me:p%40ss@r1:6380/3"',
    'USE_REDIS=1\nREDIS_URL=rediss://me:p%40ss@r1:6380/3',
    { redis: { ...redis, host: 'r1', port: 6380, db: 3, tls: true, username: 'me', password: 'p@ss' } },
  ],
  [
    'Redis: url = redis://:pw@r1',
    'USE_REDIS=1\nREDIS_URL=redis://:pw@r1',
    { redis: { ...redis, host: 'r1', password: 'pw' } },
  ],
  [
    'Redis: url = redis://[::1]:7',
    'USE_REDIS=1\nREDIS_URL=redis://[::1]:7',
    { redis: { ...redis, host: '::1', port: 7 } },
  ],
  [
    'Redis: host = r1\nRedis: tls = true\nRedis: username = u\nRedis: password = "p;w"',
    'USE_REDIS=1\nREDIS_HOST=r1\nREDIS_TLS=true\nREDIS_USERNAME=u\nREDIS_PASSWORD=p;w',
    { redis: { ...redis, host: 'r1', tls: true, username: 'u', password: 'p;w' } },
  ],
  ['Redis: tls = true', 'REDIS_TLS=true', { redis: undefined }],
  ['Redis: localTtl = 30000', 'CACHE_TTL=30000', { redis: undefined }],
  [
    'Redis: host = r1\nRedis: localTtl = 30s',
    'USE_REDIS=1\nREDIS_HOST=r1\nCACHE_TTL=30s',
    { redis: { ...redis, host: 'r1' } },
  ],
  [
    'Redis: host = r1\nRedis: localTtl = -1',
    'USE_REDIS=1\nREDIS_HOST=r1\nCACHE_TTL=-1',
    { redis: { ...redis, host: 'r1' } },
  ],
  [
    'Redis: host = r1\nRedis: clientCertFile = c\nRedis: clientKeyFile = k\nRedis: caFile = a',
    'USE_REDIS=1\nREDIS_HOST=r1\nREDIS_CLIENT_CERT_FILE=c\nREDIS_CLIENT_KEY_FILE=k\nREDIS_CA_FILE=a',
    { redis: { ...redis, host: 'r1', certFile: 'c', keyFile: 'k', caFile: 'a' } },
  ],
  [
    'Redis: host = r1\nRedis: connectTimeout = 2s\nRedis: readTimeout = 300ms\nRedis: atomicUpsert = true',
    'USE_REDIS=1\nREDIS_HOST=r1\nREDIS_CONNECT_TIMEOUT=2s\nREDIS_READ_TIMEOUT=300ms\nREDIS_ATOMIC_UPSERT=true',
    { redis: { ...redis, host: 'r1', connectTimeoutMs: 2000, readTimeoutMs: 300 } },
  ],
  [
    'Redis: sentinels = s1:26379, s2\nRedis: sentinelMaster = mymaster\nRedis: sentinelPassword = sp',
    'USE_REDIS=1\nREDIS_SENTINELS=s1:26379, s2\nREDIS_SENTINEL_MASTER=mymaster\nREDIS_SENTINEL_PASSWORD=sp',
    {
      redis: {
        ...redis,
        sentinel: {
          ...{
            nodes: [
              { host: 's1', port: 26_379 },
              { host: 's2', port: 26_379 },
            ],
            master: 'mymaster',
          },
          ...{ username: undefined, password: 'sp' },
        },
      },
    },
  ],
  [
    'Redis: host = c1\nRedis: cluster = true\nEnvironment "production": prefix = production',
    'USE_REDIS=1\nREDIS_HOST=c1\nREDIS_CLUSTER=true\nLD_PREFIX_production=production',
    { redis: { ...redis, host: 'c1', cluster: [{ host: 'c1', port: 6379 }] } },
  ],
  [
    'Redis: clusterNodes = c1, c2:7000\nEnvironment "production": prefix = {production}',
    'USE_REDIS=1\nREDIS_CLUSTER_NODES=c1, c2:7000\nLD_PREFIX_production={production}',
    {
      redis: {
        ...redis,
        cluster: [
          { host: 'c1', port: 6379 },
          { host: 'c2', port: 7000 },
        ],
      },
    },
  ],
  [
    'Redis: url = rediss://u:p@c1\nRedis: cluster = true\nRedis: clusterNodes = c2\nEnvironment "production": prefix = {production}',
    'USE_REDIS=1\nREDIS_URL=rediss://u:p@c1\nREDIS_CLUSTER=1\nREDIS_CLUSTER_NODES=c2\nLD_PREFIX_production={production}',
    {
      redis: {
        ...{ ...redis, host: 'c1', tls: true, username: 'u', password: 'p' },
        cluster: [
          { host: 'c1', port: 6379 },
          { host: 'c2', port: 6379 },
        ],
      },
    },
  ],
  ['Consul: host = localhost', 'USE_CONSUL=true', { consul: { address: 'http://localhost:8500' } }],
  ['Consul: host = c1', 'USE_CONSUL=1\nCONSUL_HOST=c1', { consul: { address: 'http://c1:8500' } }],
  ['Consul: host = c1:8600', 'USE_CONSUL=1\nCONSUL_HOST=c1:8600', { consul: { address: 'http://c1:8600' } }],
  [
    'Consul: host = https://c1:8501',
    'USE_CONSUL=1\nCONSUL_HOST=https://c1:8501',
    { consul: { address: 'https://c1:8501' } },
  ],
  ['Consul: host = [::1]:8600', 'USE_CONSUL=1\nCONSUL_HOST=[::1]:8600', { consul: { address: 'http://[::1]:8600' } }],
  [
    'Consul: host = c1\nConsul: token = t',
    'USE_CONSUL=1\nCONSUL_HOST=c1\nCONSUL_TOKEN=t',
    { consul: { address: 'http://c1:8500', token: 't' } },
  ],
  [
    'Consul: host = c1\nConsul: tokenFile = /t\nConsul: localTtl = 5s',
    'USE_CONSUL=1\nCONSUL_HOST=c1\nCONSUL_TOKEN_FILE=/t\nCACHE_TTL=5s',
    { consul: { address: 'http://c1:8500', tokenFile: '/t' } },
  ],
  ['Consul: token = t', 'CONSUL_TOKEN=t', { consul: undefined }],
  [
    'DynamoDB: enabled = true\nDynamoDB: tableName = flags',
    'USE_DYNAMODB=true\nDYNAMODB_TABLE=flags',
    { dynamoDB: { tableName: 'flags' } },
  ],
  [
    'DynamoDB: enabled = 1\nDynamoDB: tableName = flags\nDynamoDB: url = http://localhost:8000',
    'USE_DYNAMODB=1\nDYNAMODB_TABLE=flags\nDYNAMODB_URL=http://localhost:8000',
    { dynamoDB: { tableName: 'flags', url: 'http://localhost:8000' } },
  ],
  [
    'DynamoDB: enabled\nDynamoDB: tableName = flags\nDynamoDB: region = eu-west-1\nDynamoDB: localTtl = 30000',
    'USE_DYNAMODB=yes\nDYNAMODB_TABLE=flags\nAWS_REGION=eu-west-1\nCACHE_TTL=30000',
    { dynamoDB: { tableName: 'flags', region: 'eu-west-1' }, awsRegion: 'eu-west-1' },
  ],
  ['DynamoDB: tableName = flags', 'DYNAMODB_TABLE=flags', { dynamoDB: undefined }],
  [
    'DynamoDB: enabled = true\nEnvironment "production": tableName = own',
    'USE_DYNAMODB=true\nLD_TABLE_NAME_production=own',
    { dynamoDB: {}, ...environment({ tableName: 'own' }) },
  ],
  [
    'DynamoDB: enabled\nDynamoDB: tableName = t\nRedis: host = r1\nConsul: host = c1\nEnvironment "production": prefix = p',
    'USE_DYNAMODB=1\nDYNAMODB_TABLE=t\nUSE_REDIS=1\nREDIS_HOST=r1\nUSE_CONSUL=1\nCONSUL_HOST=c1\nLD_PREFIX_production=p',
    { dynamoDB: { tableName: 't' }, redis: { ...redis, host: 'r1' }, consul: { address: 'http://c1:8500' } },
  ],
];

const E = 'Environment "production"';
const environments: readonly Row[] = [
  ['', '', environment({})],
  [`${E}: mobileKey = mob-1`, 'LD_MOBILE_KEY_production=mob-1', environment({ mobileKey: 'mob-1' })],
  [`${E}: envId = 64a0`, 'LD_CLIENT_SIDE_ID_production=64a0', environment({ environmentId: '64a0' })],
  [
    `${E}: prefix = "ld:shop:production"`,
    'LD_PREFIX_production=ld:shop:production',
    environment({ prefix: 'ld:shop:production' }),
  ],
  [`${E}: tableName = t`, 'LD_TABLE_NAME_production=t', environment({ tableName: 't' })],
  [
    `${E}: allowedOrigin = https://a\n${E}: allowedOrigin = https://b`,
    'LD_ALLOWED_ORIGIN_production=https://a,https://b',
    environment({ allowedOrigins: ['https://a', 'https://b'] }),
  ],
  [
    `${E}: allowedOrigin = "https://a, https://b,"`,
    'LD_ALLOWED_ORIGIN_production=https://a , https://b,',
    environment({ allowedOrigins: ['https://a', 'https://b'] }),
  ],
  [
    `${E}: allowedHeader = X-One\n${E}: allowedHeader = X-Two`,
    'LD_ALLOWED_HEADER_production=X-One,X-Two',
    environment({ allowedHeaders: ['X-One', 'X-Two'] }),
  ],
  [`${E}: secureMode = true`, 'LD_SECURE_MODE_production=true', environment({ secureMode: true })],
  [`${E}: logLevel = debug`, 'LD_LOG_LEVEL_production=debug', environment({ logLevel: 'debug' })],
  [`${E}: ttl = 5m`, 'LD_TTL_production=5m', environment({ ttlMs: 300_000 })],
  [`${E}: ttlMinutes = 5`, 'LD_TTL_MINUTES_production=5', environment({ ttlMs: 300_000 })],
  [`${E}: projKey = shop`, 'LD_PROJ_KEY_production=shop', environment({ projKey: 'shop' })],
  [`${E}: flagsFile = flags.yaml`, 'LD_FLAGS_FILE_production=flags.yaml', environment({ flagsFile: 'flags.yaml' })],
  [
    `${E}: projKey = shop\nFilters "shop": keys = web,ios`,
    'LD_PROJ_KEY_production=shop\nLD_FILTER_KEYS_shop=web,ios',
    { filters: new Map([['shop', ['web', 'ios']]]), ...environment({ projKey: 'shop', filters: ['web', 'ios'] }) },
  ],
  [
    `${E}: projKey = shop\nFilters "shop": keys = web\nFilters "shop": keys = " ios , web "`,
    'LD_PROJ_KEY_production=shop\nLD_FILTER_KEYS_shop=web, ios,web',
    { filters: new Map([['shop', ['web', 'ios']]]) },
  ],
];

/** Complete configurations, which the tests use as they are. */
const whole: readonly Row[] = [
  [
    'Environment "A b": sdkKey = sdk-a\nEnvironment "a B": sdkKey = sdk-b',
    'LD_ENV_A b=sdk-a\nLD_ENV_a B=sdk-b',
    {
      environments: [
        { ...production, name: 'A b', sdkKey: 'sdk-a' },
        { ...production, name: 'a B', sdkKey: 'sdk-b' },
      ],
    },
  ],
  [
    'Redis: host = r\nEnvironment "a": sdkKey = sdk-a\nEnvironment "b": sdkKey = sdk-b\nEnvironment "b": prefix = b',
    'USE_REDIS=1\nREDIS_HOST=r\nLD_ENV_a=sdk-a\nLD_ENV_b=sdk-b\nLD_PREFIX_b=b',
    {
      environments: [
        { ...production, name: 'a', sdkKey: 'sdk-a' },
        { ...production, name: 'b', sdkKey: 'sdk-b', prefix: 'b' },
      ],
    },
  ],
  [
    'Environment "x": apiKey = sdk-x',
    'LD_ENV_x=sdk-x',
    { environments: [{ ...production, name: 'x', sdkKey: 'sdk-x' }] },
  ],
  [
    'Environment "x": flagsFile = f.json',
    'LD_FLAGS_FILE_x=f.json',
    { environments: [{ ...production, name: 'x', sdkKey: undefined, flagsFile: 'f.json' }] },
  ],
  ['AutoConfig: key = rel-1', 'AUTO_CONFIG_KEY=rel-1', { autoConfig: { ...template, key: 'rel-1' }, environments: [] }],
  [
    'AutoConfig: key = rel-1\nAutoConfig: envDatastorePrefix = ld-$CID\nAutoConfig: envDatastoreTableName = t-$CID',
    'AUTO_CONFIG_KEY=rel-1\nENV_DATASTORE_PREFIX=ld-$CID\nENV_DATASTORE_TABLE_NAME=t-$CID',
    { autoConfig: { ...template, key: 'rel-1', prefix: 'ld-$CID', tableName: 't-$CID' } },
  ],
  [
    'AutoConfig: key = rel-1\nAutoConfig: envAllowedOrigin = https://a\nAutoConfig: envAllowedHeader = X-A',
    'AUTO_CONFIG_KEY=rel-1\nENV_ALLOWED_ORIGIN=https://a\nENV_ALLOWED_HEADER=X-A',
    { autoConfig: { ...template, key: 'rel-1', allowedOrigins: ['https://a'], allowedHeaders: ['X-A'] } },
  ],
  [
    'AutoConfig: key = rel-1\nAutoConfig: cacheEncryptionKey = secret',
    'AUTO_CONFIG_KEY=rel-1\nAUTO_CONFIG_CACHE_ENCRYPTION_KEY=secret',
    { autoConfig: { ...template, key: 'rel-1', cacheEncryptionKey: 'secret' } },
  ],
  [
    'AutoConfig: key = rel-1\nRedis: host = localhost\nAutoConfig: envDatastorePrefix = $CID',
    'AUTO_CONFIG_KEY=rel-1\nUSE_REDIS=1\nENV_DATASTORE_PREFIX=$CID',
    { redis, autoConfig: { ...template, key: 'rel-1', prefix: '$CID' } },
  ],
  [
    'AutoConfig: key = rel-1\nDynamoDB: enabled = true\nAutoConfig: envDatastoreTableName = t-$CID',
    'AUTO_CONFIG_KEY=rel-1\nUSE_DYNAMODB=1\nENV_DATASTORE_TABLE_NAME=t-$CID',
    { dynamoDB: {}, autoConfig: { ...template, key: 'rel-1', tableName: 't-$CID' } },
  ],
  [
    'OfflineMode: fileDataSource = /a.tar.gz',
    'FILE_DATA_SOURCE=/a.tar.gz',
    { offline: { ...template, path: '/a.tar.gz', intervalMs: 1000 }, environments: [] },
  ],
  [
    'OfflineMode: fileDataSource = a\nOfflineMode: fileDataSourceMonitoringInterval = 5m\nOfflineMode: envDatastorePrefix = x',
    'FILE_DATA_SOURCE=a\nFILE_DATA_SOURCE_MONITORING_INTERVAL=5m\nENV_DATASTORE_PREFIX=x',
    { offline: { ...template, path: 'a', intervalMs: 300_000, prefix: 'x' } },
  ],
  [
    'OfflineMode: fileDataSource = a\nOfflineMode: envAllowedOrigin = https://a\nOfflineMode: envAllowedHeader = X-A',
    'FILE_DATA_SOURCE=a\nENV_ALLOWED_ORIGIN=https://a\nENV_ALLOWED_HEADER=X-A',
    { offline: { ...template, path: 'a', intervalMs: 1000, allowedOrigins: ['https://a'], allowedHeaders: ['X-A'] } },
  ],
  [
    'SSM: path = /efr/prod/environments',
    'KEYS_FROM_SSM=/efr/prod/environments',
    { ssm: { path: '/efr/prod/environments/', graceMs: 86_400_000 }, environments: [] },
  ],
  [
    'SSM: path = /a/\nSSM: url = http://localhost:4566\nSSM: keysGraceTime = 1h',
    'KEYS_FROM_SSM=/a/\nSSM_URL=http://localhost:4566\nKEYS_GRACE_TIME=1h',
    { ssm: { path: '/a/', url: 'http://localhost:4566', graceMs: 3_600_000 } },
  ],
  [
    'SSM: path = /a/\nSSM: cacheEncryptionKey = secret',
    'KEYS_FROM_SSM=/a/\nSSM_CACHE_ENCRYPTION_KEY=secret',
    { ssm: { path: '/a/', cacheEncryptionKey: 'secret', graceMs: 86_400_000 }, environments: [] },
  ],
  [
    'DynamoDB: enabled\nDynamoDB: tableName = t\nEnvironment "a": sdkKey = sdk-a\nEnvironment "a": prefix = a\nEnvironment "b": sdkKey = sdk-b\nEnvironment "b": prefix = b',
    'USE_DYNAMODB=1\nDYNAMODB_TABLE=t\nLD_ENV_a=sdk-a\nLD_PREFIX_a=a\nLD_ENV_b=sdk-b\nLD_PREFIX_b=b',
    {
      environments: [
        { ...production, name: 'a', sdkKey: 'sdk-a', prefix: 'a' },
        { ...production, name: 'b', sdkKey: 'sdk-b', prefix: 'b' },
      ],
    },
  ],
  [
    'DynamoDB: enabled\nDynamoDB: tableName = t\nEnvironment "a": sdkKey = sdk-a\nEnvironment "b": sdkKey = sdk-b\nEnvironment "b": tableName = u',
    'USE_DYNAMODB=1\nDYNAMODB_TABLE=t\nLD_ENV_a=sdk-a\nLD_ENV_b=sdk-b\nLD_TABLE_NAME_b=u',
    {
      environments: [
        { ...production, name: 'a', sdkKey: 'sdk-a' },
        { ...production, name: 'b', sdkKey: 'sdk-b', tableName: 'u' },
      ],
    },
  ],
];

const rows = [
  ...[...one, ...stores, ...environments].map((row) => ({ row, whole: false })),
  ...whole.map((row) => ({ row, whole: true })),
];

test.each(
  rows.map(({ row: [file, variables, expected], whole }) => ({
    title: variables.replaceAll('\n', ' ') || 'nothing but an environment',
    ...{ file, variables, expected, whole },
  })),
)('a file and variables agree: $title', ({ expected, ...given }) => {
  const wanted = Object.entries(expected);
  for (const { config } of [parseAsFile(given), parseAsVariables(given)]) {
    // What is undefined in a value means the same as what is not there.
    const found = wanted.map(([name]) => [name, config[name as keyof Config]]);
    expect(found).toEqual(wanted);
  }
});

test('the table has at least 100 rows', () => expect(rows.length).toBeGreaterThanOrEqual(100));
