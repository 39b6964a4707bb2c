/** Writes the tables of docs/metrics.md. */
import { readFileSync, writeFileSync } from 'node:fs';
import { metricsPage, metricsTables, placeOf } from './metrics-page.ts';

let page = readFileSync(metricsPage, 'utf8');
for (const [name, table] of Object.entries(await metricsTables())) {
  page = page.replace(placeOf(name), (_, comment: string) => `${comment}${table}\n`);
}
writeFileSync(metricsPage, page);
