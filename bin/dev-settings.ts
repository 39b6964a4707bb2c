import { commandText } from '../lib/command-text.ts';
import { boolean, integer, type Reader, text } from '../relay-task/common/setting-values.ts';
import { locateVariable, similarVariable } from '../relay-task/config/names.ts';
import { linkerVariables } from '../relay-task/config/settings.ts';
import { example } from './dev/edge-host.ts';

/** What `npm start` needs; the relay's own settings are passed through unchanged. */
export interface DevSettings {
  readonly flagsFile: string;
  /** Whether it is the example, which is never edited: a copy of it is served. */
  readonly isExample: boolean;
  readonly dynamoDBPort: number;
  readonly edgePort: number;
  /** The flag that somebody named; `none`: no flag routes viewers, but rules may. Undefined: one is chosen among the flags. */
  readonly edgeFlag: string | undefined;
  /** Undefined: there are no rules. */
  readonly edgeRules: string | undefined;
  readonly edgeReadsTable: boolean;
  /** The environment whose flags the edge reads, and the key prefix of its items in the table. */
  readonly environment: { readonly name: string; readonly prefix: string; readonly fromFile: boolean };
  /** The relay's variables. */
  readonly variables: Readonly<Record<string, string>>;
  /** One line each. */
  readonly warnings: readonly string[];
}

/** The settings of `npm start` itself. */
export const devSettings = {
  flagsFile: {
    env: 'FLAGS_FILE',
    read: text,
    fallback: example('flags.json'),
    says: 'flags, JSON or YAML. Of the example a copy is served, which you may edit',
  },
  dynamoDBPort: { env: 'DYNAMODB_PORT', read: integer(0, 65_535), fallback: '8000', says: 'the embedded DynamoDB' },
  edgePort: { env: 'EDGE_PORT', read: integer(0, 65_535), fallback: '8080', says: 'the edge' },
  edgeFlag: {
    env: 'EDGE_FLAG',
    read: text,
    fallback: '',
    says: 'the flag that routes viewers, to one sample origin for each of its values; `none`: rules alone do. By default one with several values',
  },
  edgeRules: {
    env: 'EDGE_RULES',
    read: text,
    fallback: example('rules.json'),
    says: 'rules of the edge router: a JSON list, or an object that has other settings of `edge`, too. The default is for the example, other flags have none',
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

/** What `npm start -- --help` prints. */
export const usage = `Runs the whole path on this machine: flags, relay, embedded DynamoDB, edge functions, sample origins.

  ${commandText('start', '[NAME=value …]')}

${Object.values(devSettings)
  .map(
    ({ env, fallback, says }) =>
      `  ${env.padEnd(15)}${says.replaceAll('`', '')}${fallback === '' ? '' : ` (${fallback})`}\n`,
  )
  .join('')}
All settings of the relay work, too: PORT, LOG_LEVEL, LD_ENV_<name> …; see docs/configuration.md. They are arguments or environment variables.
While it runs, try it with ${commandText('try')} in another terminal.
`;

export type ParsedDevSettings =
  | { readonly settings: DevSettings }
  | { readonly problems: readonly string[] }
  | { readonly help: true };

/**
 * Settings from the environment, overridden by `NAME=value` arguments; or all problems at once. The relay's own
 * settings are checked by the relay.
 */
export function parseDevSettings(args: readonly string[], environment: Readonly<Variables>): ParsedDevSettings {
  if (args.some((argument) => /^(--help|-h|help)$/.test(argument))) return { help: true };
  const problems: string[] = [];
  const given: Variables = { ...environment, ...parseArguments(args, problems) };

  const read = <T>({ env, read, fallback }: { env: string; read: Reader<T>; fallback: string }): T => {
    const value = given[env]?.trim() || fallback;
    const result = read(value);
    if ('value' in result) return result.value;
    problems.push(`${env}=${value} is invalid: expected ${result.wanted}`);
    return undefined as T;
  };
  const isGiven = ({ env }: { readonly env: string }) => Boolean(given[env]?.trim());
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
  const isExample = fromFile && !isGiven(devSettings.flagsFile);

  if (problems.length > 0) return { problems };
  return {
    settings: {
      flagsFile: own.flagsFile,
      isExample,
      dynamoDBPort: own.dynamoDBPort,
      edgePort: own.edgePort,
      edgeFlag: own.edgeFlag || undefined,
      // The example's rules name flags of the example.
      edgeRules: isExample || isGiven(devSettings.edgeRules) ? own.edgeRules : undefined,
      edgeReadsTable: own.edgeTable,
      environment: { name, prefix: variables[`LD_PREFIX_${name}`] ?? name, fromFile },
      variables: {
        ...variables,
        LOG_LEVEL: logLevel,
        LISTEN_HOST: variables.LISTEN_HOST ?? '127.0.0.1',
        USE_DYNAMODB: 'true',
        DYNAMODB_TABLE: localTable,
      },
      warnings: lookAlikes(environment),
    },
  };
}

/** Variables that look like settings of `npm start`; the relay warns of those that look like its own. */
function lookAlikes(environment: Readonly<Variables>): string[] {
  const own = Object.values(devSettings).map(({ env }): string => env);
  return Object.keys(environment).flatMap((name) => {
    if (!environment[name]?.trim() || isSetting(name)) return [];
    const similar = similarVariable(name, own);
    if (similar === undefined || !own.includes(similar) || environment[similar]?.trim()) return [];
    return [`${name} has no effect: no such setting; did you mean ${similar}?`];
  });
}

function parseArguments(args: readonly string[], problems: string[]): Variables {
  const overlay: Variables = {};
  const help = `${commandText('start', '--help')} lists the settings`;
  for (const argument of args) {
    const [, name, value] = /^([A-Za-z]\w*)=(.*)$/s.exec(argument) ?? [];
    if (name === undefined) {
      problems.push(`Unknown argument ${argument}. Pass settings as NAME=value, e.g. PORT=8031; ${help}`);
    } else if (!isSetting(name)) {
      const similar = similarVariable(
        name,
        Object.values(devSettings).map(({ env }) => env),
      );
      problems.push(`Unknown setting ${name}${similar === undefined ? `; ${help}` : `: did you mean ${similar}?`}`);
    } else overlay[name] = value;
  }
  return overlay;
}

function isSetting(name: string): boolean {
  if (linkerVariables.test(name)) return false;
  return Object.values(devSettings).some(({ env }) => env === name) || locateVariable(name) !== undefined;
}
