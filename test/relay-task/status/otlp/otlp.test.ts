/** A whole relay sends metrics and traces to a collector, which reads them without the SDK that wrote them. */
import { request } from 'node:http';
import { startTable } from '../../../support/dynalite.ts';
import { eventually, until } from '../../../support/eventually.ts';
import { type FakeUpstream, startFakeUpstream } from '../../../support/fake-upstream.ts';
import { flagData } from '../../../support/items.ts';
import { closeAfterEach } from '../../../support/opened.ts';
import { type OtlpReceiver, startOtlpReceiver } from '../../../support/otlp-receiver.ts';
import { readStream } from '../../../support/read-stream.ts';
import { startTestRelay, type TestRelay } from '../../../support/start-relay.ts';

const sdkKey = 'sdk-00000000-1111-2222-3333-444455556666';
const mobileKey = 'mob-00000000-1111-2222-3333-444455556666';
const authorized = { Authorization: sdkKey };
/** The context of Alice, who must be in no span. */
const context = Buffer.from(JSON.stringify({ kind: 'user', key: 'alice-of-wonderland' })).toString('base64url');
const flag = (key: string, version: number) =>
  flagData(key, version, { variations: ['a', 'b'], offVariation: 0, clientSideAvailability: { usingMobileKey: true } });

const { opened } = closeAfterEach();

async function start(variables: Record<string, string> = {}): Promise<{
  relay: TestRelay;
  receiver: OtlpReceiver;
  upstream: FakeUpstream;
}> {
  const receiver = opened(await startOtlpReceiver());
  const upstream = opened(await startFakeUpstream({ flags: { first: flag('first', 1) } }));
  const relay = opened(
    await startTestRelay({
      LD_ENV_production: sdkKey,
      LD_MOBILE_KEY_production: mobileKey,
      LD_CLIENT_SIDE_ID_production: 'client-id',
      STREAM_URI: upstream.uri,
      EVENTS_HOST: upstream.uri,
      USE_OTLP: 'true',
      OTEL_EXPORTER_OTLP_ENDPOINT: receiver.uri,
      OTEL_METRIC_EXPORT_INTERVAL: '100',
      OTEL_TRACES_SAMPLER: 'always_off',
      ...variables,
    }),
  );
  expect(await relay.initialized()).toEqual([]);
  return { relay, receiver, upstream };
}

const lastOf = ({ metrics }: OtlpReceiver, name: string) => metrics.findLast((metric) => metric.name === name);

/** Over a bare request, since fetch sends no REPORT. */
const ask = (relay: TestRelay, path: string, options: { method?: string; headers?: object; body?: string } = {}) =>
  new Promise<number>((resolve, reject) => {
    const { method = 'GET', headers = authorized, body } = options;
    request(`${relay.uri}${path}`, { method, headers: { ...headers } }, (response) => {
      response.resume().on('end', () => resolve(response.statusCode ?? 0));
    })
      .on('error', reject)
      .end(body);
  });

describe('metrics', () => {
  test('requests have the names, units and attributes of ld-relay 9, with a bounded client', async () => {
    const { relay, receiver } = await start({ OTEL_RESOURCE_ATTRIBUTES: 'deployment.environment.name=prod%20eu' });
    const headers = {
      ...authorized,
      'User-Agent': 'NodeJSClient/9.13.7-anything',
      'X-LaunchDarkly-Tags': 'application-id/shop application-version/1.2',
    };
    expect(await ask(relay, '/sdk/latest-all', { headers })).toBe(200);
    const attributes = {
      'launchdarkly.environment.name': 'production',
      'user_agent.original': 'NodeJSClient/9',
      'http.route': '/sdk/latest-all',
      'http.request.method': 'GET',
      'url.scheme': 'http',
      'launchdarkly.application.id': 'shop',
      'launchdarkly.application.version': '1.2',
      'launchdarkly.relay.endpoint.type': 'poll',
    };
    await until('the duration', () => lastOf(receiver, 'http.server.request.duration') !== undefined);
    expect(lastOf(receiver, 'launchdarkly.relay.requests')).toMatchObject({
      unit: '{request}',
      kind: 'sum',
      isMonotonic: true,
      temporality: 2,
      points: [{ attributes, value: 1 }],
      resource: {
        'service.name': 'ld-relay',
        'service.version': '0.0.0-test',
        'service.instance.id': expect.stringMatching(/^[0-9a-f-]{36}$/),
        'deployment.environment.name': 'prod eu',
        'telemetry.sdk.language': 'nodejs',
      },
    });
    const duration = lastOf(receiver, 'http.server.request.duration')!;
    expect(duration).toMatchObject({ unit: 's', kind: 'histogram' });
    expect(duration.points[0]).toMatchObject({
      attributes: { ...attributes, 'http.response.status_code': 200, 'network.protocol.version': '1.1' },
      histogram: { count: 1, bounds: [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10] },
    });
    await eventually(() =>
      expect(lastOf(receiver, 'http.server.active_requests')).toMatchObject({
        unit: '{request}',
        kind: 'sum',
        isMonotonic: false,
        points: [{ attributes, value: 0 }],
      }),
    );
  });

  test('a stream is an active request as long as it is open, and has no duration @heavy', async () => {
    const { relay, receiver } = await start();
    const stream = opened(await readStream({ port: relay.port, path: '/all', headers: authorized }));
    await stream.next();
    const active = () =>
      lastOf(receiver, 'http.server.active_requests')?.points.find(
        ({ attributes }) => attributes['launchdarkly.relay.endpoint.type'] === 'stream',
      );
    await eventually(() => expect(active()).toMatchObject({ value: 1, attributes: { 'http.route': '/all' } }));
    stream.close();
    await eventually(() => expect(active()).toMatchObject({ value: 0 }));
    expect(lastOf(receiver, 'http.server.request.duration')).toBeUndefined();
  });

  test('all that Prometheus sees arrives under its own names, with the buckets that OTLP has @heavy', async () => {
    const { relay, receiver } = await start();
    expect(await ask(relay, '/sdk/latest-all')).toBe(200);
    const text = (await relay.metrics.text()).body;
    const exposed = [...text.matchAll(/^# TYPE (\S+) \w+\n(?!\n|#|$)/gm)].map(([, name]) => name!);
    expect(exposed.length).toBeGreaterThan(30);
    // An export that was read before the text may lack some of it, such as the first garbage collection.
    await eventually(() => {
      const names = new Set(receiver.metrics.map(({ name }) => name));
      expect(exposed.filter((name) => !names.has(name))).toEqual([]);
    });
    const seconds = lastOf(receiver, 'launchdarkly_relay_http_answer_seconds')!;
    const [point] = seconds.points.filter(({ attributes }) => attributes.route === '/sdk/latest-all');
    expect(seconds.unit).toBe('s');
    expect(point!.histogram!.counts).toHaveLength(point!.histogram!.bounds.length + 1);
    expect(point!.histogram!.counts.reduce((sum, count) => sum + count)).toBe(1);
  });

  test('the state of the relay is one series for each state, 0 for those that it is not in', async () => {
    const { receiver } = await start({ OTEL_ENVIRONMENT_STATUS_METRICS: 'true' });
    const states = (name: string) =>
      Object.fromEntries(
        lastOf(receiver, name)!.points.map(({ attributes, value }) => [
          attributes['launchdarkly.relay.state'] as string,
          value,
        ]),
      );
    await eventually(() => expect(states('launchdarkly.relay.status')).toEqual({ healthy: 1, degraded: 0 }));
    expect(lastOf(receiver, 'launchdarkly.relay.status')!.unit).toBe('{state}');
    expect(states('launchdarkly.relay.environment.connection.state.count')).toEqual({
      VALID: 1,
      INITIALIZING: 0,
      INTERRUPTED: 0,
      OFF: 0,
    });
    expect(lastOf(receiver, 'launchdarkly.relay.environment.info')!.points).toMatchObject([
      { attributes: { 'launchdarkly.environment.name': 'production', 'launchdarkly.environment.id': 'client-id' } },
    ]);
  });

  test('delta: each export tells what was added since the one before @heavy', async () => {
    const { relay, receiver } = await start({ OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE: 'delta' });
    const total = (name: string) =>
      receiver.metrics
        .filter((metric) => metric.name === name)
        .flatMap(({ points }) => points)
        .reduce((sum, { value }) => sum + value, 0);
    for (let asked = 1; asked <= 3; asked++) {
      expect(await ask(relay, '/sdk/latest-all')).toBe(200);
      await until('the request', () => total('launchdarkly_relay_requests_answered_total') === asked);
    }
    const before = receiver.metrics.length;
    await until('another export', () =>
      receiver.metrics.slice(before).some(({ name }) => name === 'launchdarkly_relay_up'),
    );
    expect(total('launchdarkly_relay_requests_answered_total')).toBe(3);
    expect(lastOf(receiver, 'launchdarkly_relay_requests_answered_total')!.temporality).toBe(1);
    expect(lastOf(receiver, 'launchdarkly_relay_requests_answered_total')!.points[0]!.value).toBe(0);
  });

  test('more series than the limit become one', async () => {
    const { relay, receiver } = await start({ OTEL_METRICS_CARDINALITY_LIMIT: '2' });
    const points = (name: string) => lastOf(receiver, name)?.points ?? [];
    const requests = () => points('launchdarkly.relay.requests').reduce((sum, { value }) => sum + value, 0);
    const paths = ['/sdk/latest-all', '/sdk/latest-flags', '/sdk/latest-segments', '/livez'];
    // Each in an export of its own, since the SDK would count the series of each export alone.
    for (const [before, path] of paths.entries()) {
      expect(await ask(relay, path)).toBe(200);
      await until('the request', () => requests() === before + 1);
    }
    for (const name of ['launchdarkly.relay.requests', 'http.server.active_requests', 'http.server.request.duration'])
      await eventually(() =>
        expect(points(name).map(({ attributes }) => attributes['http.route'] ?? attributes)).toEqual([
          paths[0],
          { 'otel.metric.overflow': true },
        ]),
      );
  });
});

/** OpenTelemetry's default delay of a batch is 5 s, and a closing relay sends what is left. */
async function spansOf(relay: TestRelay, receiver: OtlpReceiver) {
  await relay.close();
  return receiver.spans;
}

describe('traces', () => {
  test("a request continues its caller's trace, and shows no key, no context and no body", async () => {
    const { relay, receiver } = await start({ OTEL_TRACES_SAMPLER: 'parentbased_always_off' });
    // The example of W3C's Trace Context.
    const trace = {
      traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
      tracestate: 'congo=t61rcWkgMzE,rojo=00f067aa0ba902b7',
    };
    const mobile = { Authorization: mobileKey, 'User-Agent': 'iOS/9.1.0-custom', ...trace };
    expect(await ask(relay, `/msdk/evalx/contexts/${context}?h=hash-1`, { headers: mobile })).toBe(200);
    const body = JSON.stringify({ kind: 'user', key: 'alice-of-wonderland' });
    const report = { ...mobile, 'Content-Type': 'application/json', 'Content-Length': String(body.length) };
    expect(await ask(relay, '/msdk/evalx/context', { method: 'REPORT', headers: report, body })).toBe(200);
    const unknown = { ...trace, Authorization: 'sdk-11111111-1111-2222-3333-444455556666' };
    expect(await ask(relay, '/sdk/latest-all', { headers: unknown })).toBe(401);
    expect(await ask(relay, '/sdk/latest-all')).toBe(200);
    const spans = await spansOf(relay, receiver);
    const roots = spans.filter(({ kind }) => kind === 2);
    // Not the one without a trace.
    expect(roots.map(({ name, status }) => [name, status.code ?? 0])).toEqual([
      ['GET /msdk/evalx/contexts/{context}', 0],
      ['REPORT /msdk/evalx/context', 0],
      ['GET /sdk/latest-all', 0],
    ]);
    const [evaluated, , refused] = roots;
    expect(evaluated).toMatchObject({
      traceId: '4bf92f3577b34da6a3ce929d0e0e4736',
      parentSpanId: '00f067aa0ba902b7',
      traceState: trace.tracestate,
      attributes: {
        'http.route': '/msdk/evalx/contexts/{context}',
        'url.path': '/msdk/evalx/contexts/REDACTED',
        'url.scheme': 'http',
        'http.request.method': 'GET',
        'http.response.status_code': 200,
        'network.protocol.version': '1.1',
        'server.address': '127.0.0.1',
        'client.address': '127.0.0.1',
        'user_agent.original': 'iOS/9.1.0-custom',
        'launchdarkly.environment.name': 'production',
        'launchdarkly.sdk.kind': 'mobile',
      },
    });
    const children = (parent: { readonly spanId: string } | undefined) =>
      spans.filter(({ parentSpanId }) => parentSpanId === parent?.spanId).map(({ name }) => name);
    expect(children(evaluated).sort()).toEqual([
      'relay.auth',
      'relay.flags.evaluate',
      'relay.payload.serialize',
      'relay.response.write',
    ]);
    expect(
      spans.find(({ name, parentSpanId }) => name === 'relay.auth' && parentSpanId === refused?.spanId),
    ).toMatchObject({
      attributes: { 'launchdarkly.relay.auth.result': 'invalid_credential' },
      status: { code: 2 },
    });
    const all = Buffer.concat(receiver.requests.map((one) => one.body)).toString('latin1');
    for (const secret of ['444455556666', 'alice', context, 'hash-1']) expect(all).not.toContain(secret);
  });

  test.each([
    ['traceidratio', '0', 0],
    ['parentbased_traceidratio', '0', 0],
    ['traceidratio', '1', 20],
    ['parentbased_traceidratio', '1', 20],
    ['always_off', undefined, 0],
    ['always_on', undefined, 20],
  ])('%s with %s samples %d of 20 requests', async (sampler, ratio, sampled) => {
    const { relay, receiver } = await start({
      OTEL_METRICS_EXPORTER: 'none',
      OTEL_TRACES_SAMPLER: sampler,
      ...(ratio && { OTEL_TRACES_SAMPLER_ARG: ratio }),
    });
    for (let asked = 0; asked < 20; asked++) expect(await ask(relay, '/sdk/latest-all')).toBe(200);
    const spans = await spansOf(relay, receiver);
    expect(spans.filter(({ kind }) => kind === 2)).toHaveLength(sampled);
    expect(receiver.requests.filter(({ path }) => path !== '/v1/traces')).toEqual([]);
  });

  test('the span of a stream lasts as long as the stream, and heartbeats have none @heavy', async () => {
    const { relay, receiver } = await start({ OTEL_TRACES_SAMPLER: 'always_on', HEARTBEAT_INTERVAL: '10ms' });
    const stream = opened(await readStream({ port: relay.port, path: '/all', headers: authorized }));
    await stream.next();
    await stream.until((reader) => reader.body().split('\n:').length > 5);
    const closedAt = Date.now();
    stream.close();
    await until('the end of the stream', async () => (await relay.metrics.text()).body.includes('reason="client"'));
    const spans = await spansOf(relay, receiver);
    const [span, ...others] = spans.filter(({ name }) => name === 'GET /all');
    expect(others).toEqual([]);
    // Both clocks tell whole milliseconds.
    expect(span!.end / 1e6).toBeGreaterThan(closedAt - 2);
    expect(spans.filter(({ parentSpanId }) => parentSpanId === span!.spanId).map(({ name }) => name)).toEqual([
      'relay.auth',
    ]);
  });

  test('events that SDKs post have a span with their kind and size', async () => {
    const { relay, receiver } = await start({ OTEL_TRACES_SAMPLER: 'always_on', USE_EVENTS: 'true' });
    const body = JSON.stringify([{ kind: 'identify', creationDate: 1, context: { kind: 'user', key: 'alice' } }]);
    const headers = { ...authorized, 'Content-Type': 'application/json', 'Content-Length': String(body.length) };
    expect(await ask(relay, '/bulk', { method: 'POST', headers, body })).toBe(202);
    const spans = await spansOf(relay, receiver);
    const root = spans.find(({ name }) => name === 'POST /bulk')!;
    expect(root.attributes).toMatchObject({ 'launchdarkly.relay.payload.size': body.length });
    expect(spans.find(({ name }) => name === 'relay.events.dispatch')).toMatchObject({
      parentSpanId: root.spanId,
      attributes: { 'launchdarkly.relay.events.kind': 'analytics' },
    });
    expect(lastOf(receiver, 'launchdarkly.relay.events.received.size')).toMatchObject({
      unit: 'By',
      points: [{ value: body.length }],
    });
  });

  test('a change is one trace: received, written to each kind of stream, with versions and no values @heavy', async () => {
    const { relay, receiver, upstream } = await start({
      OTEL_TRACES_SAMPLER: 'parentbased_traceidratio',
      OTEL_TRACES_SAMPLER_ARG: '0.000001',
    });
    const server = opened(await readStream({ port: relay.port, path: '/all', headers: authorized }));
    const mobile = opened(
      await readStream({ port: relay.port, path: `/meval/${context}`, headers: { Authorization: mobileKey } }),
    );
    await Promise.all([server.next(), mobile.next()]);
    await upstream.patch('flags', { ...flag('first', 2), variations: ['secret-value', 'b'] } as { key: string });
    await Promise.all([server.next(), mobile.next()]);
    await until('both are counted', async () =>
      /^launchdarkly_relay_broadcast_seconds_count 2$/m.test((await relay.metrics.text()).body),
    );
    const spans = await spansOf(relay, receiver);
    const root = spans.find(
      ({ name, attributes }) => name === 'relay.change' && attributes['launchdarkly.relay.change.kind'] === 'patch',
    )!;
    expect(root.attributes).toMatchObject({
      'launchdarkly.environment.name': 'production',
      'launchdarkly.relay.item.count': 1,
      'launchdarkly.relay.change.items': ['features/first@2'],
    });
    const written = spans.filter(({ parentSpanId }) => parentSpanId === root.spanId);
    expect(written.map(({ name, attributes }) => [name, attributes['launchdarkly.relay.stream.kind']]).sort()).toEqual([
      ['relay.streams.write', 'all'],
      ['relay.streams.write', 'eval'],
    ]);
    for (const { start, end, traceId } of written) {
      expect(traceId).toBe(root.traceId);
      expect(start).toBe(root.start);
      expect(end).toBeGreaterThanOrEqual(root.end);
    }
    expect(Buffer.concat(receiver.requests.map((one) => one.body)).toString('latin1')).not.toContain('secret-value');
  });

  test('a change is written to a store under its own trace, with the changes that were written together @heavy', async () => {
    const table = opened(await startTable());
    const { relay, receiver, upstream } = await start({
      OTEL_TRACES_SAMPLER: 'parentbased_traceidratio',
      OTEL_TRACES_SAMPLER_ARG: '0.000001',
      LD_PREFIX_production: 'production',
      USE_DYNAMODB: 'true',
      DYNAMODB_TABLE: table.tableName,
      DYNAMODB_URL: table.endpoint,
    });
    expect(await relay.stored(60_000)).toEqual([]);
    await upstream.patch('flags', flag('first', 2));
    await until('the change', async () =>
      (await (await fetch(`${relay.uri}/sdk/flags/first`, { headers: authorized })).text()).includes('"version":2'),
    );
    expect(await relay.stored(60_000)).toEqual([]);
    const spans = await spansOf(relay, receiver);
    const changes = spans.filter(({ name }) => name === 'relay.change');
    expect(changes.map(({ attributes }) => attributes['launchdarkly.relay.change.items'])).toEqual([
      ['features/first@1'],
      ['features/first@2'],
    ]);
    const patch = changes.at(-1)!;
    const [written, ...others] = spans.filter(({ parentSpanId }) => parentSpanId === patch.spanId);
    expect(others).toEqual([]);
    expect(written).toMatchObject({
      name: 'relay.store.write',
      traceId: patch.traceId,
      start: patch.start,
      attributes: { 'db.system.name': 'dynamodb', 'launchdarkly.relay.item.count': 1 },
    });
  });
});
