import { dateTime, isParameterName, parseRevoked, type SsmParameterName, ssmParameters } from './ssm-parameters.ts';
import type { Decrypted, Listed } from './ssm-reader.ts';

/** Why a parameter's present value is missing, unreadable or invalid. */
export interface Trouble {
  readonly kind: 'missing' | 'unreadable' | 'refused';
  /** Unix ms. */
  readonly since: number;
  /** One sentence that names the parameter, without its value. */
  readonly message: string;
}

/** One parameter and its last accepted value. */
export interface Held {
  readonly version: number;
  readonly modifiedAt: number;
  readonly secure: boolean;
  /** Trimmed; undefined when none was ever accepted. */
  readonly text: string | undefined;
  readonly trouble: Trouble | undefined;
}

export type HeldParameters = ReadonlyMap<SsmParameterName, Held>;

/** The last accepted value of every parameter; missing parameters count for the grace time. */
export interface SsmMemory {
  /** The parameters whose values have to be read before the listing can be applied. */
  wanted(listed: readonly Listed[]): readonly string[];
  /** A SecureString in the listing that was readable before. */
  control(listed: readonly Listed[]): string | undefined;
  apply(listed: readonly Listed[], decrypted: Decrypted, now: number): void;
  environments(): ReadonlyMap<string, HeldParameters>;
  /** Parameters that the relay does not know; each is returned once. */
  takeUnknown(): readonly string[];
}

export function createSsmMemory({ graceMs }: { readonly graceMs: number }): SsmMemory {
  const environments = new Map<string, Map<SsmParameterName, Held>>();
  const named = new Set<string>();
  let unknown: string[] = [];

  const heldOf = ({ environment, name }: Place) => environments.get(environment)?.get(name);

  function keep({ environment, name }: Place, held: Held) {
    const parameters = environments.get(environment) ?? new Map<SsmParameterName, Held>();
    environments.set(environment, parameters.set(name, held));
  }

  return {
    wanted: (listed) =>
      listed.flatMap((one) => {
        const place = placeOf(one.name);
        return place !== undefined && one.text === undefined && !isUnchanged(heldOf(place), one) ? [one.name] : [];
      }),

    control(listed) {
      return listed.find((one) => {
        const place = placeOf(one.name);
        const held = place && heldOf(place);
        return one.text === undefined && isUnchanged(held, one) && held.secure && held.text !== undefined;
      })?.name;
    },

    apply(listed, { texts, unreadable }, now) {
      const present = new Set<string>();
      for (const one of listed) {
        const place = placeOf(one.name);
        if (place === undefined) {
          if (!named.has(one.name)) unknown.push(one.name);
          named.add(one.name);
          continue;
        }
        const reading = { value: one.text ?? texts.get(one.name), problem: unreadable.get(one.name) };
        const held = nextHeld(place, heldOf(place), one, reading, now);
        if (held === undefined) continue;
        present.add(one.name);
        keep(place, held);
      }
      for (const [environment, parameters] of [...environments]) {
        dropUnreadable(parameters, now - graceMs);
        dropMissing(environment, parameters, present, { now, graceMs });
        if (parameters.size === 0) environments.delete(environment);
      }
    },

    environments: () => environments,

    takeUnknown() {
      const taken = unknown;
      unknown = [];
      return taken;
    },
  };
}

function isUnchanged(held: Held | undefined, { version, modifiedAt }: Listed): held is Held {
  return held !== undefined && held.version === version && held.modifiedAt === modifiedAt;
}

/** What to hold of a listed parameter; undefined when it was deleted between the listing and the reading. */
function nextHeld(
  place: Place,
  held: Held | undefined,
  listed: Listed,
  { value, problem }: { readonly value: string | undefined; readonly problem: string | undefined },
  now: number,
): Held | undefined {
  if (isUnchanged(held, listed)) {
    return held.trouble?.kind === 'missing' ? accept(place, held, listed, held.text ?? '', now) : held;
  }
  if (value !== undefined) return accept(place, held, listed, value, now);
  if (problem === undefined) return undefined;
  // With its old version it counts as changed and is read again.
  const before = held ?? { version: 0, modifiedAt: 0, secure: true, text: undefined };
  return { ...before, trouble: troubleOf('unreadable', `${listed.name} cannot be read: ${problem}`, held, now) };
}

/** Accepts the value that is in SSM now, or keeps the last one and notes why. */
function accept(place: Place, before: Held | undefined, listed: Listed, value: string, now: number): Held {
  const { version, modifiedAt } = listed;
  const secure = listed.text === undefined;
  const text = value.trim();
  const result = text === '' ? { wanted: 'a non-empty value' } : ssmParameters[place.name].read(text);
  if (!('wanted' in result)) return { version, modifiedAt, secure, text, trouble: undefined };
  const message = `${listed.name} is invalid: expected ${result.wanted}`;
  return { version, modifiedAt, secure, text: before?.text, trouble: troubleOf('refused', message, before, now) };
}

/** The value of a key that has been unreadable or invalid since `before` or earlier no longer counts; its trouble stays. */
function dropUnreadable(parameters: Map<SsmParameterName, Held>, before: number): void {
  for (const [name, held] of parameters) {
    const { trouble } = held;
    if (trouble === undefined || trouble.kind === 'missing' || trouble.since > before) continue;
    if (ssmParameters[name].key) parameters.set(name, { ...held, text: undefined });
  }
}

/** A missing key counts for the grace time, unless it was revoked or has expired; a missing setting is gone at once. */
function dropMissing(
  environment: string,
  parameters: Map<SsmParameterName, Held>,
  present: ReadonlySet<string>,
  { now, graceMs }: { readonly now: number; readonly graceMs: number },
): void {
  const revoked = parseRevoked(parameters.get('revoked')?.text);
  const isGone = (name: SsmParameterName) => !present.has(`${environment}/${name}`);
  let missing = false;
  for (const [name, held] of [...parameters].sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (!ssmParameters[name].key || !isGone(name)) continue;
    const trouble = troubleOf('missing', `${environment}/${name} is no longer in SSM`, held, now);
    const over = now - trouble.since >= graceMs || held.text === undefined || hasEnded(name, parameters, now);
    if (over || revoked.everything || revoked.has(held.text)) parameters.delete(name);
    else {
      parameters.set(name, { ...held, trouble });
      missing = true;
    }
  }
  // If a whole folder was deleted by mistake, the environment keeps its settings as long as its keys.
  for (const name of missing ? [] : [...parameters.keys()]) {
    if (!ssmParameters[name].key && isGone(name)) parameters.delete(name);
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

function placeOf(path: string): Place | undefined {
  const [environment = '', name = '', ...deeper] = path.split('/');
  return environment !== '' && deeper.length === 0 && isParameterName(name) ? { environment, name } : undefined;
}

/** Another kind or message of trouble does not restart the grace time. */
function troubleOf(kind: Trouble['kind'], message: string, before: Held | undefined, now: number): Trouble {
  return { kind, message, since: before?.trouble?.since ?? now };
}
