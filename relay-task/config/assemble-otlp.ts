/**
 * What is sent over OTLP, and how. Rules: OpenTelemetry, "Environment Variable Specification" and "OpenTelemetry Protocol Exporter". A value
 * that is no use is a warning, and the default counts.
 */
import type { Findings } from '../common/findings.ts';
import { boolean, httpUrl } from '../common/setting-values.ts';
import { lastOf, type Pieces, placesOf } from './gather.ts';
import { assignmentAt, masked } from './places.ts';
import type { Setting, Values } from './setting.ts';
import { settings } from './settings.ts';

type OtlpValues = Values<typeof settings>['otlp'];
type Rows = typeof settings.otlp;
type Signal = 'metrics' | 'traces';

const rows = settings.otlp;
const DEFAULT_ENDPOINT = 'http://localhost:4318';
const DEFAULT_TIMEOUT_MS = 10_000;
/** What timers of Node.js can wait for. */
const MAX_MS = 2 ** 31 - 1;
const GRPC_PORT = '4317';

/** Undefined: nothing is sent. */
export function assembleOtlp(values: OtlpValues, pieces: Pieces, findings: Findings) {
  if (!values.enabled) return undefined;
  const read = createReaders(values, pieces, findings);
  if (read.isTrue(values.disabled, rows.disabled)) {
    findings.warning(`${read.where(rows.disabled)}: nothing is sent over OTLP, although it is switched on`);
    return undefined;
  }
  const sends = {
    metrics: read.isSent(values.metricsExporter, rows.metricsExporter),
    traces: read.isSent(values.tracesExporter, rows.tracesExporter),
  };
  if (values.logsExporter !== 'none') {
    findings.warning(
      `${read.where(rows.logsExporter)}: logs are not sent over OTLP; they are lines on standard output, for the collector of logs that is there`,
    );
  }
  if (!sends.metrics && !sends.traces) return undefined;
  return {
    serviceName: values.serviceName,
    resourceAttributes: values.resourceAttributes,
    metrics: sends.metrics ? { exporter: read.exporterOf('metrics'), ...read.metricsOf() } : undefined,
    traces: sends.traces ? { exporter: read.exporterOf('traces'), sampler: read.samplerOf() } : undefined,
  };
}

function createReaders(values: OtlpValues, pieces: Pieces, findings: Findings) {
  const where = (...found: readonly Setting<unknown>[]) => placesOf(pieces, ...found).join(', ');
  const told = new Set<string>();
  /** Once, although both signals read what is set for both. The value in force, with its place. */
  const warn = (row: Setting<unknown>, text: string) => {
    const piece = lastOf(pieces, row);
    const line = `${piece ? assignmentAt(piece.place, masked(piece.text, row.secret)) : where(row)}: ${text}`;
    if (!told.has(line)) findings.warning(line);
    told.add(line);
  };
  const complain = (row: Setting<unknown>, wanted: string, instead: string) =>
    warn(row, `expected ${wanted}; ${instead}`);

  const milliseconds = (text: string | undefined, row: Setting<unknown>, usual: number): number => {
    if (text === undefined) return usual;
    const number = /^\d{1,12}$/.test(text) ? Number(text) : 0;
    if (number >= 1 && number <= MAX_MS) return number;
    complain(row, 'a number of milliseconds', `${usual} is used`);
    return usual;
  };
  const oneOf = <const T extends string>(text: string, row: Setting<unknown>, words: readonly T[], usual: T): T => {
    const found = words.find((word) => word === text.toLowerCase());
    if (found === undefined) complain(row, `one of ${words.join(', ')}`, `${usual} is used`);
    return found ?? usual;
  };
  /** The setting of the signal, if it is given, or else the one of both. */
  const chosen = <Name extends keyof Rows['exporter']>(signal: Signal, name: Name) =>
    values[signal][name] === undefined
      ? { text: values.exporter[name], row: rows.exporter[name] }
      : { text: values[signal][name], row: rows[signal][name] };

  const urlOf = (signal: Signal): string => {
    const { text, row } = chosen(signal, 'endpoint');
    const result = text === undefined ? { value: DEFAULT_ENDPOINT } : httpUrl(text);
    if (!('value' in result)) complain(row, result.wanted, `${DEFAULT_ENDPOINT} is used`);
    const url = 'value' in result ? result.value : DEFAULT_ENDPOINT;
    if (new URL(url).port === GRPC_PORT) {
      warn(row, `collectors take gRPC on port ${GRPC_PORT}, and the relay sends HTTP, which they take on port 4318`);
    }
    // What is for one signal is used as it is, even with a slash at its end.
    return row === rows[signal].endpoint && 'value' in result ? (text ?? url) : `${url}/v1/${signal}`;
  };

  return {
    where,
    /** Only `true`, in any case, as the specification says. */
    isTrue(text: string, row: Setting<unknown>): boolean {
      if (/^true$/i.test(text)) return true;
      if (!('value' in boolean(text))) complain(row, 'true or false', 'false is used');
      return false;
    },
    isSent(text: string, row: Setting<unknown>): boolean {
      const words = text
        .toLowerCase()
        .split(',')
        .map((word) => word.trim());
      if (words.includes('none')) return false;
      if (words.some((word) => word !== 'otlp')) complain(row, 'otlp or none', 'otlp is used');
      return true;
    },
    exporterOf(signal: Signal) {
      const protocol = chosen(signal, 'protocol');
      if (protocol.text !== undefined && !/^http(\/protobuf)?$/i.test(protocol.text)) {
        const isGrpc = protocol.text.toLowerCase() === 'grpc';
        const why = isGrpc ? 'OTLP over gRPC is not supported' : 'expected http/protobuf';
        warn(protocol.row, `${why}; http/protobuf is used, which collectors take on port 4318 by default`);
      }
      const timeout = chosen(signal, 'timeout');
      const compression = chosen(signal, 'compression');
      return {
        url: urlOf(signal),
        headers: chosen(signal, 'headers').text,
        timeoutMs: milliseconds(timeout.text, timeout.row, DEFAULT_TIMEOUT_MS),
        compression: oneOf(compression.text ?? 'none', compression.row, ['none', 'gzip'], 'none'),
        caFile: chosen(signal, 'caFile').text,
        certFile: chosen(signal, 'certFile').text,
        keyFile: chosen(signal, 'keyFile').text,
      };
    },
    metricsOf() {
      const { interval, intervalTimeout, temporality, cardinalityLimit, environmentStatus } = values.metrics;
      const intervalMs = milliseconds(interval, rows.metrics.interval, 60_000);
      const timeoutMs = milliseconds(intervalTimeout, rows.metrics.intervalTimeout, 30_000);
      const preferences = ['cumulative', 'delta', 'lowmemory'] as const;
      return {
        intervalMs,
        timeoutMs: Math.min(timeoutMs, intervalMs),
        temporality: oneOf(temporality, rows.metrics.temporality, preferences, 'cumulative'),
        cardinalityLimit,
        environmentStatus,
      };
    },
    samplerOf() {
      const { sampler, samplerArg } = values.traces;
      const kinds = ['always_on', 'always_off', 'traceidratio'] as const;
      const words = [...kinds, ...kinds.map((kind) => `parentbased_${kind}` as const)];
      const word = oneOf(sampler, rows.traces.sampler, words, 'parentbased_always_on');
      const isParentBased = word.startsWith('parentbased_');
      const kind = word.replace('parentbased_', '') as (typeof kinds)[number];
      if (kind !== 'traceidratio') return { isParentBased, ratio: kind === 'always_on' ? 1 : 0 };
      const ratio = samplerArg === undefined ? 1 : Number(samplerArg);
      if (ratio >= 0 && ratio <= 1) return { isParentBased, ratio };
      complain(rows.traces.samplerArg, 'a number from 0 to 1', '1 is used');
      return { isParentBased, ratio: 1 };
    },
  };
}
