/** One look at an environment on both relays: what clients of every kind get. */
import { createHmac } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { parseContext, secureModeHash } from '../../lib/evaluation/index.ts';
import { isObject } from '../../relay-task/common/json.ts';
import { bad, type Check, note, unknown } from '../checks/check.ts';
import type { EnvironmentKeys } from './arguments.ts';
import { ask, type Data, firstPut, NoAnswer, type Relay, send } from './ask.ts';
import {
  compareItems,
  type Difference,
  firstOf,
  isUser,
  nameOfContext,
  type Served,
  servedIn,
  short,
} from './items.ts';

export interface Look {
  /** Undefined: flags could not be compared. */
  readonly counts: { readonly flags: number; readonly segments: number } | undefined;
  /** How many answers for contexts were compared. */
  readonly answers: number;
  readonly differences: readonly Difference[];
  readonly notes: readonly Difference[];
  readonly checks: readonly Check[];
  /** A relay has no data yet. */
  readonly isEarly: boolean;
}

export interface Sides {
  readonly old: Relay;
  readonly new: Relay;
}

type Context = Readonly<Record<string, unknown>>;

interface Lookout {
  readonly sides: Sides;
  readonly keys: EnvironmentKeys;
  readonly name: string;
  readonly contexts: readonly Context[];
  /** One of the relays knows no other contexts. */
  readonly usersOnly: boolean;
  readonly credentials: { readonly environmentId: string | undefined; readonly mobileKey: string | undefined };
}

export async function look(lookout: Lookout): Promise<Look> {
  const parts = [await lookAtItems(lookout)];
  const { environmentId, mobileKey } = lookout.credentials;
  if (environmentId !== undefined) parts.push(await lookAtAnswers(lookout, 'browsers', environmentId));
  if (mobileKey !== undefined) parts.push(await lookAtAnswers(lookout, 'mobile SDKs', mobileKey));
  return {
    counts: parts[0]!.counts,
    answers: parts.reduce((sum, { answers }) => sum + answers, 0),
    differences: withoutRepetitions(parts.flatMap(({ differences }) => differences)),
    notes: parts.flatMap(({ notes }) => notes),
    checks: parts.flatMap(({ checks }) => checks),
    isEarly: parts.some(({ isEarly }) => isEarly),
  };
}

/** A flag that differs explains its values, so it is told once. */
function withoutRepetitions(differences: readonly Difference[]): Difference[] {
  const flags = new Set(differences.filter(({ kind }) => kind === 'flag').map(({ key }) => key));
  return differences.filter(({ kind, key }) => kind !== VALUE || !flags.has(key));
}

const VALUE = 'value of flag';

const nothing: Look = { counts: undefined, answers: 0, differences: [], notes: [], checks: [], isEarly: false };

/** Both answers, or what is to be told of those that are missing. */
async function both<T>(
  { old, new: fresh }: Sides,
  read: (relay: Relay) => Promise<T>,
): Promise<{ readonly old: T | NoAnswer; readonly new: T | NoAnswer }> {
  const orReason = (relay: Relay) =>
    read(relay).catch((error: unknown) => {
      if (error instanceof NoAnswer) return error;
      throw error;
    });
  const [before, after] = await Promise.all([orReason(old), orReason(fresh)]);
  return { old: before, new: after };
}

async function lookAtItems(lookout: Lookout): Promise<Look> {
  const { sides, keys, name } = lookout;
  const { sdkKey } = keys;
  if (sdkKey === undefined) return nothing;
  const found = await both(sides, (relay) => readItems(relay, sdkKey, keys.filter));
  if (!(found.old instanceof NoAnswer) && !(found.new instanceof NoAnswer)) {
    const { flags, segments, differences, notes } = compareItems(found.old, found.new, lookout);
    return { ...nothing, counts: { flags, segments }, differences, notes };
  }
  const checks = (['old', 'new'] as const).flatMap((side) => {
    const reason = found[side];
    if (!(reason instanceof NoAnswer)) return [];
    const advice =
      reason.why === 'refused'
        ? side === 'new'
          ? 'give the new relay this environment with the same SDK key: LD_ENV_<name>'
          : 'check the key: it may have been reset, or belong to another environment'
        : reason.advice;
    // What only one of them lacks is a difference.
    const isAlone = !(found[side === 'old' ? 'new' : 'old'] instanceof NoAnswer);
    return [(isAlone ? bad : unknown)('environment', name, `${name}: ${reason.message}`, advice)];
  });
  return {
    ...nothing,
    checks,
    isEarly: [found.old, found.new].some((each) => each instanceof NoAnswer && each.why === 'wait'),
  };
}

/** ld-relay cannot be polled for all data, and both its stream and ours begin with it. */
async function readItems(relay: Relay, credential: string, filter: string | undefined): Promise<Served> {
  const query = filter === undefined ? '' : `?filter=${encodeURIComponent(filter)}`;
  const isMissing = (error: unknown) => error instanceof NoAnswer && error.why === 'missing';
  const data = await ask(relay, { path: `/sdk/latest-all${query}`, credential })
    .catch((error: unknown) => {
      if (isMissing(error)) return firstPut(relay, { path: `/all${query}`, credential });
      throw error;
    })
    .catch((error: unknown) => {
      if (!isMissing(error) || filter === undefined) throw error;
      const advice = `set LD_FILTER_KEYS_<project> and LD_PROJ_KEY_<name> so that ${relay.called} serves this filter`;
      throw new NoAnswer(`${relay.called} has no payload filter "${filter}" (404)`, { why: 'missing', advice });
    });
  const served = servedIn(data);
  if (served) return served;
  throw new NoAnswer(`${relay.called} answers with something that has no flags`);
}

type Clients = 'browsers' | 'mobile SDKs';

const settingOf: Readonly<Record<Clients, string>> = {
  browsers: 'LD_CLIENT_SIDE_ID_<name>',
  'mobile SDKs': 'LD_MOBILE_KEY_<name>',
};

/** The flags evaluated for each context, as browsers or mobile SDKs poll them. */
async function lookAtAnswers(lookout: Lookout, clients: Clients, credential: string): Promise<Look> {
  const { sides, name } = lookout;
  const found = new Map<string, string[]>();
  let answers = 0;
  const differences = () => [...found].map(([key, texts]) => ({ kind: VALUE, key, what: firstOf(texts) }));
  const contexts = lookout.usersOnly ? lookout.contexts.filter(isUser) : lookout.contexts;
  for (const context of contexts) {
    const { old: before, new: after } = await both(sides, (relay) =>
      readAnswers(relay, lookout, clients, credential, context),
    );
    if (before instanceof NoAnswer || after instanceof NoAnswer) {
      const checks = missingAnswers(clients, name, before, after, context);
      const isEarly = [before, after].some((each) => each instanceof NoAnswer && each.why === 'wait');
      // The credential or the data is what is wrong, for every context alike.
      if (checks.length > 0 || isEarly) return { ...nothing, answers, differences: differences(), checks, isEarly };
      continue;
    }
    answers += 1;
    if (before.isSecure !== after.isSecure)
      return { ...nothing, answers, differences: differences(), checks: [secureMode(name, before.isSecure)] };
    for (const { key, what } of differentAnswers(clients, context, before.data, after.data))
      found.set(key, [...(found.get(key) ?? []), what]);
  }
  return { ...nothing, answers, differences: differences() };
}

function missingAnswers(
  clients: Clients,
  name: string,
  before: unknown,
  after: unknown,
  context: Context,
): readonly Check[] {
  const told = (reason: NoAnswer) => `${name}, ${clients}, ${nameOfContext(context)}: ${reason.message}`;
  if (before instanceof NoAnswer && after instanceof NoAnswer) {
    // Both refuse the context, or neither serves such clients.
    if (before.status === after.status && before.status !== undefined) return [];
    return [unknown('clients', name, told(before), before.advice), unknown('clients', name, told(after), after.advice)];
  }
  if (after instanceof NoAnswer)
    return [
      bad(
        'clients',
        name,
        told(after),
        after.why === 'refused' || after.why === 'missing'
          ? `set ${settingOf[clients]} for the new relay`
          : after.advice,
      ),
    ];
  return [note('clients', name, told(before as NoAnswer), (before as NoAnswer).advice)];
}

function secureMode(name: string, isOld: boolean): Check {
  const what = isOld
    ? 'the old relay requires the hash of secure mode, the new one does not'
    : 'the new relay requires the hash of secure mode, the old one does not';
  return bad('clients', name, `${name}, browsers: ${what}`, `set LD_SECURE_MODE_<name>=${isOld} for the new relay`);
}

interface Answers {
  readonly data: Data;
  readonly isSecure: boolean;
}

async function readAnswers(
  relay: Relay,
  { keys }: Lookout,
  clients: Clients,
  credential: string,
  context: Context,
): Promise<Answers> {
  const text = Buffer.from(JSON.stringify(context)).toString('base64url');
  const isBrowser = clients === 'browsers';
  const base = isBrowser ? `/sdk/evalx/${encodeURIComponent(credential)}` : '/msdk/evalx';
  // `users` is the older name, and the only one that ld-relay 6 has; all know it.
  const asked = (query: Readonly<Record<string, string>>) => {
    const parameters = new URLSearchParams({ ...(keys.filter !== undefined && { filter: keys.filter }), ...query });
    const path = `${base}/users/${text}${parameters.size > 0 ? `?${parameters}` : ''}`;
    return ask(relay, { path, credential: isBrowser ? undefined : credential });
  };
  try {
    return { data: await asked({}), isSecure: false };
  } catch (error) {
    const hash = isBrowser && keys.sdkKey !== undefined ? hashOf(keys.sdkKey, context) : undefined;
    const { status } = error as Partial<NoAnswer>;
    // ld-relay answers 400 if the hash is missing, this relay 403.
    if (hash === undefined || (status !== 400 && status !== 403)) throw error;
    return { data: await asked({ h: hash }), isSecure: true };
  }
}

function hashOf(sdkKey: string, context: Context): string | undefined {
  const parsed = parseContext(context);
  const hmac = (key: string, message: string) => createHmac('sha256', key).update(message).digest('hex');
  return parsed && secureModeHash(hmac, sdkKey, parsed);
}

/** Values and variations: versions are compared with the flags. */
function differentAnswers(clients: Clients, context: Context, before: Data, after: Data) {
  const who = `${nameOfContext(context)} (${clients})`;
  return [...new Set([...Object.keys(before), ...Object.keys(after)])].sort().flatMap((key) => {
    const [one, other] = [before[key], after[key]].map((answer) => (isObject(answer) ? answer : undefined));
    if (!one || !other) return [{ key, what: `${who} gets it only from the ${one ? 'old' : 'new'} relay` }];
    if (!isDeepStrictEqual(one.value, other.value))
      return [{ key, what: `${who} gets ${short(other.value)} instead of ${short(one.value)}` }];
    if ((one.variation ?? null) !== (other.variation ?? null))
      return [{ key, what: `${who} gets variation ${other.variation} instead of ${one.variation}` }];
    return [];
  });
}

/** Whether a relay forwards events: it refuses an empty body, and nothing is sent on. Undefined: it does not say. */
export async function forwardsEvents(relay: Relay, credential: string): Promise<boolean | undefined> {
  const { status } = await send(relay, { path: '/bulk', credential, method: 'POST' });
  return status === 400 ? true : status === 503 ? false : undefined;
}
