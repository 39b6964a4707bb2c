/** Where environments and their keys come from: the configuration names exactly one source. */

import { filteredPrefix } from '../../lib/flag-table/index.ts';
import { withHashTag } from '../common/hash-tag.ts';
import type { Measures } from '../common/measures.ts';
import { areTablesSeparate, type Config, type EnvironmentConfig } from '../config/config.ts';
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
import { readDataSet } from '../upstream/messages.ts';
import type { Place } from './stores.ts';
import type { UpstreamTimes } from './upstreams.ts';

interface SourceOptions {
  readonly config: Config;
  readonly outbound: Outbound;
  readonly userAgent: string;
  readonly log: Log;
  readonly measures: Measures;
  readonly timings: SourceTimings;
  /** Where the last good auto-configuration is kept, or which environment had a key first; undefined: nowhere. */
  keeper(name: string): Keeper | undefined;
}

type SsmConfig = NonNullable<Config['ssm']>;
type AutoConfig = NonNullable<Config['autoConfig']>;

/** For tests; a relay never changes them. */
export interface SourceTimings {
  readonly ssm?: Pick<SsmSourceOptions, 'intervalMs' | 'timings'>;
  /** Of LaunchDarkly's streams. */
  readonly upstream?: UpstreamTimes;
}

interface RunningSource extends EnvironmentSource {
  /** Keys that are known to exist and could not be read yet. */
  unread?(): number;
}

/** The one source that the configuration names; it can be asked before it has started and after it has ended. */
export function createSource(options: SourceOptions) {
  let running: RunningSource | undefined;
  return {
    /** Rejects with RelayError ARCHIVE_INVALID. */
    async start(sink: EnvironmentSink): Promise<void> {
      running = await startSource(options, sink);
    },
    /** Undefined before it has started. */
    status: () => running?.status(),
    /** Whether an unknown credential cannot be one that exists but could not be read yet. */
    knowsAllKeys: () => running?.status().state === 'VALID' && (running.unread?.() ?? 0) === 0,
    /** Nothing is delivered afterwards. */
    async close(): Promise<void> {
      await running?.close();
    },
  };
}

async function startSource(options: SourceOptions, sink: EnvironmentSink): Promise<RunningSource> {
  const { config, log } = options;
  if (config.ssm) return startSsm(options, config.ssm, sink);
  if (config.autoConfig) return startAutoConfiguration(options, config.autoConfig, sink);
  if (config.offline) {
    const { path, intervalMs } = config.offline;
    return startArchive({ ...templatesOf(config.offline), sink, log, path, intervalMs, readDataSet });
  }
  return startStaticSource({ sink, environments: config.environments.map(describe) });
}

function startSsm(options: SourceOptions, ssm: SsmConfig, sink: EnvironmentSink) {
  const { config, outbound, log, measures, timings, keeper } = options;
  const tableName = config.dynamoDB?.tableName;
  const region = config.awsRegion ?? (ssm.url ? 'us-east-1' : undefined);
  // Stages may share a table.
  const keeperOf = (...names: string[]) => keeper([...names, ...ssm.path.split(/\W+/).filter(Boolean)].join('-'));
  const secret = ssm.cacheEncryptionKey;
  // Each region has keys of its own, and a table may be replicated.
  const cache = secret === undefined ? undefined : keeperOf('ssm-keys', ...(region === undefined ? [] : [region]));
  return startSsmSource({
    ...timings.ssm,
    sink,
    log,
    measures,
    keeper: keeperOf('key-owners'),
    ...(cache && secret !== undefined && { cache: { keeper: cache, secret } }),
    path: ssm.path,
    graceMs: ssm.graceMs,
    region,
    endpoint: ssm.url,
    agents: outbound.awsAgents(),
    defaults: { filters: Object.fromEntries(config.filters), ...(tableName !== undefined && { tableName }) },
    tablesSeparate: areTablesSeparate(config),
    ...(config.redis?.cluster && { prefixInStores: withHashTag }),
  });
}

function startAutoConfiguration(options: SourceOptions, autoConfig: AutoConfig, sink: EnvironmentSink) {
  const { config, log, outbound, userAgent, timings } = options;
  const { key, cacheEncryptionKey } = autoConfig;
  const keeper = options.keeper('auto-config');
  return startAutoConfig({
    ...templatesOf(autoConfig),
    sink,
    log,
    open: (listener) =>
      startAutoConfigStream({
        ...timings.upstream,
        ...listener,
        streamUri: config.streamUri,
        key,
        userAgent,
        outbound,
        log,
      }),
    ...(keeper && { cache: { keeper, secret: cacheEncryptionKey ?? key } }),
  });
}

/** Where the stores keep the items of an environment, or of one filtered view of it. */
export function placeOf(config: Config): (description: EnvironmentDescription, filter: string) => Place {
  const template = config.autoConfig ?? config.offline;
  return ({ prefix, tableName, environmentId = '' }, filter) => {
    if (filter === '') return { prefix, tableName };
    if (template) {
      const table = fillTemplate(template.tableName ?? '', environmentId, filter);
      return { prefix: fillTemplate(template.prefix, environmentId, filter), tableName: table || undefined };
    }
    return { prefix: filteredPrefix(prefix, filter), tableName };
  };
}

function templatesOf(template: AutoConfig | NonNullable<Config['offline']>): EnvironmentTemplates {
  const { prefix, tableName, allowedOrigins, allowedHeaders } = template;
  return { prefixTemplate: prefix, tableNameTemplate: tableName ?? '', allowedOrigins, allowedHeaders };
}

function describe(environment: EnvironmentConfig): EnvironmentDescription {
  const { name, sdkKey, mobileKey, environmentId, projKey: projectKey, ...rest } = environment;
  const all = [
    { kind: 'sdkKey', value: sdkKey },
    { kind: 'mobileKey', value: mobileKey },
    { kind: 'environmentId', value: environmentId },
  ] as const;
  const credentials = all.flatMap(({ kind, value }): Credential[] => (value ? [{ kind, value }] : []));
  return { ...rest, id: name, name, projectKey, sdkKey, environmentId, credentials };
}
