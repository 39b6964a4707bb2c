/** The exporters of OpenTelemetry's SDK, as the configuration asks. What becomes of exports is counted, and logged when it changes. */
import { readFileSync } from 'node:fs';
import * as http from 'node:http';
import type * as https from 'node:https';
import { type ExportResult, ExportResultCode, parseKeyPairsIntoRecord } from '@opentelemetry/core';
import { OTLPMetricExporter } from '@opentelemetry/exporter-metrics-otlp-proto';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto';
import { cutText } from '../../common/json.ts';
import { redactSecrets } from '../../common/secrets.ts';
import { RelayError } from '../../errors.ts';
import type { CollectorOutbound, CollectorPem, Log } from '../../ports.ts';

export interface ExporterConfig {
  readonly url: string;
  /** `name=value` with commas between them, values encoded as in URLs. */
  readonly headers: string | undefined;
  readonly timeoutMs: number;
  readonly compression: 'none' | 'gzip';
  readonly caFile: string | undefined;
  readonly certFile: string | undefined;
  readonly keyFile: string | undefined;
}

export type Temporality = 'cumulative' | 'delta' | 'lowmemory';

interface ExporterParts {
  readonly userAgent: string;
  readonly log: Log;
  readonly outbound: CollectorOutbound;
  /** The end of one export. */
  ended(signal: Signal, outcome: 'sent' | 'failed'): void;
}

type Signal = 'metrics' | 'traces';

interface Exporter<Items> {
  export(items: Items, done: (result: ExportResult) => void): void;
}

/** Of one signal, in one process. A collector that hangs holds no more than these. */
const MAX_EXPORTS = 16;
/** The SDK's own limit is for a silent connection, and an answer may come drop by drop. */
const GRACE_MS = 1_000;
const LONGEST_REASON = 300;
/** As the SDK numbers them. */
const TEMPORALITIES: Readonly<Record<Temporality, number>> = { delta: 0, cumulative: 1, lowmemory: 2 };

/** Throws RelayError CONFIG_INVALID when a certificate cannot be read. */
export function createMetricExporter(config: ExporterConfig, temporality: Temporality, parts: ExporterParts) {
  const { options, close } = optionsOf(config, parts);
  const exporter = new OTLPMetricExporter({ ...options, temporalityPreference: TEMPORALITIES[temporality] });
  return { exporter: watched(exporter, 'metrics', config, parts, temporality), close };
}

/** Throws RelayError CONFIG_INVALID when a certificate cannot be read. */
export function createTraceExporter(config: ExporterConfig, parts: ExporterParts) {
  const { options, close } = optionsOf(config, parts);
  return { exporter: watched(new OTLPTraceExporter(options), 'traces', config, parts), close };
}

function optionsOf(config: ExporterConfig, { userAgent, outbound }: ExporterParts) {
  const { url, timeoutMs: timeoutMillis, compression, headers } = config;
  const files = {
    ...(config.caFile !== undefined && { ca: readPem('OTEL_EXPORTER_OTLP_CERTIFICATE', config.caFile) }),
    ...(config.certFile !== undefined && { cert: readPem('OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE', config.certFile) }),
    ...(config.keyFile !== undefined && { key: readPem('OTEL_EXPORTER_OTLP_CLIENT_KEY', config.keyFile) }),
  };
  const agent = agentOf(new URL(url), files, outbound) ?? new http.Agent({ keepAlive: true });
  return {
    options: {
      url,
      timeoutMillis,
      userAgent,
      // The enum of the SDK is in a package that it does not show.
      compression: compression as never,
      concurrencyLimit: MAX_EXPORTS,
      headers: parseKeyPairsIntoRecord(headers ?? ''),
      httpAgentOptions: () => agent as https.Agent,
    },
    close: () => agent.destroy(),
  };
}

function agentOf(url: URL, files: CollectorPem, outbound: ExporterParts['outbound']): http.Agent | undefined {
  try {
    return outbound.collectorAgent(url, files);
  } catch (error) {
    const { message } = error as Error;
    const variables = 'OTEL_EXPORTER_OTLP_[…_]CERTIFICATE, CLIENT_CERTIFICATE, CLIENT_KEY';
    throw new RelayError(
      'CONFIG_INVALID',
      `${variables}: the files do not fit each other, or are not PEM: ${message}`,
      {
        cause: error,
      },
    );
  }
}

function readPem(variable: string, file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    throw new RelayError('CONFIG_INVALID', `${variable}: cannot read ${file}: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

/** The same exporter. Each export ends once, in bounded time; the log has a line when exports begin to fail, and when they work again. */
function watched<Items, E extends Exporter<Items>>(
  exporter: E,
  signal: Signal,
  config: ExporterConfig,
  parts: ExporterParts,
  temporality?: Temporality,
): E {
  const { log } = parts;
  const where = { signal, endpoint: redactSecrets(config.url) };
  const send = exporter.export.bind(exporter);
  let failing = false;
  const missed = missedBy(temporality);

  const note = ({ code, error }: ExportResult): void => {
    const isSent = code === ExportResultCode.SUCCESS;
    parts.ended(signal, isSent ? 'sent' : 'failed');
    if (isSent === !failing) return;
    failing = !isSent;
    if (isSent) log.info(`The OpenTelemetry collector accepts ${signal} again`, where);
    else {
      log.warn(
        `Cannot send ${signal} to the OpenTelemetry collector; clients are served as before, and the next export tries again. ${missed}. Check the endpoint and its headers`,
        { ...where, reason: reasonOf(error), runbook: 'operations.md#metrics-not-sent' },
      );
    }
  };
  exporter.export = (items, done) => {
    let isOver = false;
    const end = (result: ExportResult): void => {
      if (isOver) return;
      isOver = true;
      clearTimeout(timer);
      note(result);
      done(result);
    };
    const tooLate = { code: ExportResultCode.FAILED, error: new Error('the collector did not answer in time') };
    const timer = setTimeout(end, config.timeoutMs + GRACE_MS, tooLate);
    timer.unref();
    try {
      send(items, end);
    } catch (error) {
      end({ code: ExportResultCode.FAILED, error: error as Error });
    }
  };
  return exporter;
}

/** What a collector never gets, of exports that it did not take. */
function missedBy(temporality: Temporality | undefined): string {
  if (temporality === undefined) return 'Spans of exports that fail are lost';
  if (temporality === 'cumulative') return 'Totals are complete in the next export that works';
  return 'What was counted for an export that fails is lost';
}

/** Its body may quote the request's headers. */
function reasonOf(error: Error | undefined): string {
  const { code, message = '' } = (error ?? {}) as NodeJS.ErrnoException;
  const isRetried = message.includes('retryable status');
  const text = isRetried
    ? 'it answered 429, 502, 503 or 504 until the time was over'
    : [code, message].filter(Boolean).join(' ');
  return redactSecrets(cutText(text || 'unknown', LONGEST_REASON));
}
