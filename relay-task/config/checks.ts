/** What is wrong only taken together. */
import { checkPlaces } from './check-places.ts';
import type { Config, EnvironmentConfig } from './config.ts';
import { type Gathered, lastOf, placesOf } from './gather.ts';
import { masked } from './places.ts';
import { environmentSettings } from './settings.ts';

export function checkTogether(config: Config, gathered: Gathered, problems: string[], warnings: string[]): void {
  checkSources(config, gathered, problems);
  for (const { name, sdkKey, flagsFile } of config.environments) {
    if (sdkKey !== undefined || flagsFile !== undefined) continue;
    problems.push(
      `environment ${name} has no SDK key: set LD_ENV_${name}, or sdkKey in [Environment "${name}"], or give it a flags file`,
    );
  }
  reportTwins(config.environments, problems);
  checkFilters(config, problems);
  checkTransport(config, gathered, problems, warnings);
  checkRedis(config, gathered, problems);
  if (config.consul?.token !== undefined && config.consul.tokenFile !== undefined) {
    problems.push(`${given(gathered, 'consulToken', 'consulTokenFile')}: give the Consul token or its file, not both`);
  }
  checkPlaces(config, problems, warnings);
}

const given = ({ relay }: Gathered, ...keys: string[]) => placesOf(relay, ...keys).join(', ');

/** Environments come from one source. */
function checkSources(
  { environments, autoConfig, offline, ssm }: Config,
  gathered: Gathered,
  problems: string[],
): void {
  const sources = [
    ...(autoConfig ? [given(gathered, 'autoConfigKey')] : []),
    ...(offline ? [given(gathered, 'fileDataSource')] : []),
    ...(ssm ? [given(gathered, 'keysFromSsm')] : []),
  ];
  if (environments.length > 0) {
    const names = environments.map(({ name }) => name).join(', ');
    sources.push(`environment${environments.length === 1 ? '' : 's'} ${names}`);
  }
  if (sources.length === 0) {
    problems.push(
      'no environment: set LD_ENV_<name> to its SDK key, or say where environments come from with AUTO_CONFIG_KEY, FILE_DATA_SOURCE or KEYS_FROM_SSM',
    );
  }
  if (sources.length > 1)
    problems.push(`${sources.join(' and ')}: environments come from one source, remove the others`);
  if (!autoConfig && !offline) {
    const lone = ['envDatastorePrefix', 'envDatastoreTableName', 'envAllowedOrigin', 'envAllowedHeader'];
    const found = filled(gathered, lone);
    if (found) problems.push(`${found}: only for AUTO_CONFIG_KEY or FILE_DATA_SOURCE, and neither is set`);
  }
  if (!offline) {
    const found = filled(gathered, ['fileDataSourceMonitoringIntervalMs']);
    if (found) problems.push(`${found}: only for FILE_DATA_SOURCE, which is not set`);
  }
}

function filled({ relay }: Gathered, keys: readonly string[]): string {
  return placesOf(relay, ...keys.filter((key) => lastOf(relay, key)?.text)).join(', ');
}

/** Two environments may not share a credential: a request could not be told apart. */
function reportTwins(environments: readonly EnvironmentConfig[], problems: string[]): void {
  for (const credential of ['sdkKey', 'mobileKey', 'environmentId'] as const) {
    const owners = new Map<string, string>();
    for (const environment of environments) {
      const value = environment[credential];
      if (!value) continue;
      const owner = owners.get(value);
      if (owner !== undefined) {
        const { env } = environmentSettings[credential];
        problems.push(
          `${env}${owner} and ${env}${environment.name} hold the same value: each environment needs its own`,
        );
      }
      owners.set(value, environment.name);
    }
  }
}

function checkFilters({ filters, environments, autoConfig }: Config, problems: string[]): void {
  if (filters.size === 0) return;
  if (autoConfig) {
    const projects = [...filters.keys()].join(', ');
    problems.push(
      `filters of ${projects}: with auto-configuration LaunchDarkly says which filters there are, remove them here`,
    );
    return;
  }
  for (const { name, projKey } of environments) {
    if (projKey !== undefined) continue;
    problems.push(`environment ${name} has no project key: where there are filters, set LD_PROJ_KEY_${name}`);
  }
  const projects = new Set(environments.map(({ projKey }) => projKey));
  for (const [project, keys] of filters) {
    if (!projects.has(project)) {
      problems.push(`filters of project ${project}: no environment has LD_PROJ_KEY_<name>=${masked(project)}`);
    } else if (keys.length === 0) {
      problems.push(`filters of project ${project}: there is no key, set LD_FILTER_KEYS_${project}`);
    }
  }
}

function checkTransport(
  { proxy, tls, ...config }: Config,
  gathered: Gathered,
  problems: string[],
  warnings: string[],
): void {
  const { relay } = gathered;
  if (!tls && isTrue(gathered, 'tlsEnabled')) {
    problems.push(`${given(gathered, 'tlsEnabled')}: TLS needs both TLS_CERT and TLS_KEY`);
  }
  if (isTrue(gathered, 'proxyNtlmAuth')) {
    problems.push(
      `${given(gathered, 'proxyNtlmAuth')}: NTLM is not spoken; use a proxy that takes basic authentication, or none`,
    );
  }
  if (proxy.url === undefined && (proxy.user !== undefined || proxy.password !== undefined)) {
    warnings.push(`${given(gathered, 'proxyUser', 'proxyPassword')}: no effect without PROXY_URL`);
  }
  if (lastOf(relay, 'statusToken') && config.statusAccess === 'public') {
    warnings.push(`${given(gathered, 'statusToken')}: no effect while STATUS_ACCESS is public`);
  }
}

function isTrue({ relay }: Gathered, key: string): boolean {
  return /^(true|1|yes|on)$/i.test(lastOf(relay, key)?.text ?? '');
}

function checkRedis({ redis }: Config, gathered: Gathered, problems: string[]): void {
  if (!redis) return;
  const { relay } = gathered;
  const has = (key: string) => Boolean(lastOf(relay, key)?.text);
  const address = ['redisHost', 'redisPort'].filter(has);
  if (has('redisUrl') && address.length > 0) {
    problems.push(`${given(gathered, 'redisUrl', ...address)}: give Redis a URL, or a host and a port, not both`);
  }
  if (has('redisSentinels') !== has('redisSentinelMaster')) {
    const places = given(gathered, 'redisSentinels', 'redisSentinelMaster');
    problems.push(`${places}: Sentinels need both REDIS_SENTINELS and REDIS_SENTINEL_MASTER`);
  }
  if (has('redisSentinels') && (has('redisUrl') || address.length > 0)) {
    const places = given(gathered, 'redisSentinels', 'redisUrl', ...address);
    problems.push(`${places}: Sentinels know where Redis is, remove its own address`);
  }
  if (redis.cluster && has('redisSentinels')) {
    problems.push(`${given(gathered, 'redisCluster', 'redisSentinels')}: a Redis Cluster has no Sentinels, choose one`);
  }
  if (redis.cluster && redis.db !== 0) problems.push('REDIS_URL: a Redis Cluster has database 0 alone');
  if ((redis.certFile === undefined) !== (redis.keyFile === undefined)) {
    const places = given(gathered, 'redisClientCertFile', 'redisClientKeyFile');
    problems.push(`${places}: a client certificate needs both REDIS_CLIENT_CERT_FILE and REDIS_CLIENT_KEY_FILE`);
  }
}
