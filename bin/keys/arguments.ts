import { commandText } from '../../lib/command-text.ts';
import { holdsKey } from '../../relay-task/common/secrets.ts';
import { durationFrom } from '../../relay-task/common/setting-values.ts';
import {
  isParameterName,
  levelPattern,
  type SsmParameterName,
  ssmParameters,
} from '../../relay-task/environments/ssm-parameters.ts';
import { describeUnknown, wrapWords } from '../cli/usage.ts';

interface KeysOptions {
  readonly region?: string;
  readonly endpoint?: string;
  /** Skip confirmation of changes that cannot be undone. */
  readonly yes: boolean;
}

export type KeysCommand = KeysOptions & { readonly stage: string } & (
    | { readonly verb: 'list'; readonly ends: boolean }
    | { readonly verb: 'put'; readonly environment: string; readonly what: SsmParameterName; readonly kmsKey?: string }
    | { readonly verb: 'rotate'; readonly environment: string; readonly graceMs: number; readonly kmsKey?: string }
    | { readonly verb: 'revoke'; readonly environment: string; readonly what: Revocable }
  );

const revocable = ['sdk-key', 'previous-sdk-key', 'mobile-key', 'client-side-id', 'environment'] as const;
type Revocable = (typeof revocable)[number];

const names = Object.keys(ssmParameters).filter((name) => name !== 'revoked');

export const usage = `Manages environments' keys and settings in SSM Parameter Store.

  ${commandText('keys', 'list <stage> [--ends]')}
  ${commandText('keys', 'put <stage> <environment> <what> [--kms-key <id>]')}
  ${commandText('keys', 'rotate <stage> <environment> [--grace 24h] [--kms-key <id>]')}
  ${commandText('keys', 'revoke <stage> <environment> <what>')}

<what> of put:    ${wrapWords(names, 18)}
<what> of revoke: ${revocable.join(', ')}

Values are read from standard input, or prompted for on a terminal; never pass them as arguments.

  --region <region>   default: the stage's home region
  --endpoint <url>    use this SSM endpoint instead of AWS's
  --kms-key <id>      KMS key to encrypt with; default: the stage's, else alias/aws/ssm
  --grace <duration>  how long the previous SDK key is still accepted; default: 24h
  --ends              show the last four characters of keys
  --yes               do not ask for confirmation

Exit codes: 0 success, 1 failure, 2 usage error.
`;

const withValue = ['--region', '--endpoint', '--kms-key', '--grace'] as const;
const switches = ['--yes', '--ends', '--help', '-h'] as const;
const optionsOf: Record<string, readonly string[]> = {
  list: ['--ends'],
  put: ['--kms-key'],
  rotate: ['--grace', '--kms-key'],
  revoke: [],
};

const verbs = Object.keys(optionsOf);

const leaked =
  'An argument looks like a key. Arguments stay in the shell’s history and are visible to everyone on the machine. ' +
  'Leave the value out: you will be prompted, or pipe it in. Treat this key as compromised and reset it in LaunchDarkly.';

/** Returns the command, or all problems; never echoes an argument that may be a key. */
export function parseArguments(
  args: readonly string[],
): KeysCommand | 'help' | { readonly problems: readonly string[] } {
  if (args.some(holdsKey)) return { problems: [leaked] };
  const problems: string[] = [];
  const options = new Map<string, string>();
  const words: string[] = [];
  for (let index = 0; index < args.length; index++) {
    const [name = '', inline] = /^(--[^=]+)=(.*)$/s.exec(args[index] ?? '')?.slice(1) ?? [args[index]];
    if (!name.startsWith('-')) words.push(name);
    else if (isOneOf(switches, name)) options.set(name, '');
    else if (isOneOf(withValue, name)) {
      const value = inline ?? args[++index];
      if (value) options.set(name, value);
      else problems.push(`${name} needs a value`);
    } else problems.push(describeUnknown('option', name, [...withValue, ...switches]));
  }
  if (options.has('--help') || options.has('-h') || args.length === 0) return 'help';

  const [verb = '', stage = '', environment = '', what = '', ...more] = words;
  const allowed = optionsOf[verb];
  if (allowed === undefined)
    return {
      problems: [verb ? describeUnknown('command', verb, verbs) : `No command given. Commands: ${verbs.join(', ')}`],
    };
  for (const name of options.keys()) {
    if (!['--region', '--endpoint', '--yes', ...allowed].includes(name))
      problems.push(`${name} does not apply to ${verb}`);
  }
  const needsEnvironment = verb !== 'list';
  const needsWhat = verb === 'put' || verb === 'revoke';
  for (const [name, value, needed] of [
    ['stage', stage, true],
    ['environment', environment, needsEnvironment],
  ] as const) {
    if (needed && !levelPattern.test(value)) problems.push(`<${name}> is required: letters, digits, _ . -`);
  }
  if (words.length > 2 + Number(needsEnvironment) + Number(needsWhat) || more.length > 0) {
    problems.push('Too many arguments. The extra one is not shown because it may be a key; values are prompted for');
  }
  if (verb === 'put' && (!isParameterName(what) || what === 'revoked'))
    problems.push(`<what> must be one of ${names.join(', ')}`);
  if (verb === 'revoke' && !isOneOf(revocable, what)) problems.push(`<what> must be one of ${revocable.join(', ')}`);
  const grace = durationFrom(0, '0')(options.get('--grace') ?? '24h');
  if (!('value' in grace)) problems.push(`--grace must be ${grace.wanted}`);
  if (problems.length > 0) return { problems };

  const value = (name: string, key: string) => (options.has(name) ? { [key]: options.get(name) } : {});
  return {
    verb,
    stage,
    environment,
    what,
    yes: options.has('--yes'),
    ends: options.has('--ends'),
    ...value('--region', 'region'),
    ...value('--endpoint', 'endpoint'),
    ...value('--kms-key', 'kmsKey'),
    graceMs: 'value' in grace ? grace.value : 0,
    // Every field was checked above for its verb.
  } as unknown as KeysCommand;
}

function isOneOf<T extends string>(all: readonly T[], text: string): text is T {
  return (all as readonly string[]).includes(text);
}
