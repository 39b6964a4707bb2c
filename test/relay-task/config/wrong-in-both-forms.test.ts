/** What is invalid in a file is invalid in variables; both messages say where, what and what to do. */
import { messageFor, parseAsFile, parseAsVariables, problemsOf } from '../../support/config-rows.ts';

/** Lines of the file, variables, and the problems; `$1` is the first setting of either, `$1 := x` the same with its value. */
type Row = readonly [file: string, variables: string, ...problems: readonly string[]];

const duration = 'a duration with a unit, such as 30s, 1m30s or 250ms';
const url = 'an absolute URL that starts with http:// or https://';
const size = 'a size with a unit, such as 5MiB, 512KiB or 0B';
const switched = 'true or false';
const is = 'is invalid: expected';
const hint = 'set LD_ENV_<name> to an SDK key, or set AUTO_CONFIG_KEY, FILE_DATA_SOURCE or KEYS_FROM_SSM';

const values: readonly Row[] = [
  ['Main: port = 99999', 'PORT=99999', `$1 := 99999 ${is} an integer from 0 to 65535`],
  ['Main: port = -1', 'PORT=-1', `$1 := -1 ${is} an integer from 0 to 65535`],
  ['Main: port = 80.5', 'PORT=80.5', `$1 := 80.5 ${is} an integer from 0 to 65535`],
  ['Main: port = http', 'PORT=http', `$1 := http ${is} an integer from 0 to 65535`],
  ['Main: streamUri = stream', 'STREAM_URI=stream', `$1 := stream ${is} ${url}`],
  ['Main: streamUri = //host/path', 'STREAM_URI=//host/path', `$1 := //host/path ${is} ${url}`],
  ['Main: baseUri = ftp://host', 'BASE_URI=ftp://host', `$1 := ftp://host ${is} ${url}`],
  ['Main: baseUri = http:host', 'BASE_URI=http:host', `$1 := http:host ${is} ${url}`],
  ['Main: clientSideBaseUri = http://', 'CLIENT_SIDE_BASE_URI=http://', `$1 := http:// ${is} ${url}`],
  ['Main: exitOnError = maybe', 'EXIT_ON_ERROR=maybe', `$1 := maybe ${is} ${switched}`],
  ['Main: exitAlways = 2', 'EXIT_ALWAYS=2', `$1 := 2 ${is} ${switched}`],
  ['Main: initTimeout = 10', 'INIT_TIMEOUT=10', `$1 := 10 ${is} ${duration}`],
  ['Main: initTimeout = 5 s', 'INIT_TIMEOUT=5 s', `$1 := 5 s ${is} ${duration}`],
  ['Main: initTimeout = 1d', 'INIT_TIMEOUT=1d', `$1 := 1d ${is} ${duration}`],
  ['Main: initTimeout = 1m-3s', 'INIT_TIMEOUT=1m-3s', `$1 := 1m-3s ${is} ${duration}`],
  ['Main: heartbeatInterval = s', 'HEARTBEAT_INTERVAL=s', `$1 := s ${is} ${duration}`],
  ['Main: heartbeatInterval = 1.5', 'HEARTBEAT_INTERVAL=1.5', `$1 := 1.5 ${is} ${duration}`],
  ['Main: logLevel = verbose', 'LOG_LEVEL=verbose', `$1 := verbose ${is} one of debug, info, warn, error, none`],
  ['Main: readyRequires = some', 'READY_REQUIRES=some', `$1 := some ${is} one of any, all`],
  ['Main: tlsMinVersion = 1.4', 'TLS_MIN_VERSION=1.4', `$1 := 1.4 ${is} one of 1.0, 1.1, 1.2, 1.3`],
  ['Main: clientStreams = push', 'CLIENT_STREAMS=push', `$1 := push ${is} one of evaluated, ping`],
  ['Main: statusAccess = none', 'STATUS_ACCESS=none', `$1 := none ${is} one of public, restricted`],
  [
    'Main: expiredCredentialCleanupInterval = 99ms',
    'EXPIRED_CREDENTIAL_CLEANUP_INTERVAL=99ms',
    `$1 := 99ms ${is} a duration of at least 100ms`,
  ],
  ['Main: maxClientRequestBodySize = 5', 'MAX_CLIENT_REQUEST_BODY_SIZE=5', `$1 := 5 ${is} ${size}`],
  [
    'Main: memoryBudget = 1KiB',
    'MEMORY_BUDGET=1KiB',
    `$1 := 1KiB ${is} a size of at least 16MiB, or 0B for the default`,
  ],
  ['Events: maxInboundPayloadSize = -1B', 'EVENTS_MAX_INBOUND_PAYLOAD_SIZE=-1B', `$1 := -1B ${is} ${size}`],
  ['Events: maxInboundPayloadSize = big', 'EVENTS_MAX_INBOUND_PAYLOAD_SIZE=big', `$1 := big ${is} ${size}`],
  ['Events: capacity = 0', 'EVENTS_CAPACITY=0', `$1 := 0 ${is} an integer from 1 to 100000000`],
  ['Events: flushInterval = soon', 'EVENTS_FLUSH_INTERVAL=soon', `$1 := soon ${is} ${duration}`],
  ['Events: inlineUsers = perhaps', 'EVENTS_INLINE_USERS=perhaps', `$1 := perhaps ${is} ${switched}`],
  ['Concurrency: maxConcurrent = -1', 'INIT_MAX_CONCURRENT=-1', `$1 := -1 ${is} an integer from 0 to 1000000`],
  ['Redis: port = 0', 'REDIS_PORT=0\nUSE_REDIS=1', `$1 := 0 ${is} a port from 1 to 65535, or tcp://host:port`],
  [
    'Redis: url = http://r',
    'REDIS_URL=http://r\nUSE_REDIS=1',
    `$1 := … ${is} a URL such as redis://host:6379, redis://user:password@host:6379/0 or rediss://host:6380`,
  ],
  [
    'Redis: url = redis://r/flags',
    'REDIS_URL=redis://r/flags\nUSE_REDIS=1',
    `$1 := … ${is} a URL such as redis://host:6379, redis://user:password@host:6379/0 or rediss://host:6380`,
  ],
  [
    'Redis: sentinels = s1:port\nRedis: sentinelMaster = m',
    'REDIS_SENTINELS=s1:port\nREDIS_SENTINEL_MASTER=m\nUSE_REDIS=1',
    `$1 := s1:port ${is} comma-separated hosts with ports, such as redis-1:26379,redis-2:26379`,
  ],
  ['Consul: host = a b', 'CONSUL_HOST=a b\nUSE_CONSUL=1', `$1 := a b ${is} host or host:port`],
  ['DynamoDB: enabled = sure', 'USE_DYNAMODB=sure', `$1 := sure ${is} ${switched}`],
  ['Redis: localTtl = long', 'CACHE_TTL=long', `$1 := long ${is} ${duration}`],
  ['Proxy: url = proxy:3128', 'PROXY_URL=proxy:3128', `$1 := proxy:3128 ${is} ${url}`],
  ['Prometheus: port = x', 'PROMETHEUS_PORT=x', `$1 := x ${is} an integer from 0 to 65535`],
  [
    'Datadog: statsAddr = "unix://relative"\nDatadog: enabled = true',
    'DATADOG_STATS_ADDR=unix://relative\nUSE_DATADOG=true',
    `$1 := unix://relative ${is} host, host:port or unix:///path`,
  ],
  ['Metrics: emfInterval = 10ms', 'METRICS_EMF_INTERVAL=10ms', `$1 := 10ms ${is} a duration of at least 1s`],
  ['Environment "production": ttl = 5', 'LD_TTL_production=5', `$1 := 5 ${is} ${duration}`],
  ['Environment "production": secureMode = x', 'LD_SECURE_MODE_production=x', `$1 := x ${is} ${switched}`],
  [
    'Environment "production": logLevel = loud',
    'LD_LOG_LEVEL_production=loud',
    `$1 := loud ${is} one of debug, info, warn, error, none`,
  ],
  // A key or a password in the wrong place is not repeated.
  ['Main: port = sdk-1234', 'PORT=sdk-1234', `$1 := sdk-… ${is} an integer from 0 to 65535`],
  ['Main: streamUri = mob-12-34', 'STREAM_URI=mob-12-34', `$1 := mob-… ${is} ${url}`],
  ['Proxy: url = socks://me:secret@p', 'PROXY_URL=socks://me:secret@p', `$1 := socks://…@p ${is} ${url}`],
];

const together: readonly Row[] = [
  ['Main: tlsEnabled = true', 'TLS_ENABLED=true', '$1: TLS needs both TLS_CERT and TLS_KEY'],
  ['Main: tlsEnabled = 1\nMain: tlsKey = k', 'TLS_ENABLED=1\nTLS_KEY=k', '$1: TLS needs both TLS_CERT and TLS_KEY'],
  [
    'Proxy: ntlmAuth = true\nProxy: url = http://p',
    'PROXY_AUTH_NTLM=true\nPROXY_URL=http://p',
    '$1: NTLM is not supported; use a proxy with basic authentication or none',
  ],
  [
    'AutoConfig: key = rel-1',
    'AUTO_CONFIG_KEY=rel-1',
    '$1 and environment production: only one source of environments is allowed; remove the others',
  ],
  [
    'OfflineMode: fileDataSource = f',
    'FILE_DATA_SOURCE=f',
    '$1 and environment production: only one source of environments is allowed; remove the others',
  ],
  [
    'SSM: path = /a',
    'KEYS_FROM_SSM=/a',
    '$1 and environment production: only one source of environments is allowed; remove the others',
  ],
  [
    'AutoConfig: envDatastorePrefix = $CID\nAutoConfig: envAllowedOrigin = https://a',
    'ENV_DATASTORE_PREFIX=$CID\nENV_ALLOWED_ORIGIN=https://a',
    '$1, $2: needs AUTO_CONFIG_KEY or FILE_DATA_SOURCE, and neither is set',
  ],
  [
    'OfflineMode: fileDataSourceMonitoringInterval = 1s',
    'FILE_DATA_SOURCE_MONITORING_INTERVAL=1s',
    '$1: needs FILE_DATA_SOURCE, which is not set',
  ],
  [
    'Redis: url = redis://a\nRedis: host = b',
    'REDIS_URL=redis://a\nREDIS_HOST=b\nUSE_REDIS=1',
    '$1, $2: set a URL for Redis, or a host and port, not both',
  ],
  [
    'Redis: url = redis://a\nRedis: port = 6379',
    'REDIS_URL=redis://a\nREDIS_PORT=6379\nUSE_REDIS=1',
    '$1, $2: set a URL for Redis, or a host and port, not both',
  ],
  [
    'Redis: sentinels = s1',
    'REDIS_SENTINELS=s1\nUSE_REDIS=1',
    '$1: Sentinels need both REDIS_SENTINELS and REDIS_SENTINEL_MASTER',
  ],
  [
    'Redis: sentinels = s1\nRedis: host = r\nRedis: sentinelMaster = m',
    'REDIS_SENTINELS=s1\nREDIS_HOST=r\nREDIS_SENTINEL_MASTER=m\nUSE_REDIS=1',
    '$1, $2: Sentinels provide the address of Redis; remove the other address',
  ],
  [
    'Redis: clientCertFile = c\nRedis: host = localhost',
    'REDIS_CLIENT_CERT_FILE=c\nUSE_REDIS=1',
    '$1: a client certificate needs both REDIS_CLIENT_CERT_FILE and REDIS_CLIENT_KEY_FILE',
  ],
  [
    'Redis: host = r\nRedis: cluster = true\nEnvironment "production": prefix = }p',
    'USE_REDIS=1\nREDIS_CLUSTER=true\nLD_PREFIX_production=}p',
    'LD_PREFIX_production: in a Redis Cluster, all keys of an environment must be on one node; put part of the prefix in braces: {p}',
  ],
  [
    'Redis: clusterNodes = c1\nEnvironment "production": prefix = }p',
    'USE_REDIS=1\nREDIS_CLUSTER_NODES=c1\nLD_PREFIX_production=}p',
    'LD_PREFIX_production: in a Redis Cluster, all keys of an environment must be on one node; put part of the prefix in braces: {p}',
  ],
  [
    'Redis: clusterNodes = c1\nRedis: sentinels = s1\nRedis: sentinelMaster = m\nEnvironment "production": prefix = {p}',
    'REDIS_CLUSTER_NODES=c1\nREDIS_SENTINELS=s1\nREDIS_SENTINEL_MASTER=m\nUSE_REDIS=1\nLD_PREFIX_production={p}',
    '$1, $2: a Redis Cluster has no Sentinels; choose one of the two',
  ],
  [
    'Consul: token = t\nConsul: tokenFile = f\nConsul: host = localhost',
    'CONSUL_TOKEN=t\nCONSUL_TOKEN_FILE=f\nUSE_CONSUL=1',
    '$1, $2: set the Consul token or its file, not both',
  ],
  [
    'DynamoDB: enabled = true',
    'USE_DYNAMODB=true',
    'USE_DYNAMODB is set, but no table: set DYNAMODB_TABLE or LD_TABLE_NAME_production',
  ],
  [
    'Filters "shop": keys = web',
    'LD_FILTER_KEYS_shop=web',
    'environment production has no project key, which filters require: set LD_PROJ_KEY_production',
    'filters of project shop: no environment has LD_PROJ_KEY_<name>=shop',
  ],
  [
    'Environment "production": projKey = shop\nFilters "shop": keys = "web,,ios"',
    'LD_PROJ_KEY_production=shop\nLD_FILTER_KEYS_shop=web,,ios',
    `$2 := web,,ios ${is} comma-separated keys, none of them empty`,
  ],
  [
    'Environment "production": projKey = shop\nFilters "shop": keys = web\nRedis: host = localhost',
    'LD_PROJ_KEY_production=shop\nLD_FILTER_KEYS_shop=web\nUSE_REDIS=1',
    'environment production has filters but no prefix: filtered and unfiltered flags would overwrite each other; set LD_PREFIX_production',
  ],
];

/** Complete configurations, which the tests use as they are. */
const whole: readonly Row[] = [
  ['', '', `no environments: ${hint}`],
  ['Main: port = 1', 'PORT=1', `no environments: ${hint}`],
  [
    'Environment "x": mobileKey = mob-x',
    'LD_ENV_x=\nLD_MOBILE_KEY_x=mob-x',
    'environment x has no SDK key: set LD_ENV_x, or sdkKey in [Environment "x"], or give it a flags file',
  ],
  [
    'Environment "x": sdkKey =',
    'LD_ENV_x= ',
    'environment x has no SDK key: set LD_ENV_x, or sdkKey in [Environment "x"], or give it a flags file',
  ],
  [
    'AutoConfig: key = rel-1\nOfflineMode: fileDataSource = f',
    'AUTO_CONFIG_KEY=rel-1\nFILE_DATA_SOURCE=f',
    '$1 and $2: only one source of environments is allowed; remove the others',
  ],
  [
    'AutoConfig: key = rel-1\nFilters "shop": keys = web',
    'AUTO_CONFIG_KEY=rel-1\nLD_FILTER_KEYS_shop=web',
    'filters of shop: with AUTO_CONFIG_KEY, LaunchDarkly provides the filters; remove them here',
  ],
  [
    'AutoConfig: key = rel-1\nRedis: host = r\nAutoConfig: envDatastorePrefix = ld',
    'AUTO_CONFIG_KEY=rel-1\nUSE_REDIS=1\nENV_DATASTORE_PREFIX=ld',
    'environments would overwrite each other in the store: put $CID in ENV_DATASTORE_PREFIX',
  ],
  [
    'AutoConfig: key = rel-1\nDynamoDB: enabled = true\nDynamoDB: tableName = t',
    'AUTO_CONFIG_KEY=rel-1\nUSE_DYNAMODB=1\nDYNAMODB_TABLE=t',
    'environments would overwrite each other in the store: put $CID in ENV_DATASTORE_PREFIX or ENV_DATASTORE_TABLE_NAME',
  ],
  [
    'OfflineMode: fileDataSource = f\nDynamoDB: enabled = true\nOfflineMode: envDatastorePrefix = $CID',
    'FILE_DATA_SOURCE=f\nUSE_DYNAMODB=1\nENV_DATASTORE_PREFIX=$CID',
    'USE_DYNAMODB is set, but no table: set DYNAMODB_TABLE or ENV_DATASTORE_TABLE_NAME',
  ],
  [
    'OfflineMode: fileDataSource = f\nOfflineMode: fileDataSourceMonitoringInterval = 50ms',
    'FILE_DATA_SOURCE=f\nFILE_DATA_SOURCE_MONITORING_INTERVAL=50ms',
    `$2 := 50ms ${is} a duration of at least 100ms`,
  ],
  [
    'SSM: path = keys',
    'KEYS_FROM_SSM=keys',
    `$1 := keys ${is} a path of SSM parameters, such as /edge-flag-relay/prod/environments/`,
    `no environments: ${hint}`,
  ],
  [
    'Redis: host = r\nEnvironment "a": sdkKey = sdk-a\nEnvironment "b": sdkKey = sdk-b',
    'USE_REDIS=1\nLD_ENV_a=sdk-a\nLD_ENV_b=sdk-b',
    'environments a and b would overwrite each other in Redis: give each its own LD_PREFIX_<name>',
  ],
  [
    'Redis: clusterNodes = c1\nEnvironment "a": sdkKey = sdk-a\nEnvironment "a": prefix = p\nEnvironment "b": sdkKey = sdk-b\nEnvironment "b": prefix = {p}',
    'USE_REDIS=1\nREDIS_CLUSTER_NODES=c1\nLD_ENV_a=sdk-a\nLD_PREFIX_a=p\nLD_ENV_b=sdk-b\nLD_PREFIX_b={p}',
    'environments a and b would overwrite each other in Redis: give each its own LD_PREFIX_<name>',
  ],
  [
    'Redis: host = r\nEnvironment "a": sdkKey = sdk-a\nEnvironment "b": sdkKey = sdk-b\nEnvironment "b": prefix = launchdarkly',
    'USE_REDIS=1\nLD_ENV_a=sdk-a\nLD_ENV_b=sdk-b\nLD_PREFIX_b=launchdarkly',
    'environments a and b would overwrite each other in Redis: give each its own LD_PREFIX_<name>',
  ],
  [
    'Consul: host = c\nEnvironment "a": sdkKey = sdk-a\nEnvironment "b": sdkKey = sdk-b\nEnvironment "a": prefix = p\nEnvironment "b": prefix = p',
    'USE_CONSUL=1\nCONSUL_HOST=c\nLD_ENV_a=sdk-a\nLD_ENV_b=sdk-b\nLD_PREFIX_a=p\nLD_PREFIX_b=p',
    'environments a and b would overwrite each other in Consul: give each its own LD_PREFIX_<name>',
  ],
  [
    'DynamoDB: enabled\nDynamoDB: tableName = t\nEnvironment "a": sdkKey = sdk-a\nEnvironment "b": sdkKey = sdk-b\nEnvironment "b": tableName = t',
    'USE_DYNAMODB=1\nDYNAMODB_TABLE=t\nLD_ENV_a=sdk-a\nLD_ENV_b=sdk-b\nLD_TABLE_NAME_b=t',
    'environments a and b would overwrite each other in DynamoDB: give each its own LD_PREFIX_<name> or LD_TABLE_NAME_<name>',
  ],
  [
    'Redis: host = r\nEnvironment "a": sdkKey = sdk-a\nEnvironment "a": prefix = p\nEnvironment "a": projKey = s\nEnvironment "b": sdkKey = sdk-b\nEnvironment "b": prefix = p/f\nEnvironment "b": projKey = t\nFilters "s": keys = f',
    'USE_REDIS=1\nLD_ENV_a=sdk-a\nLD_PREFIX_a=p\nLD_PROJ_KEY_a=s\nLD_ENV_b=sdk-b\nLD_PREFIX_b=p/f\nLD_PROJ_KEY_b=t\nLD_FILTER_KEYS_s=f',
    'environments a/f and b would overwrite each other in Redis: give each its own LD_PREFIX_<name>',
  ],
  [
    'Environment "a": sdkKey = sdk-same\nEnvironment "b": sdkKey = sdk-same',
    'LD_ENV_a=sdk-same\nLD_ENV_b=sdk-same',
    'LD_ENV_a and LD_ENV_b have the same value: each environment needs its own',
  ],
  [
    'Environment "a": sdkKey = sdk-a\nEnvironment "b": sdkKey = sdk-b\nEnvironment "a": mobileKey = mob-1\nEnvironment "b": mobileKey = mob-1',
    'LD_ENV_a=sdk-a\nLD_ENV_b=sdk-b\nLD_MOBILE_KEY_a=mob-1\nLD_MOBILE_KEY_b=mob-1',
    'LD_MOBILE_KEY_a and LD_MOBILE_KEY_b have the same value: each environment needs its own',
  ],
  [
    'Environment "a": sdkKey = sdk-a\nEnvironment "b": sdkKey = sdk-b\nEnvironment "a": envId = 64\nEnvironment "b": envId = 64',
    'LD_ENV_a=sdk-a\nLD_ENV_b=sdk-b\nLD_CLIENT_SIDE_ID_a=64\nLD_CLIENT_SIDE_ID_b=64',
    'LD_CLIENT_SIDE_ID_a and LD_CLIENT_SIDE_ID_b have the same value: each environment needs its own',
  ],
  [
    'Main: port = x\nMain: initTimeout = 1\nRedis: port = y\nEvents: capacity = z',
    'PORT=x\nINIT_TIMEOUT=1\nREDIS_PORT=y\nEVENTS_CAPACITY=z\nUSE_REDIS=1',
    `$1 := x ${is} an integer from 0 to 65535`,
    `$2 := 1 ${is} ${duration}`,
    `$4 := z ${is} an integer from 1 to 100000000`,
    `$3 := y ${is} a port from 1 to 65535, or tcp://host:port`,
    `no environments: ${hint}`,
  ],
];

const rows = [
  ...[...values, ...together].map((row) => ({ row, whole: false })),
  ...whole.map((row) => ({ row, whole: true })),
].map(({ row: [file, variables, ...problems], whole }) => ({ file, variables, problems, whole }));

const named = rows.map((row) => ({ title: row.variables.replaceAll('\n', ' ') || 'nothing at all', ...row }));

test.each(named)('a file and variables are rejected alike: $title', ({ problems, ...given }) => {
  for (const form of ['file', 'variables'] as const) {
    const found = problemsOf(() => (form === 'file' ? parseAsFile(given) : parseAsVariables(given)));
    expect(found).toEqual(problems.map((problem) => messageFor(form, problem, given)));
  }
});

test('the table has at least 60 rows', () => expect(rows.length).toBeGreaterThanOrEqual(60));
