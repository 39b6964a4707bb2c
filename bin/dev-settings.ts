import { boolean, integer, type Reader, text } from '../relay-task/common/setting-values.ts';
import {
  environmentSettings,
  filterSettings,
  linkerVariables,
  settings,
  settingsIn,
} from '../relay-task/config/settings.ts';
import { example } from './dev/edge-host.ts';

/** What `npm start` needs; the relay's own settings are passed through unchanged. */
export interface DevSettings {
  readonly flagsFile: string;
  readonly dynamoDBPort: number;
  readonly edgePort: number;
  /** Undefined: none routes viewers, but rules may. */
  readonly edgeFlag: string | undefined;
  /** Whether somebody named the flag. */
  readonly edgeFlagChosen: boolean;
  readonly edgeRules: string;
  readonly edgeReadsTable: boolean;
  /** The environment whose flags the edge reads, and the key prefix of its items in the table. */
  readonly environment: { readonly name: string; readonly prefix: string; readonly fromFile: boolean };
  /** The relay's variables. */
  readonly variables: Readonly<Record<string, string>>;
}

/** The settings of `npm start` itself. */
export const devSettings = {
  flagsFile: { env: 'FLAGS_FILE', read: text, fallback: example('flags.json'), says: 'flags, JSON or YAML' },
  dynamoDBPort: { env: 'DYNAMODB_PORT', read: integer(0, 65_535), fallback: '8000', says: 'the embedded DynamoDB' },
  edgePort: { env: 'EDGE_PORT', read: integer(0, 65_535), fallback: '8080', says: 'the edge' },
  edgeFlag: {
    env: 'EDGE_FLAG',
    read: text,
    fallback: 'canary-checkout',
    says: 'the flag that routes viewers; `none`: rules alone do',
  },
  edgeRules: {
    env: 'EDGE_RULES',
    read: text,
    fallback: example('rules.json'),
    says: 'rules of the edge router: a JSON list, or an object that has other settings of `edge`, too',
  },
  edgeTable: {
    env: 'EDGE_TABLE',
    read: boolean,
    fallback: 'on',
    says: '`off`: the edge cannot read the table, as in an outage',
  },
  sdkKey: { env: 'LD_SDK_KEY', read: text, fallback: '', says: 'take flags from LaunchDarkly under this SDK key' },
} as const;

export const localTable = 'edge-flag-relay-local';

type Variables = Record<string, string | undefined>;

/**
 * Settings from the environment, overridden by `NAME=value` arguments; or all problems at once. The relay's own
 * settings are checked by the relay.
 */
export function parseDevSettings(
  args: readonly string[],
  environment: Readonly<Variables>,
): { settings: DevSettings } | { problems: readonly string[] } {
  const problems: string[] = [];
  const given: Variables = { ...environment, ...parseArguments(args, problems) };

  const read = <T>({ env, read, fallback }: { env: string; read: Reader<T>; fallback: string }): T => {
    const value = given[env]?.trim() || fallback;
    const result = read(value);
    if ('value' in result) return result.value;
    problems.push(`${env}=${value} is invalid: expected ${result.wanted}`);
    return undefined as T;
  };
  const own = {
    flagsFile: read(devSettings.flagsFile),
    dynamoDBPort: read(devSettings.dynamoDBPort),
    edgePort: read(devSettings.edgePort),
    edgeFlag: read(devSettings.edgeFlag),
    edgeRules: read(devSettings.edgeRules),
    edgeTable: read(devSettings.edgeTable),
    sdkKey: read(devSettings.sdkKey),
  };
  // The output is for a person, so only warnings and errors are logged by default.
  const logLevel = given.LOG_LEVEL?.trim() || 'warn';

  const variables: Record<string, string> = {};
  for (const [name, value] of Object.entries(given)) {
    if (value !== undefined && name !== devSettings.sdkKey.env) variables[name] = value;
  }
  const named = Object.keys(variables).filter((name) => name.startsWith('LD_ENV_') && variables[name]?.trim());
  const fromFile = named.length === 0 && own.sdkKey === '';
  if (named.length === 0) {
    variables.LD_ENV_local = own.sdkKey || 'sdk-local';
    variables.LD_MOBILE_KEY_local ??= 'mob-local';
    variables.LD_CLIENT_SIDE_ID_local ??= 'local';
    if (fromFile) variables.LD_FLAGS_FILE_local = own.flagsFile;
  }
  const names = named.length === 0 ? ['local'] : named.map((name) => name.slice('LD_ENV_'.length));
  for (const name of names) variables[`LD_PREFIX_${name}`] ??= name;
  const name = names[0] ?? 'local';

  if (problems.length > 0) return { problems };
  return {
    settings: {
      flagsFile: own.flagsFile,
      dynamoDBPort: own.dynamoDBPort,
      edgePort: own.edgePort,
      edgeFlag: own.edgeFlag === 'none' ? undefined : own.edgeFlag,
      edgeFlagChosen: Boolean(given[devSettings.edgeFlag.env]?.trim()),
      edgeRules: own.edgeRules,
      edgeReadsTable: own.edgeTable,
      environment: { name, prefix: variables[`LD_PREFIX_${name}`] ?? name, fromFile },
      variables: {
        ...variables,
        LOG_LEVEL: logLevel,
        LISTEN_HOST: variables.LISTEN_HOST ?? '127.0.0.1',
        USE_DYNAMODB: 'true',
        DYNAMODB_TABLE: localTable,
      },
    },
  };
}

function parseArguments(args: readonly string[], problems: string[]): Variables {
  const overlay: Variables = {};
  for (const argument of args) {
    const [, name, value] = /^([A-Za-z]\w*)=(.*)$/s.exec(argument) ?? [];
    if (name === undefined)
      problems.push(
        `Unknown argument ${argument}. Pass settings as NAME=value, e.g. PORT=8031; list: docs/configuration.md`,
      );
    else if (!isSetting(name)) problems.push(`Unknown setting ${name}. Known settings: ${knownSettings().join(', ')}`);
    else overlay[name] = value;
  }
  return overlay;
}

function knownSettings(): string[] {
  return [
    ...Object.values(devSettings).map(({ env }) => env),
    ...settingsIn(settings).map(({ env }) => env),
    ...[...Object.values(environmentSettings), ...Object.values(filterSettings)].map(({ env }) => `${env}<name>`),
  ];
}

function isSetting(name: string): boolean {
  if (linkerVariables.test(name)) return false;
  return knownSettings().some((known) =>
    known.endsWith('<name>') ? name.startsWith(known.slice(0, -'<name>'.length)) : name === known,
  );
}
