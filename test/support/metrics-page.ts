/**
 * The tables of docs/metrics.md, made from the tables of the sources. `npx tsx test/support/write-metrics-page.ts` writes them into
 * the page, where comments mark their places.
 */
import { join } from 'node:path';
import { type Counter, collectDefaultMetrics, type Gauge, type Histogram, Registry } from 'prom-client';
import { metricUnits } from '../../lambda/canary/metrics.ts';
import { reportUnits } from '../../lambda/edge-reader/report.ts';
import { BURN_RATE_RUNBOOK, sharedAlarms, sharedPanels } from '../../lib/monitoring/index.ts';
import { measureRows } from '../../relay-task/common/measures.ts';
import { published } from '../../relay-task/status/published.ts';

export const metricsPage = join(import.meta.dirname, '../../docs/metrics.md');

interface NodeMetric {
  readonly name: string;
  readonly type: string;
  readonly help: string;
  readonly labels: readonly string[];
}

/** What prom-client says of the process on this system; others have fewer. */
export async function nodeMetrics(): Promise<NodeMetric[]> {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const all = await registry.getMetricsAsJSON();
  return all.map(({ name, type, help }) => {
    const { labelNames } = registry.getSingleMetric(name) as (Counter | Gauge | Histogram) & {
      readonly labelNames: readonly string[];
    };
    return { name, type: String(type), help, labels: labelNames };
  });
}

const code = (text: string) => `\`${text}\``;
const listed = (names: readonly string[]) => names.map(code).join(', ') || '–';

/** Its name in CloudWatch, and what shows and watches it there and on Grafana. */
function inCloudWatch(from: string): [name: string, watched: string] {
  const rows = published.filter((row) => row.from === from);
  const names = rows.map(({ name, where }) => {
    const only = Object.entries(where ?? {}).map(([label, value]) => ` (${code(`${label}="${value}"`)})`);
    return `${code(name)}${only.join('')}`;
  });
  const watched = rows.flatMap(({ name }) => [...(isShown(name) ? ['dashboard'] : []), ...alarmsOn(name)]);
  return [names.join(', ') || '–', watched.join(', ') || '–'];
}

function isShown(name: string): boolean {
  return Object.values(sharedPanels).some(({ lines }) =>
    lines.some((line) =>
      'bad' in line ? [line.bad, line.all, line.good].some((one) => one?.[1] === name) : line.metric === name,
    ),
  );
}

function alarmsOn(name: string): string[] {
  const ids = Object.entries(sharedAlarms).flatMap(([id, { metric }]) => (metric === name ? [id] : []));
  // Those of the error budget are computed from it.
  const all = name === 'Answers5xx' ? [...ids, BURN_RATE_RUNBOOK] : ids;
  return all.map((id) => `[${id}](operations.md#${id})`);
}

function tableOf(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(head), `|${'---|'.repeat(head.length)}`, ...rows.map(line)].join('\n');
}

const edgeMeanings: Readonly<Record<keyof typeof reportUnits, string>> = {
  Decisions: 'flags evaluated',
  Fallbacks: "evaluations that gave the caller's fallback, or an answer of the bootstrap",
  DataAge: 'age of the oldest data that a decision was made with',
  DecisionTime: 'the longest that a decision took',
};

const canaryMeanings: Readonly<Record<keyof typeof metricUnits, string>> = {
  Success: '1 if stream and table could be read, else 0',
  StreamLatency: 'until a stream had all flags',
  TableLatency: 'until the table was read',
  DifferingFlags: 'flags of which stream and table have different versions',
  EdgeSuccess: '1 if the distribution gave a decision, else 0',
  EdgeLatency: 'until the distribution answered',
};

/** By the name that stands in the page's comments. */
export async function metricsTables(): Promise<Record<string, string>> {
  const head = ['name', 'kind', 'labels', 'unit', 'what it says', 'in CloudWatch', 'shown and watched'];
  const relay = Object.entries(measureRows).map(([name, { kind, labels, unit, help }]) => [
    ...[code(name), kind, listed(labels), unit, help, ...inCloudWatch(name)],
  ]);
  const node = (await nodeMetrics()).map(({ name, type, help, labels }) => [
    ...[code(name), type, listed(labels), help, ...inCloudWatch(name)],
  ]);
  const units = <Name extends string>(
    namespace: string,
    all: Readonly<Record<Name, string>>,
    meanings: Readonly<Record<Name, string>>,
  ) => (Object.keys(all) as Name[]).map((name) => [code(namespace), code(name), all[name], meanings[name]]);
  return {
    relay: tableOf(head, relay),
    node: tableOf(
      head.filter((cell) => cell !== 'unit'),
      node,
    ),
    functions: tableOf(
      ['namespace', 'name', 'unit', 'what it says'],
      [
        ...units('EdgeFlagRelayEdge/<stage>', reportUnits, edgeMeanings),
        ...units('EdgeFlagRelayCanary/<stage>', metricUnits, canaryMeanings),
      ],
    ),
  };
}

/** Where a table stands in the page: behind its comment, up to the next empty line. */
export const placeOf = (name: string) => new RegExp(`(<!-- table: ${name} -->\n)((?:\\|.*\n)*)`);
