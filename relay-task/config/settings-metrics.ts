/** What the relay reports about itself, beyond `/status` and `/metrics`. */
import { boolean, durationFrom, integer, type Reader, text } from '../common/setting-values.ts';
import { inSection } from './setting.ts';

const prometheus = inSection('Prometheus');
const metrics = inSection('Metrics');

/** As ld-relay does it: what the name of a metric may not hold becomes an underscore. */
const metricPrefix: Reader<string> = (value) => ({
  value: value.replace(/[^a-zA-Z0-9_]/g, '_').replace(/^(?=\d)/, 'key_'),
});

export const metricsSettings = {
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
