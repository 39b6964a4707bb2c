import { mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { inClone } from '../../lib/command-text.ts';
import { settableThresholds, type ThresholdName } from '../../lib/infrastructure/observability/thresholds.ts';
import { type SharedAlarmId, sharedAlarms } from '../../lib/monitoring/index.ts';
import { metricsSettings } from '../../relay-task/config/settings-metrics.ts';
import { describeUnknown } from '../cli/usage.ts';
import { grafanaDashboard } from './grafana.ts';
import { defaultOptions, type MonitoringOptions } from './options.ts';
import { alertIds, rulesYaml } from './rules.ts';

/** As they come from the command line. */
export interface MonitoringArguments {
  readonly prefix?: string | undefined;
  readonly matchers?: string | undefined;
  readonly relays?: string | undefined;
  readonly availability?: string | undefined;
  readonly threshold?: readonly string[] | undefined;
  readonly without?: readonly string[] | undefined;
  readonly runbooks?: string | undefined;
}

/** Where alerts on the relay's own metrics can have another threshold: `<id>=<number>`, in this unit. */
export const thresholdIds = Object.keys(settableThresholds).filter((id): id is SharedAlarmId & ThresholdName =>
  Object.hasOwn(sharedAlarms, id),
);

/** The files by name. */
export function monitoringFiles(options: MonitoringOptions): Record<string, string> {
  return {
    'prometheus-rules.yaml': rulesYaml(options),
    'grafana-dashboard.json': `${JSON.stringify(grafanaDashboard(options), null, 2)}\n`,
  };
}

/** A clone has a directory for what is made and not kept. */
export const MONITORING_DIRECTORY = inClone ? '.cache/monitoring' : '.';

/** Writes the files, and returns their paths. Throws an Error for arguments that mean nothing. */
export function writeMonitoring(directory: string, given: MonitoringArguments): string[] {
  const files = Object.entries(monitoringFiles(readOptions(given)));
  mkdirSync(directory, { recursive: true });
  return files.map(([name, text]) => {
    const path = resolve(join(directory, name));
    writeFileSync(path, text);
    return path;
  });
}

export function readOptions(given: MonitoringArguments): MonitoringOptions {
  const { prefix, matchers, relays, availability, threshold = [], without = [], runbooks } = given;
  for (const id of without) if (!alertIds.includes(id)) throw new Error(describeUnknown('alert', id, alertIds));
  if (runbooks !== undefined && !URL.canParse(runbooks))
    throw new Error(`--runbooks ${runbooks} is invalid: expected an address, such as https://wiki.example.com/relay`);
  return {
    ...defaultOptions,
    ...(prefix !== undefined && { prefix: prefixFrom(prefix) }),
    ...(matchers !== undefined && { matchers: matchersFrom(matchers) }),
    ...(relays !== undefined && { relays: numberIn('--relays', relays, { from: 1, to: 1_000, whole: true }) }),
    ...(availability !== undefined && {
      availabilityPercent: numberIn('--availability', availability, { from: 90, to: 99.999 }),
    }),
    thresholds: Object.fromEntries(threshold.map(thresholdFrom)),
    without,
    ...(runbooks !== undefined && { runbooks }),
  };
}

/** As relays read PROMETHEUS_PREFIX. */
function prefixFrom(text: string): string {
  const read = metricsSettings.prometheus.prefix.read(text);
  if ('value' in read && read.value !== '') return read.value;
  throw new Error(`--prefix ${text} is invalid: expected the relays’ PROMETHEUS_PREFIX`);
}

const MATCHERS = /^[a-zA-Z_]\w*(=~|!~|!=|=)"(\\.|[^"\\])*"(, *[a-zA-Z_]\w*(=~|!~|!=|=)"(\\.|[^"\\])*")*$/;

function matchersFrom(text: string): string {
  if (text === '' || MATCHERS.test(text)) return text;
  throw new Error(`--matchers ${text} is invalid: expected matchers as in a query, such as job="relay", stage="prod"`);
}

function thresholdFrom(text: string): [SharedAlarmId, number] {
  const [id = '', value = ''] = text.split(/=(.*)/s);
  const known = thresholdIds.find((one) => one === id);
  if (known === undefined) throw new Error(describeUnknown('threshold', id, thresholdIds));
  return [known, numberIn(`--threshold ${id}`, value, settableThresholds[known])];
}

function numberIn(
  name: string,
  text: string,
  { from, to, whole = false, unit }: { from: number; to: number; whole?: boolean; unit?: string },
): number {
  const value = text.trim() === '' ? Number.NaN : Number(text);
  if (value >= from && value <= to && (!whole || Number.isInteger(value))) return value;
  const range = `${whole ? 'a whole number ' : ''}from ${from} to ${to}${unit ? ` (${unit})` : ''}`;
  throw new Error(`${name}=${text} is invalid: expected ${range}`);
}
