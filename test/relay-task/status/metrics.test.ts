import { collectDefaultMetrics, Registry } from 'prom-client';
import { shareEventLoopDelays } from '../../../relay-task/status/event-loop.ts';
import { familyOf } from '../../../relay-task/status/family.ts';
import type { EnvironmentHealth } from '../../../relay-task/status/health.ts';
import { createMetrics, type Metrics } from '../../../relay-task/status/metrics.ts';
import { eventually } from '../../support/eventually.ts';

let metrics: Metrics;
beforeEach(() => {
  metrics = createMetrics();
});
afterEach(() => metrics.close());

test('the three metrics of ld-relay have its names and labels', async () => {
  metrics.streams.opened('production', 'all', 'NodeJSClient/9');
  metrics.streams.opened('production', 'all', 'NodeJSClient/9');
  metrics.streams.closed('production', 'all', 'NodeJSClient/9', 'slow');
  const answer = {
    route: '/sdk/flags/{key}',
    method: 'GET',
    environment: 'production',
    credential: 'sdkKey',
    family: 'PHPClient/6',
    durationMs: 1,
  } as const;
  metrics.answered({ ...answer, status: 200 });
  metrics.answered({ ...answer, status: 503 });
  const { body } = await metrics.text();
  expect(body).toContain(
    'launchdarkly_relay_connections{platformCategory="server",userAgent="NodeJSClient_9",env="production"} 1',
  );
  expect(body).toContain(
    'launchdarkly_relay_newconnections{platformCategory="server",userAgent="NodeJSClient_9",env="production"} 2',
  );
  expect(body).toContain(
    'launchdarkly_relay_requests{platformCategory="server",userAgent="PHPClient_6",env="production",route="_sdk_flags_{key}",method="GET"} 1',
  );
  expect(body).toContain('launchdarkly_relay_streams_closed_total{env="production",reason="slow"} 1');
  expect(body).toContain('launchdarkly_relay_http_answers_total{route="/sdk/flags/{key}",method="GET",status="503"} 1');
  expect(body).toContain('nodejs_eventloop_lag_p99_seconds');
});

test.each([
  ['NodeJSClient/9.13.7', 'NodeJSClient/9'],
  ['GoClient/7.6.2', 'GoClient/7'],
  ['PHPClient/6', 'PHPClient/6'],
  ['Mozilla/5.0 (X11)', 'other'],
  ['NodeJSClient/999.1', 'other'],
  ['NodeJSClient/', 'other'],
  ['', 'other'],
  [undefined, 'other'],
])('a client with the user agent %s is counted as %s', (userAgent, family) => {
  expect(familyOf(userAgent)).toBe(family);
});

describe('the delay of the event loop', () => {
  const BLOCKED_MS = 100;
  function block(): void {
    const until = performance.now() + BLOCKED_MS;
    while (performance.now() < until);
  }
  const value = async (registry: Registry, of: string) => {
    const all = await registry.getMetricsAsJSON();
    return all.find(({ name }) => name === `nodejs_eventloop_lag_${of}_seconds`)!.values[0]!.value;
  };
  const seen = (registry: Registry) =>
    eventually(async () => expect(await value(registry, 'max')).toBeGreaterThanOrEqual(BLOCKED_MS / 2_000));

  test('is in every reading of its minute, whoever else reads', async () => {
    // The delay is one between two ticks of its clock.
    await eventually(async () => expect(await value(metrics.registry, 'p50')).toBeGreaterThan(0));
    block();
    await seen(metrics.registry);
    for (let reading = 0; reading < 3; reading++) {
      await metrics.text();
      expect(await value(metrics.registry, 'max')).toBeGreaterThanOrEqual(BLOCKED_MS / 2_000);
      for (const one of ['min', 'mean', 'stddev', 'p50', 'p90', 'p99'])
        expect(await value(metrics.registry, one)).toBeLessThan(100);
    }
  });

  test('is forgotten after two windows, and 0 before there is any', async () => {
    const registry = new Registry();
    collectDefaultMetrics({ register: registry });
    const end = shareEventLoopDelays(registry, 200);
    try {
      expect(await value(registry, 'min')).toBe(0);
      expect(await value(registry, 'mean')).toBe(0);
      await eventually(async () => expect(await value(registry, 'p50')).toBeGreaterThan(0));
      for (const _ of [1, 2]) block();
      await seen(registry);
      await eventually(async () => expect(await value(registry, 'max')).toBeLessThan(BLOCKED_MS / 2_000));
    } finally {
      end();
    }
  });
});

test('labels stay bounded for any user agents and methods', async () => {
  for (let i = 0; i < 500; i++) {
    const family = familyOf(`Client${i}/${i}.0`);
    metrics.streams.opened('production', 'all', family);
    metrics.answered({
      route: 'none',
      method: `M${i}`,
      status: 405,
      environment: undefined,
      credential: undefined,
      family,
      durationMs: 1,
    });
  }
  const { body } = await metrics.text();
  expect(body.match(/^launchdarkly_relay_connections\{/gm)).toHaveLength(1);
  expect(body.match(/^launchdarkly_relay_http_answers_total\{/gm)).toHaveLength(1);
});

test('unhealthy upstreams, stores and keys are 1, and removed environments disappear', async () => {
  const environments: EnvironmentHealth[] = [
    {
      name: 'production',
      credentials: [],
      createdAt: 0,
      createdNow: 0,
      initialized: true,
      upstream: {
        state: 'INTERRUPTED',
        stateSince: 0,
        stateNow: 0,
        refused: true,
        current: false,
        // A clock that was stepped since.
        checkedAt: Date.now() + 86_400_000,
        checkedNow: performance.now() - 90_000,
      },
      stores: [{ database: 'redis', state: 'INTERRUPTED', stateSince: 0, writer: true }],
      unreadable: [{ kind: 'features', key: 'a', reason: '-' }],
      refusedPatterns: [],
      failedItems: [{ kind: 'features', key: 'deep', reason: 'RangeError' }],
      keyProblem: { since: 0, message: '-' },
      bigSegments: { available: true, potentiallyStale: true, lastSynchronizedOn: 0 },
    },
  ];
  metrics.watch({
    environments: () => environments,
    source: () => ({ kind: 'ssm', state: 'INTERRUPTED', stateSince: 0 }),
  });
  const { body } = await metrics.text();
  for (const name of [
    'launchdarkly_relay_upstream_disconnected',
    'launchdarkly_relay_upstream_refused',
    'launchdarkly_relay_failed_items',
    'launchdarkly_relay_unreadable_items',
    'launchdarkly_relay_key_problems',
    'launchdarkly_relay_big_segments_stale',
  ]) {
    expect(body).toContain(`${name}{env="production"} 1`);
  }
  expect(body).toContain('launchdarkly_relay_store_down{env="production",database="redis"} 1');
  expect(body).toContain('launchdarkly_relay_key_source_down 1');
  expect(body).toMatch(/^launchdarkly_relay_data_age_seconds\{env="production"\} 9\d/m);
  environments.length = 0;
  expect((await metrics.text()).body).not.toContain('env="production"');
});

test('environments are looked up once per reading, however many gauges show them', async () => {
  let looks = 0;
  metrics.watch({
    environments() {
      looks += 1;
      return [];
    },
  });
  await metrics.text();
  expect(looks).toBe(1);
  await metrics.registry.getMetricsAsJSON();
  expect(looks).toBe(2);
});
