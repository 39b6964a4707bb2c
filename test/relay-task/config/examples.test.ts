/** Configuration files as ld-relay's documentation has shown them, from its first version to its last. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type ParsedConfig, parseConfig } from '../../../relay-task/config/config.ts';

const fixtures = join(import.meta.dirname, '../../fixtures/config');

function read(path: string): ParsedConfig {
  return parseConfig({}, { path, text: readFileSync(join(fixtures, path), 'utf8') });
}

test('version 1 and 2: API keys, seconds and milliseconds are read, with a warning for each', () => {
  const { config, warnings } = read('v1-redis.conf');
  expect(config).toMatchObject({
    ...{ exitOnError: false, ignoreConnectionErrors: true, heartbeatIntervalMs: 15_000 },
    ...{ streamUri: 'https://stream.launchdarkly.com', baseUri: 'https://sdk.launchdarkly.com' },
    redis: { host: 'localhost', port: 6379, tls: false },
    environments: [
      { name: 'Shop Production', sdkKey: 'SHOP_PROD_API_KEY', prefix: 'ld:shop:production' },
      { name: 'Shop Test', sdkKey: 'SHOP_TEST_API_KEY', prefix: 'ld:shop:test' },
    ],
  });
  expect([...warnings].sort()).toEqual([
    'https://app.launchdarkly.com is an old address; using https://sdk.launchdarkly.com instead',
    'v1-redis.conf:11: [main] heartbeatIntervalSecs is an old name: write heartbeatInterval = 15s',
    'v1-redis.conf:15: [environment "Shop Production"] apiKey is an old name: write sdkKey',
    'v1-redis.conf:19: [environment "Shop Test"] apiKey is an old name: write sdkKey',
    'v1-redis.conf:4: [redis] localTtl has no effect: all data is in memory; the store is read at startup and while LaunchDarkly cannot be reached',
  ]);
});

test('version 4: events, a mobile environment and a browser environment are read', () => {
  const { config, warnings } = read('v4-events.conf');
  expect(config).toMatchObject({
    exitOnError: true,
    events: { enabled: true, uri: 'https://events.launchdarkly.com', flushIntervalMs: 5000, capacity: 10_000 },
    environments: [
      { name: 'Shop Mobile', sdkKey: 'SHOP_MOBILE_SDK_KEY', mobileKey: 'SHOP_MOBILE_MOBILE_KEY' },
      {
        ...{ name: 'Shop Web', sdkKey: 'SHOP_WEB_SDK_KEY', environmentId: 'SHOP_WEB_ENV_ID', ttlMs: 120_000 },
        allowedOrigins: ['http://shop.example', 'http://other.example'],
      },
    ],
  });
  expect(warnings).toContainEqual(
    'v4-events.conf:16: [environment "Shop Web"] ttlMinutes is an old name: write ttl = 2m',
  );
  expect(warnings).toContainEqual(
    'v4-events.conf:21: [events] flushIntervalSecs is an old name: write flushInterval = 5s',
  );
  expect(warnings).toContainEqual(
    expect.stringMatching(/\[events\] samplingInterval has no effect: all events are forwarded; LaunchDarkly samples$/),
  );
});

test('version 5: three stores are read, although ld-relay itself allows only two', () => {
  const { config } = read('v5-stores.conf');
  expect(config.redis).toMatchObject({ host: 'localhost', port: 6379 });
  expect(config.dynamoDB).toMatchObject({ tableName: 'my-feature-flags' });
  expect(config.consul).toMatchObject({ address: 'http://localhost:8500' });
});

test('version 8: every section is read', () => {
  const { config, warnings } = read('v8-everything.conf');
  expect(config).toMatchObject({
    ...{ streamUri: 'http://internal.example/stream', baseUri: 'http://internal.example/base', port: 8333 },
    ...{ clientSideBaseUri: 'http://internal.example/client', exitOnError: true, exitAlways: false },
    ...{ ignoreConnectionErrors: true, initTimeoutMs: 300_000, heartbeatIntervalMs: 90_000, logLevel: 'warn' },
    ...{ maxClientConnectionTimeMs: 1_800_000, disconnectedStatusTimeMs: 180_000 },
    bigSegments: { staleAsDegraded: true, staleThresholdMs: 600_000 },
    events: {
      ...{ enabled: true, uri: 'http://internal.example/events', flushIntervalMs: 120_000, capacity: 500 },
      maxInboundPayloadBytes: 104_857_600,
    },
    environments: [
      {
        ...{ name: 'earth', sdkKey: 'earth-sdk', mobileKey: 'earth-mob', environmentId: 'earth-env', prefix: 'earth-' },
        ...{ secureMode: true, logLevel: 'debug', ttlMs: 300_000 },
        allowedOrigins: ['https://oa', 'https://rann'],
        allowedHeaders: ['Timestamp-Valid', 'Random-Id-Valid'],
      },
      { name: 'the "second" one', sdkKey: 'krypton-sdk', prefix: 'krypton-', secureMode: false },
    ],
    redis: { host: 'redis.example', port: 6380, db: 1, tls: true, username: undefined, password: 'p;w' },
    prometheus: { port: 8333, prefix: 'pre_' },
    datadog: { statsAddr: { host: 'stats', port: 8125 }, prefix: 'pre-', tags: ['first:1', 'second:2'] },
    proxy: {
      ...{ url: 'http://proxy.example:3128', user: 'user', password: 'pa\\ss "word"', caCertFiles: ['cert1', 'cert2'] },
    },
  });
  const reasons = warnings.filter((warning) => /Datadog|Stackdriver/.test(warning));
  expect(reasons).toHaveLength(2);
  expect(warnings).toContainEqual(
    expect.stringMatching(
      /\[Main\] expiredCredentialCleanupInterval has no effect: an expired key is refused at once$/,
    ),
  );
});

test('version 8: automatic configuration with a store is read', () => {
  expect(read('v8-auto-config.conf').config).toMatchObject({
    autoConfig: {
      ...{ key: 'rel-abcdef01-2345-6789-abcd-ef0123456789', prefix: 'ld-flags-$CID' },
      ...{ allowedOrigins: ['https://one.example', 'https://two.example'], allowedHeaders: ['X-Trace'] },
    },
    consul: { address: 'http://consul.internal:8500', token: 'consul-token' },
    environments: [],
  });
});

test('version 8: offline mode is read', () => {
  const { config, warnings } = read('v8-offline.conf');
  expect(config).toMatchObject({
    offline: { path: '/path/to/archive.tar.gz', intervalMs: 300_000, prefix: '$CID' },
    dynamoDB: { tableName: 'flags', url: 'http://localhost:8000' },
  });
  expect(warnings).toEqual([]);
});

test('version 8: payload filters apply to all environments of their project', () => {
  const { config } = read('v8-filters.conf');
  expect(config.environments.map(({ name, filters }) => ({ name, filters }))).toEqual([
    { name: 'production', filters: ['web-storefront', 'ios-app', 'android-app'] },
    { name: 'test', filters: ['web-storefront', 'ios-app', 'android-app'] },
    { name: 'other', filters: [] },
  ]);
});

test('version 8: TLS and a proxy are read from a file with Windows line endings', () => {
  const { config } = read('v8-tls-proxy.conf');
  expect(config).toMatchObject({
    tls: { certFile: '/certs/tls.crt', keyFile: '/certs/tls.key', minVersion: 'TLSv1.3' },
    proxy: { url: 'http://user:secret@proxy.example:3128' },
    environments: [{ name: 'production', tableName: undefined }],
  });
});
