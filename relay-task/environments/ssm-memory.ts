import { isObject } from '../common/json.ts';
import { dateTime, isParameterName, parseRevoked, type SsmParameterName, ssmParameters } from './ssm-parameters.ts';
import type { Decrypted, Decryption, Listed } from './ssm-reader.ts';

/** Why a parameter's present value is not in force. */
interface Trouble {
  /**
   * `unreadable`: it cannot be decrypted, though others of its environment can. `unreachable`: SSM failed, or nothing of
   * the environment can be decrypted; the last value counts for as long as that lasts. `awaited`: it is being read.
   */
  readonly kind: 'missing' | 'unreadable' | 'unreachable' | 'awaited' | 'invalid';
  /** Unix ms. */
  readonly since: number;
  /** One sentence that names the parameter, without its value. */
  readonly message: string;
  /** `missing` and `invalid`: a newer value is being read. */
  readonly rereading?: true;
}

/** One parameter and its last accepted value. */
export interface Held {
  readonly version: number;
  readonly modifiedAt: number;
  /** Unix ms when `text` was written, if an invalid value took its place. */
  readonly writtenAt?: number;
  readonly secure: boolean;
  /** Trimmed; undefined when none was ever accepted. */
  readonly text: string | undefined;
  readonly trouble: Trouble | undefined;
  /** A setting that is no longer in SSM and still counts, see `settleMs`. */
  readonly isGone?: true;
}

/** When the value that is held was written, Unix ms. */
export const writtenAtOf = ({ writtenAt, modifiedAt }: Held): number => writtenAt ?? modifiedAt;

export type HeldParameters = ReadonlyMap<SsmParameterName, Held>;

/**
 * Whether its present value could not be read, so that the held one, if any, is the one before. A value that only by itself
 * cannot be decrypted counts if that began after `since`, Unix ms.
 */
export function isUnread(held: Held | undefined, since = Number.NEGATIVE_INFINITY): boolean {
  const { trouble } = held ?? {};
  return (
    trouble?.kind === 'unreachable' || isAwaited(held) || (trouble?.kind === 'unreadable' && trouble.since > since)
  );
}

/** Whether its present value is being read. */
export function isAwaited(held: Held | undefined): boolean {
  return held?.trouble?.kind === 'awaited' || held?.trouble?.rereading === true;
}

interface ReadValues {
  /** What was read of the wanted parameters. */
  readonly decrypted: Decrypted;
  /** Wanted parameters that are still to be read. */
  readonly awaited?: ReadonlySet<string>;
  /** What was read of the controls. */
  readonly controls: Decrypted;
}

/** How many parameters of other environments tell whether SSM decrypts at all. */
const FOREIGN_CONTROLS = 10;

export interface MemoryOptions {
  /** How long a missing, unreadable or invalid key counts. */
  readonly graceMs: number;
  /** How long a missing setting counts. */
  readonly settleMs: number;
}

export type SsmMemory = ReturnType<typeof createSsmMemory>;

/** The last accepted value of every parameter; missing ones count for a while. */
export function createSsmMemory(options: MemoryOptions) {
  const environments = new Map<string, Map<SsmParameterName, Held>>();
  /** When settings were first missing, by path. */
  const gone = new Map<string, number>();
  const named = new Set<string>();
  let unknown: string[] = [];

  const heldOf = (place: Place | undefined) => place && environments.get(place.environment)?.get(place.name);

  function keep({ environment, name }: Place, held: Held) {
    const parameters = environments.get(environment) ?? new Map<SsmParameterName, Held>();
    environments.set(environment, parameters.set(name, held));
  }

  return {
    /** The parameters whose values have to be read before the listing can be applied. */
    wanted: (listed: readonly Listed[]): readonly string[] =>
      listed.flatMap((one) => {
        const place = placeOf(one.name);
        return place !== undefined && one.text === undefined && !isUnchanged(heldOf(place), one) ? [one.name] : [];
      }),

    /**
     * Parameters that were readable before, to be read again where nothing could be read: they tell whether one parameter
     * is out of reach or all are.
     */
    controls(listed: readonly Listed[], decrypted: Decrypted): readonly string[] {
      const reachable = reachableIn(decrypted);
      const silent = new Set([...decrypted.keys()].map(environmentOf).filter((name) => !reachable.has(name)));
      if (silent.size === 0) return [];
      const known = listed.filter((one) => {
        const held = heldOf(placeOf(one.name));
        return one.text === undefined && isUnchanged(held, one) && held.secure && held.text !== undefined;
      });
      const own = known.filter(({ name }) => silent.has(environmentOf(name)));
      const others = known.filter(({ name }) => !silent.has(environmentOf(name))).slice(0, FOREIGN_CONTROLS);
      return [...own, ...(reachable.size === 0 ? others : [])].map(({ name }) => name);
    },

    apply(listed: readonly Listed[], { decrypted, controls, awaited }: ReadValues, now: number): void {
      const reachable = new Set([...reachableIn(decrypted), ...reachableIn(controls)]);
      const present = new Set<string>();
      for (const one of keysFirst(listed)) {
        const place = placeOf(one.name);
        if (place === undefined) {
          if (!named.has(one.name)) unknown.push(one.name);
          named.add(one.name);
          continue;
        }
        const reading: Reading | undefined = awaited?.has(one.name)
          ? { kind: 'awaited', reason: 'it is being read' }
          : one.text === undefined
            ? readingOf(place, decrypted.get(one.name), { reachable, isPartial: awaited !== undefined })
            : { text: one.text };
        const held = nextHeld(place, heldOf(place), one, reading, now);
        if (held === undefined) continue;
        present.add(one.name);
        gone.delete(one.name);
        const parameters = environments.get(place.environment);
        if (!waitsForPreviousKey(place, held, { parameters, present, now })) keep(place, held);
      }
      for (const [environment, parameters] of [...environments]) {
        dropUnreadable(parameters, now - options.graceMs);
        dropMissing(environment, parameters, present, { ...options, now, gone });
        if (parameters.size === 0) environments.delete(environment);
      }
    },

    environments: (): ReadonlyMap<string, HeldParameters> => environments,

    /** Everything that is held, as JSON, keys in plain text. Yields between two environments. */
    *save(): Generator<void, string> {
      const rows: string[] = [];
      for (const [environment, parameters] of environments) {
        rows.push(JSON.stringify([environment, [...parameters]]));
        yield;
      }
      return `[${rows.join(',')}]`;
    },

    /** Loads the result of `save` into an empty memory. False: it is not what `save` makes. Never throws. */
    restore(text: string): boolean {
      const rows = parseSaved(text);
      for (const [environment, parameters] of rows ?? []) environments.set(environment, new Map(parameters));
      return rows !== undefined;
    },

    /** Parameters that the relay does not know; each is returned once. */
    takeUnknown(): readonly string[] {
      const taken = unknown;
      unknown = [];
      return taken;
    },
  };
}

/** We wrote and sealed it ourselves, so checking its outline is enough. A later version may know more parameters; they are left out. */
function parseSaved(text: string): [string, [SsmParameterName, Held][]][] | undefined {
  try {
    const rows: unknown = JSON.parse(text);
    const isPair = (value: unknown): value is [string, unknown] =>
      Array.isArray(value) && value.length === 2 && typeof value[0] === 'string';
    const isParameter = (value: unknown) => isPair(value) && isObject(value[1]);
    const isRow = (row: unknown) => isPair(row) && Array.isArray(row[1]) && row[1].every(isParameter);
    if (!Array.isArray(rows) || !rows.every(isRow)) return undefined;
    return (rows as [string, [string, Held][]][]).map(([environment, parameters]) => [
      environment,
      parameters.flatMap(([name, held]): [SsmParameterName, Held][] => (isParameterName(name) ? [[name, held]] : [])),
    ]);
  } catch {
    return undefined;
  }
}

function isUnchanged(held: Held | undefined, { version, modifiedAt }: Listed): held is Held {
  return held !== undefined && held.version === version && held.modifiedAt === modifiedAt;
}

type Reading =
  | { readonly text: string }
  | { readonly kind: 'unreadable' | 'unreachable' | 'awaited'; readonly reason: string };

function readingOf(
  { environment }: Place,
  decryption: Decryption | undefined,
  { reachable, isPartial }: { reachable: ReadonlySet<string>; isPartial: boolean },
): Reading | undefined {
  if (decryption === undefined || 'text' in decryption) return decryption;
  if ('failed' in decryption) return { kind: 'unreachable', reason: decryption.failed };
  if (reachable.has(environment)) return { kind: 'unreadable', reason: decryption.refused };
  // Whether anything of the environment can be decrypted shows only at the end.
  return { kind: isPartial ? 'awaited' : 'unreachable', reason: decryption.refused };
}

/** Environments of which something could be decrypted. */
function reachableIn(decrypted: Decrypted): Set<string> {
  return new Set([...decrypted].flatMap(([name, decryption]) => ('text' in decryption ? [environmentOf(name)] : [])));
}

/** What to hold of a listed parameter; undefined when it was deleted between the listing and the reading. */
function nextHeld(
  place: Place,
  held: Held | undefined,
  listed: Listed,
  reading: Reading | undefined,
  now: number,
): Held | undefined {
  // While it is read again, an earlier problem keeps the time when it began.
  if (held?.trouble !== undefined && reading !== undefined && 'kind' in reading && reading.kind === 'awaited') {
    const isNewValue = held.trouble.kind === 'missing' || held.trouble.kind === 'invalid';
    return isNewValue ? { ...held, trouble: { ...held.trouble, rereading: true } } : held;
  }
  if (isUnchanged(held, listed)) {
    const isBack = held.trouble?.kind === 'missing' || held.isGone;
    return isBack ? accept(place, held, listed, held.text ?? '', now) : held;
  }
  if (reading === undefined) return undefined;
  if ('text' in reading) return accept(place, held, listed, reading.text, now);
  // With its old version it counts as changed and is read again.
  const before = held ?? { version: 0, modifiedAt: 0, secure: true, text: undefined };
  return { ...before, trouble: troubleOf(reading.kind, `${listed.name} cannot be read: ${reading.reason}`, held, now) };
}

/** A later expiry must not revive an earlier previous key while the one that it is meant for is not there, or is no key. */
function waitsForPreviousKey(
  { environment, name }: Place,
  { text }: Held,
  { parameters, present, now }: { parameters: HeldParameters | undefined; present: ReadonlySet<string>; now: number },
): boolean {
  const previous = parameters?.get('previous-sdk-key');
  if (name !== 'previous-sdk-key-until' || text === undefined || previous === undefined) return false;
  const until = dateTime(text);
  const isThere = previous.trouble === undefined && present.has(`${environment}/previous-sdk-key`);
  return !isThere && 'value' in until && until.value > now;
}

/** Whether a setting may be applied can depend on a key. */
function keysFirst(listed: readonly Listed[]): readonly Listed[] {
  const rank = ({ name }: Listed) => (['sdk-key', 'previous-sdk-key'].includes(placeOf(name)?.name ?? '') ? 0 : 1);
  return [...listed].sort((a, b) => rank(a) - rank(b));
}

/** Accepts the value that is in SSM now, or keeps the last one and notes why. */
function accept(place: Place, before: Held | undefined, listed: Listed, value: string, now: number): Held {
  const { version, modifiedAt } = listed;
  const secure = listed.text === undefined;
  const text = value.trim();
  const result = text === '' ? { wanted: 'a non-empty value' } : ssmParameters[place.name].read(text);
  if (!('wanted' in result)) return { version, modifiedAt, secure, text, trouble: undefined };
  const message = `${listed.name} is invalid: expected ${result.wanted}`;
  const trouble = troubleOf('invalid', message, before, now);
  return {
    version,
    modifiedAt,
    secure,
    text: before?.text,
    trouble,
    ...(before && { writtenAt: writtenAtOf(before) }),
  };
}

/** The value of a key that has been unreadable or invalid since `before` or earlier no longer counts; its trouble stays. */
function dropUnreadable(parameters: Map<SsmParameterName, Held>, before: number): void {
  for (const [name, held] of parameters) {
    const { trouble } = held;
    if (trouble?.kind !== 'unreadable' && trouble?.kind !== 'invalid') continue;
    if (trouble.since > before) continue;
    if (ssmParameters[name].key) parameters.set(name, { ...held, text: undefined });
  }
}

/**
 * A missing key counts for the grace time, unless it was revoked or has expired. A missing setting counts until `settleMs`
 * have passed with all keys in place: it may be put again, and its default may allow more than it did.
 */
function dropMissing(
  environment: string,
  parameters: Map<SsmParameterName, Held>,
  present: ReadonlySet<string>,
  { now, graceMs, settleMs, gone }: MemoryOptions & { readonly now: number; readonly gone: Map<string, number> },
): void {
  const revoked = parseRevoked(parameters.get('revoked')?.text);
  const isGone = (name: SsmParameterName) => !present.has(`${environment}/${name}`);
  let missing = false;
  let ended = false;
  for (const [name, held] of [...parameters].sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (!ssmParameters[name].key || !isGone(name)) continue;
    const trouble = troubleOf('missing', `${environment}/${name} is no longer in SSM`, held, now);
    const over = now - trouble.since >= graceMs || held.text === undefined || hasEnded(name, parameters, now);
    if (over || revoked.everything || revoked.has(held.text)) {
      parameters.delete(name);
      ended = true;
    } else {
      parameters.set(name, { ...held, trouble });
      missing = true;
    }
  }
  const settings = [...parameters].filter(([name]) => !ssmParameters[name].key && isGone(name));
  const isEmpty = ended && settings.length === parameters.size;
  for (const [name, held] of settings) {
    const path = `${environment}/${name}`;
    const since = missing ? now : (gone.get(path) ?? now);
    gone.set(path, since);
    parameters.set(name, { ...held, isGone: true });
    if (missing || (now - since < settleMs && !isEmpty)) continue;
    parameters.delete(name);
    gone.delete(path);
  }
}

/** An expired previous SDK key, or the expiry of a key that does not exist. */
function hasEnded(name: SsmParameterName, parameters: HeldParameters, now: number): boolean {
  if (name === 'previous-sdk-key-until') return !parameters.has('previous-sdk-key');
  const until = dateTime(parameters.get('previous-sdk-key-until')?.text ?? '');
  return name === 'previous-sdk-key' && 'value' in until && now > until.value;
}

interface Place {
  readonly environment: string;
  readonly name: SsmParameterName;
}

const environmentOf = (path: string) => path.split('/')[0] ?? '';

function placeOf(path: string): Place | undefined {
  const [environment = '', name = '', ...deeper] = path.split('/');
  return environment !== '' && deeper.length === 0 && isParameterName(name) ? { environment, name } : undefined;
}

/** Another kind or message of trouble does not restart the grace time, which begins after an outage. */
function troubleOf(kind: Trouble['kind'], message: string, before: Held | undefined, now: number): Trouble {
  const earlier = before?.trouble;
  const isPassing = (one: Trouble['kind']) => one === 'unreachable' || one === 'awaited';
  const begins = earlier === undefined || (isPassing(earlier.kind) && !isPassing(kind));
  return { kind, message, since: begins ? now : earlier.since };
}
