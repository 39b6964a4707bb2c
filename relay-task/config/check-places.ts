/** Every environment, filtered or not, needs a place of its own in every store. */
import type { Config, EnvironmentConfig, EnvironmentTemplate } from './config.ts';

const CLIENT_SIDE_ID = '$CID';
/** What Redis and Consul say where an environment has no prefix. */
const USUAL_PREFIX = 'launchdarkly';

export function checkPlaces(config: Config, problems: string[], warnings: string[]): void {
  const { dynamoDB, redis, consul, environments } = config;
  if (!dynamoDB && !redis && !consul) return;
  if (dynamoDB) checkTables(config, problems);
  const [only] = environments;
  if (environments.length === 1 && only?.prefix === '' && !(dynamoDB && only.tableName)) {
    warnings.push(`LD_PREFIX_${only.name} is not set: a second environment will need one`);
  }
  reportFiltersWithoutPrefix(environments, problems);
  if (dynamoDB) {
    const place = ({ tableName }: EnvironmentConfig, prefix: string) => `${tableName ?? dynamoDB.tableName}/${prefix}`;
    reportOverlaps('DynamoDB', environments, place, 'LD_PREFIX_<name> or LD_TABLE_NAME_<name>', problems);
  }
  const byPrefix = (_: EnvironmentConfig, prefix: string) => prefix || USUAL_PREFIX;
  if (redis) reportOverlaps('Redis', environments, byPrefix, 'LD_PREFIX_<name>', problems);
  if (consul) reportOverlaps('Consul', environments, byPrefix, 'LD_PREFIX_<name>', problems);
  if (redis?.cluster) reportPrefixesWithoutBraces(config, problems);
  checkTemplates(config, problems, warnings);
}

function checkTables({ dynamoDB, environments, autoConfig, offline }: Config, problems: string[]): void {
  if (dynamoDB?.tableName !== undefined) return;
  for (const { name, tableName } of environments) {
    if (tableName !== undefined) continue;
    problems.push(`USE_DYNAMODB is set, but no table: set DYNAMODB_TABLE or LD_TABLE_NAME_${name}`);
  }
  if ((autoConfig ?? offline) && (autoConfig ?? offline)?.tableName === undefined) {
    problems.push('USE_DYNAMODB is set, but no table: set DYNAMODB_TABLE or ENV_DATASTORE_TABLE_NAME');
  }
}

/** A filter's key is put behind the prefix; behind none it would be lost, and with it the difference. */
function reportFiltersWithoutPrefix(environments: readonly EnvironmentConfig[], problems: string[]): void {
  for (const { name, prefix, filters } of environments) {
    if (filters.length === 0 || prefix !== '') continue;
    problems.push(
      `environment ${name} has filters and no prefix: filtered and unfiltered flags would write over each other, set LD_PREFIX_${name}`,
    );
  }
}

function reportOverlaps(
  store: string,
  environments: readonly EnvironmentConfig[],
  placeOf: (environment: EnvironmentConfig, prefix: string) => string,
  remedy: string,
  problems: string[],
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
            place: placeOf(environment, `${prefix}/${filter}`),
          }))),
    ];
    for (const { view, place } of views) {
      const owner = owners.get(place);
      if (owner !== undefined) {
        problems.push(
          `environments ${owner} and ${view} would write over each other in ${store}: give each its own ${remedy}`,
        );
      }
      owners.set(place, view);
    }
  }
}

/** All keys of an environment have to lie on one node, since they change together. */
function reportPrefixesWithoutBraces({ environments, autoConfig, offline }: Config, problems: string[]): void {
  const why = 'in a Redis Cluster all keys of an environment have to lie on one node';
  for (const { name, prefix } of environments) {
    if (hasHashTag(prefix)) continue;
    problems.push(`LD_PREFIX_${name}: ${why}, put a part of the prefix into braces: {${prefix || name}}`);
  }
  const template = autoConfig ?? offline;
  if (template && !hasHashTag(template.prefix)) {
    problems.push(`ENV_DATASTORE_PREFIX: ${why}, put a part of it into braces: {${template.prefix || CLIENT_SIDE_ID}}`);
  }
}

/** What Redis hashes instead of the whole key: from the first brace to the next closing one, if anything is between. */
function hasHashTag(prefix: string): boolean {
  return /^[^{]*\{[^}]+\}/.test(prefix);
}

/** Environments that are not known yet are told apart by their client-side ID. */
function checkTemplates(
  { autoConfig, offline, dynamoDB, redis, consul }: Config,
  problems: string[],
  warnings: string[],
): void {
  const template: EnvironmentTemplate | undefined = autoConfig ?? offline;
  if (!template || template.prefix.includes(CLIENT_SIDE_ID)) return;
  const apartByTable = template.tableName?.includes(CLIENT_SIDE_ID) && dynamoDB && !redis && !consul;
  if (apartByTable) return;
  const remedy = `put ${CLIENT_SIDE_ID} into ENV_DATASTORE_PREFIX${dynamoDB && !redis && !consul ? ' or ENV_DATASTORE_TABLE_NAME' : ''}`;
  if (autoConfig) problems.push(`environments would write over each other in the store: ${remedy}`);
  else warnings.push(`two environments of the archive would write over each other in the store: ${remedy}`);
}
