import { parseArgs } from 'node:util';

export type Env = Readonly<Record<string, string | undefined>>;

/** Where the items of one environment lie. */
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
  /** Nothing is asked before something is removed. */
  readonly yes: boolean;
  readonly json: boolean;
  /** Do not look a second time at what moves: the lease, a publication under way. */
  readonly quick: boolean;
}

export const usage = `What stands in the flag table for an environment.

  npm run store -- show           who writes, revision, sizes, counts, Big Segments, drift
  npm run store -- verify         compares LaunchDarkly's layout with the snapshot, item by item
  npm run store -- drop-snapshot  removes the snapshot; LaunchDarkly's layout stays

  --table <name>        the table; DYNAMODB_TABLE unless told
  --prefix <prefix>     whose items; '' for none
  --environment <name>  whose items, by LD_PREFIX_<name> and LD_TABLE_NAME_<name>
  --region <region>     where the table is; AWS_REGION or the profile's unless told
  --endpoint <url>      another DynamoDB than AWS's; DYNAMODB_URL unless told
  --quick               do not wait for a renewal (show), nor look again at what differs (verify)
  --json                for programs
  --yes                 do not ask before something is removed

Without --prefix and --environment: every environment that has an LD_PREFIX_<name>, else no prefix.
It ends with 0 when all is well, 1 when something differs or was not done, 2 when it could not be understood or read.
`;

const verbs = ['show', 'verify', 'drop-snapshot'] as const;

/** Answers with the command, or with every problem. `env` may hold the relay's variables. */
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
  if (!verb) problems.push(`${word || 'nothing'} is no command: there are ${verbs.join(', ')}`);
  if (more.length > 0) problems.push(`${more.join(' ')} is too much: the environment is named by --prefix`);
  if (values.prefix !== undefined && values.environment !== undefined) {
    problems.push('--prefix and --environment exclude each other');
  }
  const places = placesOf(values, env, problems);
  if (verb === 'drop-snapshot' && values.prefix === undefined && values.environment === undefined) {
    problems.push("drop-snapshot must be told whose: --prefix <prefix> ('' for none) or --environment <name>");
  }
  if (!verb || problems.length > 0) return { problems };
  const { region, yes = false, json = false, quick = false } = values;
  return { verb, places, region, endpoint: values.endpoint ?? env.DYNAMODB_URL, yes, json, quick };
}

function parse(args: readonly string[]) {
  const text = { type: 'string' } as const;
  const flag = { type: 'boolean' } as const;
  return parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      ...{ table: text, prefix: text, environment: text, region: text, endpoint: text },
      ...{ yes: flag, json: flag, quick: flag, help: { ...flag, short: 'h' } },
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
    const there = known.length > 0 ? `there are LD_PREFIX_ variables for ${known.join(', ')}` : 'there is none at all';
    problems.push(`LD_PREFIX_${environment} is not set, so the prefix is not known: say --prefix; ${there}`);
  }
  const place = (name: string | undefined, prefix: string): Place[] => {
    const tableName = table || (name && env[`LD_TABLE_NAME_${name}`]) || env.DYNAMODB_TABLE;
    if (tableName) return [{ tableName, prefix }];
    problems.push(`which table? Say --table <name>, or set DYNAMODB_TABLE${name ? ` or LD_TABLE_NAME_${name}` : ''}`);
    return [];
  };
  if (environment !== undefined) return place(environment, env[`LD_PREFIX_${environment}`] ?? '');
  if (prefix !== undefined || known.length === 0) return place(undefined, prefix ?? '');
  return known.flatMap((name) => place(name, env[`LD_PREFIX_${name}`] ?? ''));
}
