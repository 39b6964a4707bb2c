/** What CloudWatch, Prometheus and Grafana watch and show of the relay's own metrics. */
export * from './alarms.ts';
export * from './burn-rates.ts';
export * from './panels.ts';
export * from './promises.ts';
export * from './relay-metrics.ts';
