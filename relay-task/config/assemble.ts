/** Everything that was given, into one Config; `relay` is what of it counted. */

import { assembleStores, withoutIdleStores } from './assemble-stores.ts';
import type { Config, EnvironmentConfig, EnvironmentTemplate } from './config.ts';
import type { Effective, Gathered, Pieces } from './gather.ts';
import { nameOf } from './places.ts';
import { type Findings, readPiece, readSettings, understood, type Values } from './read-settings.ts';
import { environmentSettings, filterSettings, settings } from './settings.ts';

type Settings = Values<typeof settings>;

const CLIENT_SIDE_BASE_URI = 'https://clientsdk.launchdarkly.com';
/** ld-relay's default of long ago, which it replaces too. */
const OLD_BASE_URI = 'https://app.launchdarkly.com';
/** No SDK comes near; without any bound one request could take all memory. */
const MOST_EVENT_BYTES = 64 * 1024 * 1024;

export function assemble(
  gathered: Gathered,
  problems: string[],
  warnings: string[],
): { config: Config; effective: readonly Effective[]; relay: Pieces } {
  const findings: Findings = { problems, warnings, effective: [] };
  const relay = withoutIdleStores(gathered.relay, warnings);
  const values = readSettings(settings, relay, findings);
  const filters = new Map(
    [...gathered.filters].map(([project, pieces]) => {
      const { keys } = readSettings(filterSettings, pieces, findings, project);
      return [project, [...new Set(keys)]];
    }),
  );
  const environments = [...gathered.environments].map(([name, pieces]): EnvironmentConfig => {
    const environment = readSettings(environmentSettings, pieces, findings, name);
    return { ...environment, name, filters: filters.get(environment.projKey ?? '') ?? [] };
  });
  tellWithoutEffect(gathered, findings);
  if (values.baseUri === OLD_BASE_URI) {
    warnings.push(`${OLD_BASE_URI} is an old address: ${settings.baseUri.fallback} is used instead`);
  }
  return {
    config: {
      ...relayPart(values),
      ...sourcePart(values),
      ...assembleStores(values, relay),
      environments,
      filters,
    },
    effective: findings.effective,
    relay,
  };
}

function relayPart(values: Settings) {
  const baseUri = values.baseUri === OLD_BASE_URI ? settings.baseUri.fallback : values.baseUri;
  const customBase = baseUri !== settings.baseUri.fallback;
  const { tlsEnabled, tlsCert, tlsKey, tlsMinVersion } = values;
  return {
    port: values.port,
    listenHost: values.listenHost,
    tls:
      tlsEnabled && tlsCert !== undefined && tlsKey !== undefined
        ? { certFile: tlsCert, keyFile: tlsKey, minVersion: nodeTlsVersions[tlsMinVersion] }
        : undefined,
    streamUri: values.streamUri,
    baseUri,
    clientSideBaseUri: values.clientSideBaseUri ?? (customBase ? baseUri : CLIENT_SIDE_BASE_URI),
    exitOnError: values.exitOnError,
    exitAlways: values.exitAlways,
    ignoreConnectionErrors: values.ignoreConnectionErrors,
    initTimeoutMs: values.initTimeoutMs,
    heartbeatIntervalMs: values.heartbeatIntervalMs,
    maxClientConnectionTimeMs: values.maxClientConnectionTimeMs,
    disconnectedStatusTimeMs: values.disconnectedStatusTimeMs,
    drainWindowMs: Math.min(values.drainWindowMs, values.gracefulShutdownTimeoutMs),
    gracefulShutdownTimeoutMs: values.gracefulShutdownTimeoutMs,
    readyRequires: values.readyRequires,
    logLevel: values.logLevel,
    bigSegments: {
      staleAsDegraded: values.bigSegmentsStaleAsDegraded,
      staleThresholdMs: values.bigSegmentsStaleThresholdMs,
    },
    expiredCredentialCleanupIntervalMs: values.expiredCredentialCleanupIntervalMs,
    clientStreams: values.clientStreams,
    pingStreamJitterMs: values.pingStreamJitterMs,
    statusAccess: values.statusAccess,
    statusToken: values.statusToken,
    maxClientRequestBodyBytes: values.maxClientRequestBodyBytes,
    initMaxConcurrent: values.initMaxConcurrent,
    initMaxQueued: values.initMaxQueued,
    prometheus: values.usePrometheus ? { port: values.prometheusPort, prefix: values.prometheusPrefix } : undefined,
    metrics: {
      emf: values.metricsEmf,
      emfIntervalMs: values.metricsEmfIntervalMs,
      namespace: values.metricsNamespace,
    },
  };
}

const nodeTlsVersions = { '1.0': 'TLSv1', '1.1': 'TLSv1.1', '1.2': 'TLSv1.2', '1.3': 'TLSv1.3' } as const;

function sourcePart(values: Settings) {
  const template: EnvironmentTemplate = {
    prefix: values.envDatastorePrefix,
    tableName: values.envDatastoreTableName,
    allowedOrigins: values.envAllowedOrigin,
    allowedHeaders: values.envAllowedHeader,
  };
  const { autoConfigKey, fileDataSource, keysFromSsm } = values;
  return {
    autoConfig: autoConfigKey
      ? { ...template, key: autoConfigKey, cacheEncryptionKey: values.autoConfigCacheEncryptionKey }
      : undefined,
    offline: fileDataSource
      ? { ...template, path: fileDataSource, intervalMs: values.fileDataSourceMonitoringIntervalMs }
      : undefined,
    ssm: keysFromSsm ? { path: keysFromSsm, url: values.ssmUrl, graceMs: values.keysGraceMs } : undefined,
    events: {
      enabled: values.useEvents,
      uri: values.eventsUri,
      flushIntervalMs: values.eventsFlushIntervalMs,
      capacity: values.eventsCapacity,
      maxInboundPayloadBytes: values.eventsMaxInboundPayloadBytes || MOST_EVENT_BYTES,
    },
    proxy: {
      url: values.proxyUrl,
      user: values.proxyUser,
      password: values.proxyPassword,
      caCertFiles: values.proxyCaCertFiles,
    },
  };
}

/** One line for each reason, and none for what is switched off. */
function tellWithoutEffect(gathered: Gathered, findings: Findings): void {
  const namesByReason = new Map<string, string[]>();
  for (const [row, pieces] of gathered.withoutEffect) {
    for (const given of pieces.filter(({ text }) => text !== '')) {
      for (const piece of understood(row, given, { ...findings, warnings: [] })) {
        if (readPiece(row, piece, findings) === false) continue;
        namesByReason.set(row.why, [...(namesByReason.get(row.why) ?? []), nameOf(piece.place)]);
      }
    }
  }
  for (const [why, names] of namesByReason) {
    findings.warnings.push(`${names.join(', ')} ${names.length === 1 ? 'has' : 'have'} no effect: ${why}`);
  }
}
