/** Checks of settings that depend on one another. */

import type { Findings } from '../common/findings.ts';
import { keyKindOf } from '../common/secrets.ts';
import { bytes } from '../common/setting-values.ts';
import type { Config, EnvironmentConfig } from './assemble.ts';
import { checkHeartbeat } from './check-heartbeat.ts';
import { checkPlaces } from './check-places.ts';
import { type Gathered, lastOf, type Pieces, placesOf, switchOf } from './gather.ts';
import { masked, nameOf } from './places.ts';
import { environmentSettings, filterSettings, type Setting, settings, settingsIn } from './settings.ts';
import { MAX_CONTEXT_BYTES } from './settings-main.ts';

export function checkTogether(config: Config, gathered: Gathered, relay: Pieces, findings: Findings): void {
  checkSources(config, relay, findings);
  for (const { name, sdkKey, flagsFile } of config.environments) {
    if (sdkKey !== undefined || flagsFile !== undefined) continue;
    findings.problem(
      `environment ${name} has no SDK key: set LD_ENV_${name}, or sdkKey in [Environment "${name}"], or give it a flags file`,
    );
  }
  reportTwins(config.environments, findings);
  reportSecretIds(config.environments, findings);
  checkFilters(config, gathered.filters, findings);
  checkTransport(config, relay, findings);
  checkRedis(config, relay, findings);
  if (config.consul?.token !== undefined && config.consul.tokenFile !== undefined) {
    findings.problem(
      `${given(relay, settings.consul.token, settings.consul.tokenFile)}: set the Consul token or its file, not both`,
    );
  }
  checkPlaces(config, findings);
  checkHeartbeat(config, findings);
}

const given = (relay: Pieces, ...rows: readonly Setting<unknown>[]) => placesOf(relay, ...rows).join(', ');

/** All environments come from one source. */
function checkSources({ environments, autoConfig, offline, ssm }: Config, relay: Pieces, findings: Findings): void {
  const sources = [
    ...(autoConfig ? [given(relay, settings.autoConfig.key)] : []),
    ...(offline ? [given(relay, settings.offline.path)] : []),
    ...(ssm ? [given(relay, settings.ssm.path)] : []),
  ];
  if (environments.length > 0) {
    const names = environments.map(({ name }) => name).join(', ');
    sources.push(`environment${environments.length === 1 ? '' : 's'} ${names}`);
  }
  if (sources.length === 0) {
    findings.problem(
      'no environments: set LD_ENV_<name> to an SDK key, or set AUTO_CONFIG_KEY, FILE_DATA_SOURCE or KEYS_FROM_SSM',
    );
  }
  if (sources.length > 1)
    findings.problem(`${sources.join(' and ')}: only one source of environments is allowed; remove the others`);
  if (!autoConfig && !offline) {
    const found = filled(relay, settingsIn(settings.template));
    if (found) findings.problem(`${found}: needs AUTO_CONFIG_KEY or FILE_DATA_SOURCE, and neither is set`);
  }
  if (!offline) {
    const found = filled(relay, [settings.offline.intervalMs]);
    if (found) findings.problem(`${found}: needs FILE_DATA_SOURCE, which is not set`);
  }
}

function filled(relay: Pieces, rows: readonly Setting<unknown>[]): string {
  return given(relay, ...rows.filter((row) => lastOf(relay, row)?.text));
}

/** Environments may not share a credential: a request would belong to both. */
function reportTwins(environments: readonly EnvironmentConfig[], findings: Findings): void {
  for (const credential of ['sdkKey', 'mobileKey', 'environmentId'] as const) {
    const owners = new Map<string, string>();
    for (const environment of environments) {
      const value = environment[credential];
      if (!value) continue;
      const owner = owners.get(value);
      if (owner !== undefined) {
        const { env } = environmentSettings[credential];
        findings.problem(
          `${env}${owner} and ${env}${environment.name} have the same value: each environment needs its own`,
        );
      }
      owners.set(value, environment.name);
    }
  }
}

/** ld-relay accepts them, so this is no error; they are shown nowhere. */
function reportSecretIds(environments: readonly EnvironmentConfig[], findings: Findings): void {
  for (const { name, environmentId = '' } of environments) {
    const kind = keyKindOf(environmentId);
    if (kind === undefined) continue;
    findings.warning(
      `${environmentSettings.environmentId.env}${name} is ${kind}, not a client-side ID: browsers would send it in every URL; correct it, and reset the key in LaunchDarkly if a page contains it`,
    );
  }
}

function checkFilters(
  { filters, environments, autoConfig }: Config,
  pieces: Gathered['filters'],
  findings: Findings,
): void {
  if (filters.size === 0) return;
  if (autoConfig) {
    const projects = [...filters.keys()].join(', ');
    findings.problem(
      `filters of ${projects}: with AUTO_CONFIG_KEY, LaunchDarkly provides the filters; remove them here`,
    );
    return;
  }
  for (const { name, projKey } of environments) {
    if (projKey !== undefined) continue;
    findings.problem(`environment ${name} has no project key, which filters require: set LD_PROJ_KEY_${name}`);
  }
  const projects = new Set(environments.map(({ projKey }) => projKey));
  for (const [project, keys] of filters) {
    if (!projects.has(project)) {
      findings.problem(`filters of project ${project}: no environment has LD_PROJ_KEY_<name>=${masked(project)}`);
    } else if (keys.length === 0) {
      const given = pieces.get(project)?.get(filterSettings.keys) ?? [];
      // What is not empty is invalid, which was reported.
      if (given.some(({ text }) => text !== '')) continue;
      const where =
        given.map(({ place }) => `${nameOf(place)} is empty`).join(', ') || `filters of project ${project}: no keys`;
      findings.problem(
        `${where}; list the keys in [Filters "${project}"] or LD_FILTER_KEYS_${project}, or remove them`,
      );
    }
  }
}

function checkTransport({ proxy, tls, statusAccess }: Config, relay: Pieces, findings: Findings): void {
  if (!tls && switchOf(relay, settings.tls.enabled)) {
    findings.problem(`${given(relay, settings.tls.enabled)}: TLS needs both TLS_CERT and TLS_KEY`);
  }
  if (switchOf(relay, settings.proxy.ntlmAuth)) {
    findings.problem(
      `${given(relay, settings.proxy.ntlmAuth)}: NTLM is not supported; use a proxy with basic authentication or none`,
    );
  }
  if (proxy.url === undefined && (proxy.user !== undefined || proxy.password !== undefined)) {
    findings.warning(`${given(relay, settings.proxy.user, settings.proxy.password)}: no effect without PROXY_URL`);
  }
  if (lastOf(relay, settings.statusToken) && statusAccess === 'public') {
    findings.warning(`${given(relay, settings.statusToken)}: no effect while STATUS_ACCESS is public`);
  }
  const contextSize = bytes(lastOf(relay, settings.maxClientRequestBodyBytes)?.text ?? '');
  if ('value' in contextSize && contextSize.value > MAX_CONTEXT_BYTES) {
    findings.warning(`${given(relay, settings.maxClientRequestBodyBytes)}: above the maximum; 1MiB is used`);
  }
}

function checkRedis({ redis }: Config, relay: Pieces, findings: Findings): void {
  if (!redis) return;
  const rows = settings.redis;
  const has = (row: Setting<unknown>) => Boolean(lastOf(relay, row)?.text);
  const address = [rows.host, rows.port].filter(has);
  if (has(rows.url) && address.length > 0) {
    findings.problem(`${given(relay, rows.url, ...address)}: set a URL for Redis, or a host and port, not both`);
  }
  if (has(rows.sentinels) !== has(rows.sentinelMaster)) {
    const places = given(relay, rows.sentinels, rows.sentinelMaster);
    findings.problem(`${places}: Sentinels need both REDIS_SENTINELS and REDIS_SENTINEL_MASTER`);
  }
  if (has(rows.sentinels) && (has(rows.url) || address.length > 0)) {
    const places = given(relay, rows.sentinels, rows.url, ...address);
    findings.problem(`${places}: Sentinels provide the address of Redis; remove the other address`);
  }
  if (redis.cluster && has(rows.sentinels)) {
    findings.problem(
      `${given(relay, rows.cluster, rows.clusterNodes, rows.sentinels)}: a Redis Cluster has no Sentinels; choose one of the two`,
    );
  }
  if (redis.cluster && redis.db !== 0) findings.problem('REDIS_URL: a Redis Cluster has only database 0');
  if ((redis.certFile === undefined) !== (redis.keyFile === undefined)) {
    const places = given(relay, rows.certFile, rows.keyFile);
    findings.problem(`${places}: a client certificate needs both REDIS_CLIENT_CERT_FILE and REDIS_CLIENT_KEY_FILE`);
  }
}
