/** What the relay reports about itself, beyond `/status` and `/metrics`. */
import { boolean, durationFrom, hostAndPort, integer, list, type Reader, text } from '../common/setting-values.ts';
import type { StatsAddress } from '../ports.ts';
import { inSection } from './setting.ts';

const main = inSection('Main');
const prometheus = inSection('Prometheus');
const datadog = inSection('Datadog');
const metrics = inSection('Metrics');

/** As ld-relay takes it; the port may be left out. */
const statsAddress: Reader<StatsAddress> = (value) => {
  const [, path] = /^unix:\/\/(\/.*)$/.exec(value) ?? [];
  if (path !== undefined) return { value: { path } };
  const result = hostAndPort(8125)(value);
  return 'value' in result ? result : { wanted: 'host, host:port or unix:///path' };
};

/** As ld-relay does it: what the name of a metric may not hold becomes an underscore. */
const metricPrefix: Reader<string> = (value) => ({
  value: value.replace(/[^a-zA-Z0-9_]/g, '_').replace(/^(?=\d)/, 'key_'),
});

export const metricsSettings = {
  disableInternalUsageMetrics: main.setting(
    'disableInternalUsageMetrics',
    'DISABLE_INTERNAL_USAGE_METRICS',
    boolean,
    'false',
    'tell LaunchDarkly neither which SDKs use the relay nor how it is configured; without `USE_EVENTS`, it is told nothing anyway',
  ),
  prometheus: {
    enabled: prometheus.setting(
      'enabled',
      'USE_PROMETHEUS',
      boolean,
      'false',
      'serve Prometheus metrics on a separate port',
    ),
    port: prometheus.setting(
      'port',
      'PROMETHEUS_PORT',
      integer(0, 65_535),
      '8031',
      'the port for Prometheus metrics; 0 picks a free one',
    ),
    prefix: prometheus.setting(
      'prefix',
      'PROMETHEUS_PREFIX',
      metricPrefix,
      'launchdarkly_relay',
      "the prefix of the names of all metrics but Node's own",
    ),
  },
  datadog: {
    enabled: datadog.setting(
      'enabled',
      'USE_DATADOG',
      boolean,
      'false',
      "send metrics to Datadog's agent by DogStatsD",
    ),
    statsAddr: datadog.setting(
      'statsAddr',
      'DATADOG_STATS_ADDR',
      statsAddress,
      'localhost:8125',
      'where the agent listens: host:port for UDP, or `unix:///path` for a Unix datagram socket',
    ),
    prefix: datadog.setting(
      'prefix',
      'DATADOG_PREFIX',
      text,
      'launchdarkly_relay',
      'what comes before the dot in the names of metrics; without blanks, and with an underscore for what is neither a letter nor a digit',
    ),
    tags: datadog.setting(
      'tag',
      'DATADOG_TAG_',
      list,
      '',
      'tags for every metric: repeated lines `tag = name:value` in the file, a variable for each',
      { many: true },
    ),
  },
  metrics: {
    emf: metrics.setting(
      'emf',
      'METRICS_EMF',
      boolean,
      'false',
      "print metrics to standard output in CloudWatch's embedded format",
    ),
    emfIntervalMs: metrics.setting(
      'emfInterval',
      'METRICS_EMF_INTERVAL',
      durationFrom(1000, '1s'),
      '60s',
      'how often to print those metrics',
    ),
    namespace: metrics.setting(
      'namespace',
      'METRICS_NAMESPACE',
      text,
      'EdgeFlagRelay',
      'the CloudWatch namespace of those metrics',
    ),
  },
} as const;
