/**
 * Node's metrics of the event loop's delay, for any number of readers. prom-client's are reset by each reading, so a scrape would
 * hide the longest delay from the metrics for CloudWatch, and the second of two readings in a row would have no samples.
 */
import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks';
import type { Gauge, Registry } from 'prom-client';

/** At least as long as CloudWatch's interval, so that each delay is in one of its readings. */
const WINDOW_MS = 60_000;

/** prom-client's names. */
const VALUES: Readonly<Record<string, (delays: IntervalHistogram) => number>> = {
  nodejs_eventloop_lag_min_seconds: ({ min }) => min,
  nodejs_eventloop_lag_max_seconds: ({ max }) => max,
  nodejs_eventloop_lag_mean_seconds: ({ mean }) => mean,
  nodejs_eventloop_lag_stddev_seconds: ({ stddev }) => stddev,
  nodejs_eventloop_lag_p50_seconds: (delays) => delays.percentile(50),
  nodejs_eventloop_lag_p90_seconds: (delays) => delays.percentile(90),
  nodejs_eventloop_lag_p99_seconds: (delays) => delays.percentile(99),
};

/**
 * Puts delays of the last window or two into prom-client's gauges whenever they are read; 0 before there are any. The function that is
 * returned ends it.
 */
export function shareEventLoopDelays(registry: Registry, windowMs = WINDOW_MS): () => void {
  let [older, newer] = [begin(), begin()];
  for (const [name, read] of Object.entries(VALUES)) {
    const gauge = registry.getSingleMetric(name) as (Gauge & { collect?: () => void }) | undefined;
    if (gauge) gauge.collect = () => gauge.set(older.count > 0 ? read(older) / 1e9 : 0);
  }
  // prom-client fills the others, and resets its own histogram, when it is asked for this one.
  const lag = registry.getSingleMetric('nodejs_eventloop_lag_seconds') as
    | (Gauge & { collect?: () => void })
    | undefined;
  if (lag) {
    lag.collect = () => {
      const since = performance.now();
      setImmediate(() => lag.set((performance.now() - since) / 1_000));
    };
  }
  const timer = setInterval(() => {
    older.disable();
    [older, newer] = [newer, begin()];
  }, windowMs);
  timer.unref();
  return () => {
    clearInterval(timer);
    older.disable();
    newer.disable();
  };
}

function begin(): IntervalHistogram {
  const delays = monitorEventLoopDelay();
  delays.enable();
  return delays;
}
