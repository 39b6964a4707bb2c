import { readFileSync } from 'node:fs';
import { commandText } from '../../lib/command-text.ts';
import { isObject } from '../../relay-task/common/json.ts';
import { redactSecrets } from '../../relay-task/common/secrets.ts';
import { durationFrom } from '../../relay-task/common/setting-values.ts';
import { parseConfig } from '../../relay-task/config/config.ts';
import { RelayError } from '../../relay-task/errors.ts';
import { JSON_SAYS, parseOptions } from '../cli/usage.ts';
import type { Env } from '../store/arguments.ts';

/** What a client of one environment knows. */
export interface EnvironmentKeys {
  readonly name: string;
  readonly sdkKey?: string | undefined;
  readonly mobileKey?: string | undefined;
  readonly environmentId?: string | undefined;
  /** The key of a payload filter. */
  readonly filter?: string | undefined;
}

export interface CompareCommand {
  readonly old: URL;
  readonly new: URL;
  readonly keys: readonly EnvironmentKeys[];
  /** For whom flags are evaluated. */
  readonly contexts: readonly Readonly<Record<string, unknown>>[];
  /** Of this relay's `/status`, where it is restricted. */
  readonly statusToken?: string | undefined;
  /** How long differences may last. */
  readonly waitMs: number;
  /** Of one request. */
  readonly timeoutMs: number;
  /** How many differences of an environment are printed. */
  readonly show: number;
  readonly json: boolean;
}

export const usage = `Tells whether two relays serve the same flags. Either may be an ld-relay, version 6 to 8. Changes nothing.

  ${commandText('compare', '<old relay>', '<new relay>')}

<old relay> and <new relay> are addresses, such as http://ld-relay:8030.
Keys: LD_ENV_<name>, LD_MOBILE_KEY_<name> and LD_CLIENT_SIDE_ID_<name>, as the relays have them, and:

  --config <file>       also read them from this ld-relay.conf
  --env <name>=<key>    an SDK key; LD_ENV_<name> is better, since arguments are visible to everyone on the machine
  --context <json>      also evaluate flags for this context; may be repeated
  --wait <duration>     how long a difference may last, since a change takes its time; default: 15s
  --timeout <duration>  how long a request may take; default: 30s
  --show <number>       how many differences of an environment are printed; default: 10; --json has all
  --json                ${JSON_SAYS}

STATUS_TOKEN is sent to a relay that restricts /status. NODE_EXTRA_CA_CERTS names authorities that TLS may trust.
Exit codes: 0 the same, 1 different or not completely compared, 2 usage error or no answer from a relay.
`;

const someContexts = [1, 2, 3].map((number) => ({ kind: 'user', key: `compare-${number}` }));

/** Returns the command, or all problems; never repeats a key. Variables are those of the relays. */
export function parseArguments(
  args: readonly string[],
  env: Env,
): CompareCommand | 'help' | { readonly problems: readonly string[] } {
  let parsed: ReturnType<typeof parse>;
  try {
    parsed = parse(args);
  } catch (error) {
    return { problems: [redactSecrets((error as Error).message.replace(/\. To specify.*$/s, ''))] };
  }
  const { values, positionals } = parsed;
  if (values.help) return 'help';
  const problems: string[] = [];
  const [old, fresh, ...more] = positionals;
  if (old === undefined || fresh === undefined)
    problems.push(
      `Two addresses are needed: ${commandText('compare', 'http://old-relay:8030', 'http://new-relay:8030')}`,
    );
  if (more.length > 0) problems.push(`Unexpected argument "${redactSecrets(more.join(' '))}"`);
  const addresses = [old, fresh].map((text) => text !== undefined && addressOf(text, problems));
  const duration = (name: 'wait' | 'timeout', fallback: string) => {
    const text = values[name] ?? fallback;
    const found = durationFrom(name === 'wait' ? 0 : 1, name === 'wait' ? '0s' : '1ms')(text);
    if ('value' in found) return found.value;
    problems.push(`--${name} must be ${found.wanted}, got "${text}"`);
    return 0;
  };
  const [waitMs, timeoutMs] = [duration('wait', '15s'), duration('timeout', '30s')];
  const { show = '10' } = values;
  if (!/^\d{1,6}$/.test(show)) problems.push(`--show must be a number, got "${show}"`);
  const contexts = (values.context ?? []).flatMap((text) => contextOf(text, problems));
  const keys = keysOf(values, env, problems);
  const [oldUrl, newUrl] = addresses;
  if (!oldUrl || !newUrl || problems.length > 0) return { problems };
  return {
    ...{ old: oldUrl, new: newUrl, keys, waitMs, timeoutMs, show: Number(show), json: values.json ?? false },
    ...{ contexts: [...someContexts, ...contexts], statusToken: env.STATUS_TOKEN || undefined },
  };
}

function parse(args: readonly string[]) {
  const text = { type: 'string' } as const;
  const flag = { type: 'boolean' } as const;
  return parseOptions({
    args: [...args],
    allowPositionals: true,
    options: {
      config: text,
      env: { ...text, multiple: true },
      context: { ...text, multiple: true },
      wait: text,
      timeout: text,
      show: text,
      json: flag,
      help: { ...flag, short: 'h' },
    },
  });
}

/** `relay:8030` means http. */
function addressOf(text: string, problems: string[]): URL | undefined {
  const address = /^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `http://${text}`;
  const url = URL.canParse(address) ? new URL(address) : undefined;
  const isHttp = url?.protocol === 'http:' || url?.protocol === 'https:';
  if (url && isHttp && url.hostname !== '' && url.search === '' && url.hash === '') return url;
  problems.push(`"${redactSecrets(text)}" is no address of a relay: expected one such as http://ld-relay:8030`);
  return undefined;
}

function contextOf(text: string, problems: string[]): CompareCommand['contexts'] {
  try {
    const context: unknown = JSON.parse(text);
    if (isObject(context)) return [context];
  } catch {
    // Told below.
  }
  problems.push(`--context must be a JSON object, such as '{"kind":"user","key":"alice"}', got ${text}`);
  return [];
}

const variable = /^LD_(ENV|MOBILE_KEY|CLIENT_SIDE_ID)_(.+)$/;
const members = { ENV: 'sdkKey', MOBILE_KEY: 'mobileKey', CLIENT_SIDE_ID: 'environmentId' } as const;

/** Those of the file, with those of variables and arguments over them, as in the relays. */
function keysOf(values: { config?: string; env?: string[] }, env: Env, problems: string[]): readonly EnvironmentKeys[] {
  const found = new Map<string, EnvironmentKeys>();
  const add = (name: string, more: Partial<EnvironmentKeys>) => found.set(name, { ...found.get(name), ...more, name });
  const filters = new Map<string, readonly string[]>();
  for (const { name, sdkKey, mobileKey, environmentId, filters: its } of environmentsIn(values.config, env, problems)) {
    add(name, { sdkKey, mobileKey, environmentId });
    filters.set(name, its);
  }
  for (const [name, text] of Object.entries(env)) {
    const [, kind, environment] = variable.exec(name) ?? [];
    if (kind && environment && text?.trim()) add(environment, { [members[kind as keyof typeof members]]: text.trim() });
  }
  for (const text of values.env ?? []) {
    const [, name, sdkKey] = /^([^=]+)=(.+)$/.exec(text) ?? [];
    if (name && sdkKey) add(name, { sdkKey });
    else problems.push('--env must be <name>=<SDK key>, such as --env production=sdk-…');
  }
  return [...found.values()].flatMap((keys) => [
    keys,
    ...(filters.get(keys.name) ?? []).map((filter) => ({ ...keys, name: `${keys.name}/${filter}`, filter })),
  ]);
}

/** A file may leave its keys to variables; those that do not name keys are a relay's and not ours. */
function environmentsIn(path: string | undefined, env: Env, problems: string[]) {
  if (path === undefined) return [];
  try {
    const variables = Object.fromEntries(Object.entries(env).filter(([name]) => variable.test(name)));
    return parseConfig(variables, { path, text: readFileSync(path, 'utf8') }).config.environments;
  } catch (error) {
    const told = error instanceof RelayError ? error.message : `Cannot read ${path}: ${(error as Error).message}`;
    problems.push(redactSecrets(told));
    return [];
  }
}
