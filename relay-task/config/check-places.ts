/** Every environment, filtered or not, needs its own place in every store. */
import { filteredPrefix } from '../../lib/flag-table/index.ts';
import type { Findings } from '../common/findings.ts';
import { hasHashTag, withHashTag } from '../common/hash-tag.ts';
import type { Config, EnvironmentConfig } from './assemble.ts';
import { areTablesSeparate, storesIn } from './assemble-stores.ts';

const CLIENT_SIDE_ID = '$CID';
/** The prefix of an environment without one, in stores without tables. */
const USUAL_PREFIX = 'launchdarkly';

export function checkPlaces(config: Config, findings: Findings): void {
  const { dynamoDB, redis, environments } = config;
  const stores = storesIn(config);
  if (stores.length === 0) return;
  if (dynamoDB) checkTables(config, findings);
  const [only] = environments;
  if (environments.length === 1 && only?.prefix === '' && !(dynamoDB && only.tableName)) {
    findings.warning(`LD_PREFIX_${only.name} is not set: a second environment will need one`);
  }
  reportFiltersWithoutPrefix(environments, findings);
  if (dynamoDB) {
    const place = ({ tableName }: EnvironmentConfig, prefix: string) => `${tableName ?? dynamoDB.tableName}/${prefix}`;
    reportOverlaps('DynamoDB', environments, place, 'LD_PREFIX_<name> or LD_TABLE_NAME_<name>', findings);
  }
  const byPrefix = (_: EnvironmentConfig, prefix: string) => prefix || USUAL_PREFIX;
  const inCluster = (_: EnvironmentConfig, prefix: string) => withHashTag(prefix || USUAL_PREFIX);
  for (const { name, hasTables } of stores) {
    if (hasTables) continue;
    reportOverlaps(
      name,
      environments,
      name === 'Redis' && redis?.cluster ? inCluster : byPrefix,
      'LD_PREFIX_<name>',
      findings,
    );
  }
  if (redis?.cluster) reportPrefixesWithoutTag(config, findings);
  checkTemplates(config, findings);
}

function checkTables({ dynamoDB, environments, autoConfig, offline }: Config, findings: Findings): void {
  if (dynamoDB?.tableName !== undefined) return;
  for (const { name, tableName } of environments) {
    if (tableName !== undefined) continue;
    findings.problem(`USE_DYNAMODB is set, but no table: set DYNAMODB_TABLE or LD_TABLE_NAME_${name}`);
  }
  if ((autoConfig ?? offline) && (autoConfig ?? offline)?.tableName === undefined) {
    findings.problem('USE_DYNAMODB is set, but no table: set DYNAMODB_TABLE or ENV_DATASTORE_TABLE_NAME');
  }
}

/** A filter key is appended to the prefix, so without a prefix filtered and unfiltered flags would share a place. */
function reportFiltersWithoutPrefix(environments: readonly EnvironmentConfig[], findings: Findings): void {
  for (const { name, prefix, filters } of environments) {
    if (filters.length === 0 || prefix !== '') continue;
    findings.problem(
      `environment ${name} has filters but no prefix: filtered and unfiltered flags would overwrite each other; set LD_PREFIX_${name}`,
    );
  }
}

function reportOverlaps(
  store: string,
  environments: readonly EnvironmentConfig[],
  placeOf: (environment: EnvironmentConfig, prefix: string) => string,
  remedy: string,
  findings: Findings,
): void {
  const owners = new Map<string, string>();
  for (const environment of environments) {
    const { name, prefix, filters } = environment;
    const views = [
      { view: name, place: placeOf(environment, prefix) },
      ...(prefix === ''
        ? []
        : filters.map((filter) => ({
            view: `${name}/${filter}`,
            place: placeOf(environment, filteredPrefix(prefix, filter)),
          }))),
    ];
    for (const { view, place } of views) {
      const owner = owners.get(place);
      if (owner !== undefined) {
        findings.problem(
          `environments ${owner} and ${view} would overwrite each other in ${store}: give each its own ${remedy}`,
        );
      }
      owners.set(place, view);
    }
  }
}

/** All keys of an environment must be on one node, since they change together. A prefix is put in braces, if that helps. */
function reportPrefixesWithoutTag({ environments, autoConfig, offline }: Config, findings: Findings): void {
  const why = 'in a Redis Cluster, all keys of an environment must be on one node';
  for (const { name, prefix } of environments) {
    if (hasHashTag(withHashTag(prefix || USUAL_PREFIX))) continue;
    findings.problem(`LD_PREFIX_${name}: ${why}; put part of the prefix in braces: {${withoutBraces(prefix) || name}}`);
  }
  const template = autoConfig ?? offline;
  if (template && !hasHashTag(withHashTag(template.prefix || USUAL_PREFIX))) {
    const suggestion = withoutBraces(template.prefix) || CLIENT_SIDE_ID;
    findings.problem(`ENV_DATASTORE_PREFIX: ${why}; put part of it in braces: {${suggestion}}`);
  }
}

const withoutBraces = (prefix: string) => prefix.replace(/[{}]/g, '');

/** Environments that are not known yet get different places by their client-side ID. */
function checkTemplates(config: Config, findings: Findings): void {
  const { autoConfig, offline } = config;
  const template = autoConfig ?? offline;
  if (!template || template.prefix.includes(CLIENT_SIDE_ID)) return;
  const tablesHelp = areTablesSeparate(config);
  if (tablesHelp && template.tableName?.includes(CLIENT_SIDE_ID)) return;
  const remedy = `put ${CLIENT_SIDE_ID} in ENV_DATASTORE_PREFIX${tablesHelp ? ' or ENV_DATASTORE_TABLE_NAME' : ''}`;
  if (autoConfig) findings.problem(`environments would overwrite each other in the store: ${remedy}`);
  else findings.warning(`two environments of the archive would overwrite each other in the store: ${remedy}`);
}
