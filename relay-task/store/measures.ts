import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

/** The metrics of one store of one environment. Each is in the registry once; stores differ by their labels. */
interface Measures {
  /** `more`: labels beside those of the store. */
  counter(name: string, help: string, more?: readonly string[]): Counter;
  /** Buckets are upper bounds in seconds. */
  histogram(name: string, help: string, buckets: readonly number[]): Histogram;
  /** Read whenever metrics are. Answers how to take the series away. */
  gauge(name: string, help: string, read: () => number): () => void;
}

type Labels = Readonly<Record<string, string>>;

/** For each gauge and set of labels: what to read when it is scraped. */
const sources = new WeakMap<Gauge, Map<string, { labels: Labels; read: () => number }>>();

export function createMeasures(registry: Registry, labels: Labels): Measures {
  const registers = [registry];
  const labelNames = Object.keys(labels);
  const found = <T>(name: string) => registry.getSingleMetric(name) as T | undefined;
  const id = Object.values(labels).join(' ');
  return {
    counter: (name, help, more = []) =>
      found<Counter>(name) ?? new Counter({ name, help, labelNames: [...labelNames, ...more], registers }),
    histogram: (name, help, buckets) =>
      found<Histogram>(name) ?? new Histogram({ name, help, labelNames, buckets: [...buckets], registers }),
    gauge(name, help, read) {
      const gauge = found<Gauge>(name) ?? createGauge(name, help);
      const series = sources.get(gauge);
      const source = { labels, read };
      series?.set(id, source);
      return () => {
        if (series?.get(id) === source) series.delete(id);
      };
    },
  };

  function createGauge(name: string, help: string): Gauge {
    const gauge = new Gauge({
      name,
      help,
      labelNames,
      registers,
      collect() {
        this.reset();
        for (const source of sources.get(this as Gauge)?.values() ?? []) this.set(source.labels, source.read());
      },
    });
    sources.set(gauge, new Map());
    return gauge;
  }
}
