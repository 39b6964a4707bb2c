import { RelayError } from '../errors.ts';
import {
  environmentSettings,
  ignoredEnvironmentPrefixes,
  ignoredForNow,
  linkerVariables,
  refusedForNow,
  type Setting,
  settings,
} from './settings.ts';

type Values<Table extends Record<string, Setting<unknown>>> = {
  readonly [Name in keyof Table]: Table[Name] extends Setting<infer T>
    ? Table[Name]['fallback'] extends string
      ? T
      : T | undefined
    : never;
};

export interface EnvironmentConfig extends Omit<Values<typeof environmentSettings>, 'sdkKey'> {
  readonly name: string;
  readonly sdkKey: string;
}

export interface Config extends Values<typeof settings> {
  readonly environments: readonly EnvironmentConfig[];
}

export type Variables = Readonly<Record<string, string | undefined>>;

/**
 * Reads the whole configuration from environment variables.
 * Throws RelayError CONFIG_INVALID whose message lists every problem, each naming variable, value and what would do.
 * Secrets are never repeated in a message.
 */
export function parseConfig(variables: Variables): { config: Config; warnings: readonly string[] } {
  const problems: string[] = [];
  const warnings: string[] = [];

  const read = (setting: Setting<unknown>, variable: string): unknown => {
    const given = variables[variable]?.trim() || setting.fallback;
    if (given === undefined) return undefined;
    const result = setting.read(given);
    if ('value' in result) return result.value;
    problems.push(`${variable}=${masked(given)} is not understood: it must be ${result.wanted}`);
    return undefined;
  };
  // The mapped type above is what makes these two casts true: each name is filled from its own row.
  const readAll = <Table extends Record<string, Setting<unknown>>>(table: Table, suffix: string) =>
    Object.fromEntries(
      Object.entries(table).map(([name, setting]) => [name, read(setting, setting.env + suffix)]),
    ) as unknown as Values<Table>;

  const names = Object.keys(variables)
    .filter((variable) => variable.startsWith('LD_ENV_') && variable.length > 'LD_ENV_'.length)
    .map((variable) => variable.slice('LD_ENV_'.length));
  const environments = names.map((name) => {
    const values = readAll(environmentSettings, name);
    if (!values.sdkKey) problems.push(`LD_ENV_${name} is empty: it must be the SDK key of environment ${name}`);
    return { ...values, name, sdkKey: values.sdkKey ?? '' };
  });

  const config: Config = { ...readAll(settings, ''), environments };
  checkVariables(variables, new Set(names), problems, warnings);
  checkTogether(config, problems, warnings);
  if (problems.length > 0) throw new RelayError('CONFIG_INVALID', problems.join('; '));
  return { config, warnings };
}

/** A key pasted into the wrong variable must not reach a log. */
function masked(value: string): string {
  return /^(sdk|mob|rel|api)-/.test(value) ? `${value.slice(0, 4)}…` : value;
}

function checkVariables(variables: Variables, names: Set<string>, problems: string[], warnings: string[]): void {
  for (const variable of refusedForNow) {
    if (!/^(|false|0|no)$/i.test(variables[variable]?.trim() ?? ''))
      problems.push(`${variable} is not supported by this version: unset it`);
  }
  const ignored = ignoredForNow.filter((variable) => variables[variable]?.trim());
  for (const variable of Object.keys(variables)) {
    if (!variable.startsWith('LD_') || linkerVariables.test(variable)) continue;
    if (ignoredEnvironmentPrefixes.some((prefix) => variable.startsWith(prefix))) {
      warnings.push(`${variable} has no effect in this version`);
      continue;
    }
    const prefix = Object.values(environmentSettings).find(({ env }) => variable.startsWith(env))?.env;
    if (prefix === undefined || variable === prefix) {
      const families = Object.values(environmentSettings).map(({ env }) => `${env}<name>`);
      problems.push(`${variable} is not a setting: those that begin with LD_ are ${families.join(', ')}`);
    } else if (!names.has(variable.slice(prefix.length))) {
      warnings.push(`${variable} has no effect: there is no LD_ENV_${variable.slice(prefix.length)}`);
    }
  }
  if (ignored.length > 0) warnings.push(`${ignored.join(', ')}: no effect in this version`);
}

function checkTogether(config: Config, problems: string[], warnings: string[]): void {
  const { environments } = config;
  if (environments.length === 0) problems.push('no environment: set LD_ENV_<name> to its SDK key');
  reportTwins(environments, problems);
  if (!config.useDynamoDB) return;
  for (const { name, tableName } of environments) {
    if (tableName === undefined && config.dynamoDBTable === undefined) {
      problems.push(`USE_DYNAMODB is set, but no table: set DYNAMODB_TABLE or LD_TABLE_NAME_${name}`);
    }
  }
  const places = new Map<string, string>();
  for (const { name, prefix, tableName } of environments) {
    const place = `${tableName ?? config.dynamoDBTable}/${prefix}`;
    const other = places.get(place);
    if (other !== undefined) {
      problems.push(
        `environments ${other} and ${name} would write over each other: give each its own LD_PREFIX_<name> or LD_TABLE_NAME_<name>`,
      );
    }
    places.set(place, name);
  }
  if (environments.length === 1 && environments[0]?.prefix === '') {
    warnings.push(`LD_PREFIX_${environments[0].name} is not set: a second environment will need one`);
  }
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
