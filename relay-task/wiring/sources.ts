/** Where environments and their keys come from: the configuration names exactly one source. */
import type { Registry } from 'prom-client';
import type { Config, EnvironmentConfig } from '../config/config.ts';
import { startArchive } from '../environments/archive.ts';
import { startAutoConfig } from '../environments/auto-config.ts';
import { type EnvironmentTemplates, fillTemplate } from '../environments/environment-record.ts';
import { type SsmSourceOptions, startSsmSource } from '../environments/ssm-source.ts';
import { startStaticSource } from '../environments/static-source.ts';
import type {
  Credential,
  EnvironmentDescription,
  EnvironmentSink,
  EnvironmentSource,
  Keeper,
  Log,
  Outbound,
} from '../ports.ts';
import { startAutoConfigStream } from '../upstream/auto-config-stream.ts';
import type { EventStreamTimes } from '../upstream/event-stream.ts';
import { readDataSet } from '../upstream/messages.ts';
import type { Place } from './stores.ts';

export interface SourceOptions {
  readonly config: Config;
  readonly sink: EnvironmentSink;
  readonly outbound: Outbound;
  readonly userAgent: string;
  readonly log: Log;
  readonly registry: Registry;
  readonly timings?: SourceTimings | undefined;
  /** Where the last good auto-configuration is kept; undefined: nowhere. */
  keeper(name: string): Keeper | undefined;
}

/** For tests; a relay never changes them. */
export interface SourceTimings {
  readonly ssm?: Pick<SsmSourceOptions, 'intervalMs' | 'timings'>;
  /** Of LaunchDarkly's streams. */
  readonly upstream?: EventStreamTimes;
}

export interface RunningSource extends EnvironmentSource {
  /** Keys that are known to exist, but could not be read yet; an unknown credential may be one of them. */
  unread?(): number;
}

/** Rejects with RelayError ARCHIVE_INVALID. */
export async function startSource(options: SourceOptions): Promise<RunningSource> {
  const { config, sink, log, registry, outbound, userAgent, timings = {} } = options;
  const { ssm, autoConfig, offline } = config;
  if (ssm) {
    return startSsmSource({
      ...{ ...timings.ssm, sink, log, registry, path: ssm.path, graceMs: ssm.graceMs },
      region: config.awsRegion ?? (ssm.url ? 'us-east-1' : undefined),
      endpoint: ssm.url,
      defaults: {
        filters: Object.fromEntries(config.filters),
        ...(config.dynamoDB?.tableName !== undefined && { tableName: config.dynamoDB.tableName }),
      },
    });
  }
  if (autoConfig) {
    const { key, cacheEncryptionKey } = autoConfig;
    const keeper = options.keeper('auto-config');
    return startAutoConfig({
      ...{ ...templatesOf(autoConfig), sink, log },
      open: (listener) =>
        startAutoConfigStream({
          ...{ ...timings.upstream, ...listener, key, userAgent, outbound, log },
          streamUri: config.streamUri,
        }),
      ...(keeper && { cache: { keeper, secret: cacheEncryptionKey ?? key } }),
    });
  }
  if (offline) {
    const { path, intervalMs } = offline;
    return startArchive({ ...templatesOf(offline), sink, log, path, intervalMs, readDataSet });
  }
  return startStaticSource({ sink, environments: config.environments.map(describe) });
}

/** Where the items of an environment lie, or of one filtered view of it. */
export function placeOf(config: Config): (description: EnvironmentDescription, filter: string) => Place {
  const template = config.autoConfig ?? config.offline;
  return ({ prefix, tableName, environmentId = '' }, filter) => {
    if (filter === '') return { prefix, tableName };
    if (template) {
      const table = fillTemplate(template.tableName ?? '', environmentId, filter);
      return { prefix: fillTemplate(template.prefix, environmentId, filter), tableName: table || undefined };
    }
    return { prefix: prefix === '' ? filter : `${prefix}/${filter}`, tableName };
  };
}

function templatesOf(template: NonNullable<Config['autoConfig'] | Config['offline']>): EnvironmentTemplates {
  const { prefix, tableName, allowedOrigins, allowedHeaders } = template;
  return { prefixTemplate: prefix, tableNameTemplate: tableName ?? '', allowedOrigins, allowedHeaders };
}

function describe(environment: EnvironmentConfig): EnvironmentDescription {
  const { name, sdkKey, mobileKey, environmentId, projKey: _, ...rest } = environment;
  const all = [
    { kind: 'sdkKey', value: sdkKey },
    { kind: 'mobileKey', value: mobileKey },
    { kind: 'environmentId', value: environmentId },
  ] as const;
  const credentials = all.flatMap(({ kind, value }): Credential[] => (value ? [{ kind, value }] : []));
  return { ...rest, id: name, name, sdkKey, environmentId, credentials };
}
