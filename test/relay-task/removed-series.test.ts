/** The metrics of an environment end a while after it has gone, wherever they are sent; those of the others go on. */
import { createMeasures } from '../../relay-task/common/measures.ts';
import { createForgottenSeries } from '../../relay-task/wiring/forgotten-series.ts';
import { eventually, until } from '../support/eventually.ts';
import { environmentRep, startFakeAutoConfig } from '../support/fake-auto-config.ts';
import { closeAfterEach } from '../support/opened.ts';
import { startOtlpReceiver } from '../support/otlp-receiver.ts';
import { readStream } from '../support/read-stream.ts';
import { autoConfigKey, hastyTimings } from '../support/rotating-sources.ts';
import { startTestRelay } from '../support/start-relay.ts';

const { opened, behind } = closeAfterEach();
const ids = { goes: 'aaaaaaaaaaaaaaaaaaaaaaaa', stays: 'bbbbbbbbbbbbbbbbbbbbbbbb' };

test('of an environment that LaunchDarkly has removed no series is left, and of the other one all are', async () => {
  const receiver = opened(await startOtlpReceiver());
  const launchDarkly = opened(
    await startFakeAutoConfig(
      environmentRep(ids.goes, 1, { envName: 'Goes/Away' }),
      environmentRep(ids.stays, 1, { envName: 'Stays' }),
    ),
  );
  const { dataFor } = launchDarkly.upstream;
  launchDarkly.upstream.dataFor = (request) => dataFor(request) ?? { flags: {}, segments: {} };
  const relay = opened(
    await startTestRelay(
      {
        AUTO_CONFIG_KEY: autoConfigKey,
        STREAM_URI: launchDarkly.upstream.uri,
        USE_OTLP: 'true',
        OTEL_EXPORTER_OTLP_ENDPOINT: receiver.uri,
        OTEL_METRIC_EXPORT_INTERVAL: '50',
        OTEL_TRACES_EXPORTER: 'none',
      },
      { timings: { ...hastyTimings, seriesMs: 100 }, secrets: Object.values(ids).map((id) => `sdk-${id}`) },
    ),
  );
  expect(await relay.initialized()).toEqual([]);
  for (const id of Object.values(ids)) {
    const headers = { Authorization: `sdk-${id}` };
    const stream = opened(await readStream({ port: relay.port, path: '/all', headers }));
    await stream.next();
    expect((await fetch(`${relay.uri}/sdk/latest-all`, { headers })).status).toBe(200);
    stream.close();
  }
  const seriesOf = async (pattern: RegExp) =>
    (await relay.metrics.text()).body.split('\n').filter((line) => pattern.test(line));
  const goes = /env="Shop Goes[/_]Away"/;
  // ld-relay's own metrics write the name in their way.
  expect((await seriesOf(goes)).filter((line) => line.includes('Goes_Away')).length).toBeGreaterThan(2);
  expect((await seriesOf(goes)).length).toBeGreaterThan(10);
  const staying = (lines: readonly string[]) => lines.map((line) => line.split('}')[0]);
  // Here the series end so soon that a stream could end later.
  await eventually(async () => expect(await seriesOf(/^launchdarkly_relay_streams_open\{.*\} [^0]/)).toEqual([]));
  const before = staying(await seriesOf(/env="Shop Stays"/));
  await launchDarkly.delete('environments', ids.goes, 2);
  await eventually(async () => expect(await seriesOf(goes)).toEqual([]));
  expect(staying(await seriesOf(/env="Shop Stays"/))).toEqual(expect.arrayContaining(before));
  await eventually(() => {
    const last = receiver.metrics.slice(
      receiver.metrics.findLastIndex(({ name }) => name === 'process_cpu_user_seconds_total'),
    );
    const own = last.filter(({ name }) => name.startsWith('launchdarkly_relay_'));
    const environments = own.flatMap(({ points }) => points.map(({ attributes }) => String(attributes.env)));
    expect(new Set(environments)).toEqual(new Set(['Shop Stays', 'undefined']));
  });
});

test('an environment that is there again keeps its series, and so does one whose label is the same', async () => {
  const measures = createMeasures({ prefix: 'x' });
  const streams = measures.counter('streams_opened_total');
  const opened = measures.counter('newconnections');
  for (const env of ['back', 'a/b', 'a_b', 'gone']) streams.inc({ env });
  for (const env of ['back', 'a_b', 'gone']) opened.inc({ env, platformCategory: 'server', userAgent: 'other' });
  measures.histogram('heartbeat_seconds').observe({ env: 'gone', stage: 'relay', region: '' }, 1);
  let forgotten = 0;
  const series = createForgottenSeries({
    measures: {
      async forget(label, values) {
        await measures.forget(label, values);
        forgotten += 1;
      },
    },
    names: () => ['back', 'a_b'],
    afterMs: 1,
  });
  behind(() => series.close());
  for (const name of ['back', 'a/b', 'gone']) series.removed(name);
  await until('both are forgotten', () => forgotten === 2);
  const environments = [...(await measures.registry.metrics()).matchAll(/^(\w+)\{.*env="([^"]+)"/gm)].map(
    ([, name, env]) => `${name} ${env}`,
  );
  expect(environments.sort()).toEqual([
    'x_newconnections a_b',
    'x_newconnections back',
    'x_streams_opened_total a_b',
    'x_streams_opened_total back',
  ]);
});
