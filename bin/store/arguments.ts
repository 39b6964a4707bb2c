import { commandText } from '../../lib/command-text.ts';
import { describeUnknown, parseOptions } from '../cli/usage.ts';

export type Env = Readonly<Record<string, string | undefined>>;

/** Where one environment's items are stored. */
export interface Place {
  readonly tableName: string;
  /** '' for none. */
  readonly prefix: string;
}

export interface StoreCommand {
  readonly verb: 'show' | 'verify' | 'drop-snapshot';
  /** At least one; exactly one to drop. */
  readonly places: readonly Place[];
  readonly region?: string | undefined;
  readonly endpoint?: string | undefined;
  /** Remove without confirmation. */
  readonly yes: boolean;
  readonly json: boolean;
  /** Do not wait for what may change: the lease, a publication in progress. */
  readonly quick: boolean;
}

export const usage = `Inspects an environment's data in the flag table.

  ${commandText('store', 'show')}           writer, revision, sizes, counts, Big Segments, drift
  ${commandText('store', 'verify')}         compare LaunchDarkly's layout with the snapshot, item by item
  ${commandText('store', 'drop-snapshot')}  remove the snapshot; keep LaunchDarkly's layout

  --table <name>        default: DYNAMODB_TABLE
  --prefix <prefix>     the environment's key prefix; '' for none
  --environment <name>  use LD_PREFIX_<name> and LD_TABLE_NAME_<name>
  --region <region>     default: AWS_REGION or the profile's region
  --endpoint <url>      use this DynamoDB endpoint instead of AWS's; default: DYNAMODB_URL
  --quick               do not wait for a lease renewal (show) or re-check differences (verify)
  --json                machine-readable output
  --yes                 do not ask for confirmation

Without --prefix and --environment: every environment with an LD_PREFIX_<name>, else no prefix.
Exit codes: 0 success, 1 differences found or not done, 2 usage error or table unreadable.
`;

const verbs = ['show', 'verify', 'drop-snapshot'] as const;

/** Returns the command, or all problems. `env` may hold the relay's variables. */
export function parseArguments(
  args: readonly string[],
  env: Env,
): StoreCommand | 'help' | { readonly problems: readonly string[] } {
  if (args.length === 0) return 'help';
  let parsed: ReturnType<typeof parse>;
  try {
    parsed = parse(args);
  } catch (error) {
    return { problems: [(error as Error).message.replace(/\. To specify.*$/s, '')] };
  }
  const { values, positionals } = parsed;
  if (values.help) return 'help';
  const problems: string[] = [];
  const [word = '', ...more] = positionals;
  const verb = verbs.find((one) => one === word);
  if (!verb)
    problems.push(word ? describeUnknown('command', word, verbs) : `No command given. Commands: ${verbs.join(', ')}`);
  if (more.length > 0)
    problems.push(`Unexpected argument "${more.join(' ')}". Use --prefix to choose the environment.`);
  if (values.prefix !== undefined && values.environment !== undefined) {
    problems.push('--prefix and --environment cannot be combined');
  }
  const places = placesOf(values, env, problems);
  if (verb === 'drop-snapshot' && values.prefix === undefined && values.environment === undefined) {
    problems.push("drop-snapshot requires --prefix <prefix> ('' for none) or --environment <name>");
  }
  if (!verb || problems.length > 0) return { problems };
  const { region, yes = false, json = false, quick = false } = values;
  return { verb, places, region, endpoint: values.endpoint ?? env.DYNAMODB_URL, yes, json, quick };
}

function parse(args: readonly string[]) {
  const text = { type: 'string' } as const;
  const flag = { type: 'boolean' } as const;
  return parseOptions({
    args: [...args],
    allowPositionals: true,
    options: {
      table: text,
      prefix: text,
      environment: text,
      region: text,
      endpoint: text,
      yes: flag,
      json: flag,
      quick: flag,
      help: { ...flag, short: 'h' },
    },
  });
}

function placesOf(
  { table, prefix, environment }: { table?: string; prefix?: string; environment?: string },
  env: Env,
  problems: string[],
): readonly Place[] {
  const prefixes = Object.keys(env).filter((name) => name.startsWith('LD_PREFIX_') && env[name]);
  const known = prefixes.map((name) => name.slice('LD_PREFIX_'.length));
  if (environment !== undefined && env[`LD_PREFIX_${environment}`] === undefined) {
    const there =
      known.length > 0 ? `LD_PREFIX_ variables exist for ${known.join(', ')}` : 'no LD_PREFIX_ variable is set';
    problems.push(`LD_PREFIX_${environment} is not set, so the prefix is unknown. Pass --prefix; ${there}`);
  }
  const place = (name: string | undefined, prefix: string): Place[] => {
    const tableName = table || (name && env[`LD_TABLE_NAME_${name}`]) || env.DYNAMODB_TABLE;
    if (tableName) return [{ tableName, prefix }];
    problems.push(
      `No table given. Pass --table <name> or set DYNAMODB_TABLE${name ? ` or LD_TABLE_NAME_${name}` : ''}.`,
    );
    return [];
  };
  if (environment !== undefined) return place(environment, env[`LD_PREFIX_${environment}`] ?? '');
  if (prefix !== undefined || known.length === 0) return place(undefined, prefix ?? '');
  return known.flatMap((name) => place(name, env[`LD_PREFIX_${name}`] ?? ''));
}
