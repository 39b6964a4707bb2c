import { counted } from '../../relay-task/common/counted.ts';
import { list } from '../../relay-task/common/setting-values.ts';
import { createOutbound } from '../../relay-task/upstream/outbound.ts';
import { bad, type Check, good, note, unknown } from '../checks/check.ts';
import { type Paper, printable, sentencesOf } from '../checks/print.ts';
import { usageLine } from '../cli/usage.ts';
import type { Env } from '../store/arguments.ts';
import { type CompareCommand, parseArguments, usage } from './arguments.ts';
import { NoAnswer, type Relay } from './ask.ts';
import type { Difference } from './items.ts';
import { forwardsEvents, type Look, look, type Sides } from './look.ts';
import { type Pair, pairUp } from './pairs.ts';
import { type RelayStatus, readStatus } from './relay-status.ts';
import { statusChecks } from './status-checks.ts';

interface CompareRun {
  /** Results. */
  out(text: string): void;
  /** Errors. */
  say(text: string): void;
  /** May hold the relays' variables. */
  readonly env: Env;
  readonly paper?: Paper;
  /** Between two looks; for tests. */
  readonly pause: (ms: number) => Promise<unknown>;
  /** ms; for tests. */
  readonly now?: () => number;
  /** Of an answer, unpacked; for tests. */
  readonly maxBytes?: number;
}

interface Result {
  readonly name: string;
  readonly counts: Look['counts'];
  readonly differences: readonly Difference[];
  readonly notes: readonly Difference[];
  readonly checks: readonly Check[];
}

/** Larger ones would not fit into the memory of a relay either. */
const MOST_BYTES = 512 * 1024 * 1024;
/** Environments that are looked at at the same time: their flags are held meanwhile. */
const AT_ONCE = 4;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 4_000;

/** Returns the exit code: 0 the same, 1 different or not completely compared, 2 usage error or no answer from a relay. */
export async function runCompare(args: readonly string[], run: CompareRun): Promise<number> {
  const command = parseArguments(args, run.env);
  if (command === 'help') {
    run.out(usage);
    return 0;
  }
  if ('problems' in command) {
    for (const problem of command.problems) run.say(`${problem}\n`);
    run.say(usageLine('compare'));
    return 2;
  }
  const files = list(run.env.PROXY_CA_CERTS ?? '');
  const outbound = createOutbound({ caCertFiles: 'value' in files ? files.value : [], env: run.env });
  const { timeoutMs } = command;
  const relayOn = (side: 'old' | 'new'): Relay => ({
    ...{ side, called: `the ${side} relay`, url: command[side], outbound, timeoutMs },
    ...{ maxBytes: run.maxBytes ?? MOST_BYTES, held: new Map() },
  });
  const sides = { old: relayOn('old'), new: relayOn('new') };
  try {
    return await compare(command, sides, run);
  } catch (error) {
    if (!(error instanceof NoAnswer)) throw error;
    run.say(`${line(capital(error.message))}${error.advice === undefined ? '' : `    → ${error.advice}\n`}`);
    return 2;
  }
}

async function compare(command: CompareCommand, sides: Sides, run: CompareRun): Promise<number> {
  const { keys, statusToken } = command;
  const credentials = [statusToken, ...keys.map(({ sdkKey }) => sdkKey)].filter((key) => key !== undefined);
  const [old, fresh] = await Promise.all([readStatus(sides.old, credentials), readStatus(sides.new, credentials)]);
  const statuses = { old: 'why' in old ? undefined : old, new: 'why' in fresh ? undefined : fresh };
  const hidden = [old, fresh].flatMap((status) => ('why' in status ? [hiddenStatus(status.why)] : []));
  const results: Result[] = [];
  const pairs = pairUp(keys, statuses.old, statuses.new);
  for (let at = 0; at < pairs.length; at += AT_ONCE) {
    const some = pairs.slice(at, at + AT_ONCE);
    results.push(...(await Promise.all(some.map((pair) => comparePair(pair, command, sides, statuses, run)))));
  }
  const verdict = verdictOf(results);
  if (command.json) run.out(jsonOf(command, statuses, hidden, results, verdict));
  else run.out(textOf(command, statuses, hidden, results, verdict, run.paper ?? {}));
  return verdict.same ? 0 : 1;
}

function hiddenStatus({ message, status }: NoAnswer): Check {
  const advice = status === 401 ? 'set STATUS_TOKEN to the token of its /status' : undefined;
  return note('status', '/status', `${message}, so only environments whose keys are given are compared`, advice);
}

interface Statuses {
  readonly old: RelayStatus | undefined;
  readonly new: RelayStatus | undefined;
}

async function comparePair(
  pair: Pair,
  command: CompareCommand,
  sides: Sides,
  statuses: Statuses,
  run: CompareRun,
): Promise<Result> {
  const { name, keys, old, new: fresh } = pair;
  const result = { name, counts: undefined, differences: [], notes: [], checks: [] };
  const alone = loneCheck(pair, statuses);
  if (alone) return { ...result, checks: [alone] };
  const offered = statusChecks(pair);
  if (keys?.sdkKey === undefined) {
    const advice = `set LD_ENV_<name> to its SDK key, or pass --config ld-relay.conf or --env "${name}=<SDK key>"`;
    const missing = unknown(
      'environment',
      name,
      `${name}: its flags were not compared, since its SDK key is not known`,
      advice,
    );
    return { ...result, checks: [missing, ...offered] };
  }
  const lookout = {
    ...{ sides, keys, name, contexts: command.contexts, usersOnly: knowsUsersOnly(statuses) },
    credentials: {
      // A relay that hides its status may have them.
      environmentId: keys.environmentId ?? (fresh ?? old)?.environmentId,
      mobileKey: keys.mobileKey,
    },
  };
  const found = await lookUntilSame(() => look(lookout), command.waitMs, run);
  const events = await eventCheck(name, keys.sdkKey, sides).catch((error: unknown) => {
    if (error instanceof NoAnswer) return [];
    throw error;
  });
  const { counts, differences, notes, answers } = found;
  // A relay that has no data answers questions about events with 503, too.
  const checks = [...found.checks, ...offered, ...(counts ? events : [])];
  const isSame =
    counts && differences.length === 0 && checks.every(({ state }) => state !== 'bad' && state !== 'unknown');
  return {
    ...result,
    counts,
    differences,
    notes,
    checks: isSame ? [sameCheck(name, counts, answers), ...checks] : checks,
  };
}

function sameCheck(name: string, { flags, segments }: NonNullable<Look['counts']>, answers: number): Check {
  const evaluated = answers > 0 ? `, and ${counted(answers, 'evaluation')} with the same values` : '';
  return good(
    'environment',
    name,
    `${name}: the same ${counted(flags, 'flag')} and ${counted(segments, 'segment')}${evaluated}`,
  );
}

/** An environment that one relay has and the other does not. */
function loneCheck({ name, old, new: fresh }: Pair, statuses: Statuses): Check | undefined {
  if (old && !fresh && statuses.new) {
    const advice = 'give the new relay its SDK key: LD_ENV_<name>, or the same ld-relay.conf';
    return bad('environment', name, `${name}: only the old relay serves this environment`, advice);
  }
  if (fresh && !old && statuses.old)
    return note('environment', name, `${name}: only the new relay serves this environment`);
  if (!old && !fresh && statuses.old && statuses.new)
    return unknown(
      'environment',
      name,
      `${name}: neither relay serves this environment`,
      'check the key that is given for it',
    );
  return undefined;
}

/** ld-relay 6 knows no other contexts. */
function knowsUsersOnly({ old, new: fresh }: Statuses): boolean {
  return [old, fresh].some((status) => status?.product === 'ld-relay' && /^[1-6]\./.test(status.version));
}

async function eventCheck(name: string, sdkKey: string, sides: Sides): Promise<Check[]> {
  const [old, fresh] = await Promise.all([forwardsEvents(sides.old, sdkKey), forwardsEvents(sides.new, sdkKey)]);
  if (old === true && fresh === false)
    return [
      bad(
        'events',
        name,
        `${name}: the old relay forwards events, the new one does not`,
        'set USE_EVENTS=true for the new relay',
      ),
    ];
  if (old === false && fresh === true)
    return [note('events', name, `${name}: the new relay forwards events, the old one does not`)];
  return [];
}

/** A change reaches the two relays at different times, so what differs is looked at again. */
async function lookUntilSame(lookOnce: () => Promise<Look>, waitMs: number, run: CompareRun): Promise<Look> {
  const now = run.now ?? (() => performance.now());
  const endsAt = now() + waitMs;
  let before: Look | undefined;
  for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS)) {
    const found = await lookOnce();
    const restMs = endsAt - now();
    if (!found.isEarly && found.differences.length === 0) return found;
    if (restMs <= 0) return { ...found, differences: marked(found.differences, before) };
    before = found;
    await run.pause(Math.min(pauseMs, restMs));
  }
}

/** What differs in another way than at the look before may be the same in a moment. */
function marked(differences: readonly Difference[], before: Look | undefined): readonly Difference[] {
  if (!before) return differences;
  const textOfEach = ({ kind, key, what }: Difference) => `${kind} ${key} ${what}`;
  const known = new Set(before.differences.map(textOfEach));
  return differences.map((each) =>
    known.has(textOfEach(each)) ? each : { ...each, what: `${each.what} (still changing: compare again)` },
  );
}

interface Verdict {
  readonly same: boolean;
  readonly text: string;
  readonly different: number;
  readonly unknown: number;
}

function verdictOf(results: readonly Result[]): Verdict {
  const has = ({ checks, differences }: Result, state: Check['state']) =>
    checks.some((check) => check.state === state) || (state === 'bad' && differences.length > 0);
  const different = results.filter((result) => has(result, 'bad')).length;
  const notCompared = results.filter((result) => has(result, 'unknown') && !has(result, 'bad')).length;
  const counts = { different, unknown: notCompared };
  const all = counted(results.length, 'environment');
  if (results.length === 0)
    return {
      ...counts,
      same: false,
      text: 'Nothing was compared: neither relay shows an environment, and no key is given.',
    };
  if (different > 0) {
    const rest = notCompared > 0 ? `, and ${notCompared} could not be compared completely` : '';
    return {
      ...counts,
      same: false,
      text: `The relays do not serve the same: ${different} of ${all} differ${different === 1 ? 's' : ''}${rest}.`,
    };
  }
  if (notCompared > 0)
    return {
      ...counts,
      same: false,
      text: `No difference was found, but ${notCompared} of ${all} could not be compared completely.`,
    };
  return { ...counts, same: true, text: `The relays serve the same: ${all}.` };
}

function textOf(
  command: CompareCommand,
  statuses: Statuses,
  hidden: readonly Check[],
  results: readonly Result[],
  verdict: Verdict,
  paper: Paper,
): string {
  const heads = (['old', 'new'] as const).map((side) => {
    const status = statuses[side];
    const what = status
      ? `${status.product} ${status.version}, ${status.status}, ${counted(status.environments.length, 'environment')}`
      : 'hides its status';
    return line(`${side} relay: ${addressOf(command[side])} (${what})`);
  });
  const bodies = results.map((result) => {
    const [count, ...checks] = checksOf(result);
    const lines = count === undefined ? '' : sentencesOf([count], paper);
    return lines + differencesOf(result, command.show) + sentencesOf(checks, paper);
  });
  return [...heads, sentencesOf(hidden, paper), '\n', ...bodies, '\n', `${verdict.text}\n`].join('');
}

/** With a line that counts the differences, which follow. */
function checksOf({ name, counts, differences, checks }: Result): readonly Check[] {
  if (differences.length === 0) return checks;
  const of = counts ? ` among ${counted(counts.flags, 'flag')} and ${counted(counts.segments, 'segment')}` : '';
  return [bad('environment', name, `${name}: ${counted(differences.length, 'difference')}${of}`), ...checks];
}

function differencesOf({ differences, notes }: Result, show: number): string {
  const lines = [...differences.slice(0, show), ...notes.slice(0, show)].map((each, index) =>
    line(`    ${index < Math.min(show, differences.length) ? '' : 'harmless: '}${each.kind} ${each.key}: ${each.what}`),
  );
  const more = Math.max(0, differences.length - show) + Math.max(0, notes.length - show);
  return lines.join('') + (more > 0 ? `    and ${more} more: pass --show ${show + more}, or --json\n` : '');
}

function jsonOf(
  command: CompareCommand,
  statuses: Statuses,
  hidden: readonly Check[],
  results: readonly Result[],
  verdict: Verdict,
): string {
  const relay = (side: 'old' | 'new') => {
    const { product, version, status } = statuses[side] ?? {};
    return { url: addressOf(command[side]), product, version, status };
  };
  const { same, text, different, unknown: notCompared } = verdict;
  const environments = results.map(({ name, counts, differences, notes, checks }) => ({
    ...{ name, ...counts, differences, notes, checks },
  }));
  const value = {
    same,
    verdict: text,
    different,
    unknown: notCompared,
    old: relay('old'),
    new: relay('new'),
    status: hidden,
    environments,
  };
  return `${JSON.stringify(value, undefined, 2)}\n`;
}

/** Without user and password. */
function addressOf({ protocol, host, pathname }: URL): string {
  return `${protocol}//${host}${pathname.replace(/\/$/, '')}`;
}

/** What a relay says of itself and of its flags cannot end the line, nor do anything else to a terminal. */
const line = (text: string) => `${printable(text).replaceAll('\n', ' ')}\n`;

const capital = (text: string) => text.charAt(0).toUpperCase() + text.slice(1);
