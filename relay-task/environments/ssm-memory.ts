import { dateTime, isParameterName, parseRevoked, type SsmParameterName, ssmParameters } from './ssm-parameters.ts';
import type { Decrypted, Listed } from './ssm-reader.ts';

/** Why a parameter's present value is not, or not known to be, what it should be. */
export interface Trouble {
  readonly kind: 'missing' | 'unreadable' | 'refused';
  /** Unix ms. */
  readonly since: number;
  /** One sentence that names the parameter, without its value. */
  readonly message: string;
}

/** One parameter and the last value that was accepted of it. */
export interface Held {
  readonly version: number;
  readonly modifiedAt: number;
  readonly secure: boolean;
  /** Trimmed; undefined: none was ever accepted. */
  readonly text: string | undefined;
  readonly trouble: Trouble | undefined;
}

export type HeldParameters = ReadonlyMap<SsmParameterName, Held>;

/** What is known of every parameter, and for how long what is not there any more still counts. */
export interface SsmMemory {
  /** Those whose value has to be read before the listing can be applied. */
  wanted(listed: readonly Listed[]): readonly string[];
  /** A SecureString that was readable, and is in the listing. */
  control(listed: readonly Listed[]): string | undefined;
  apply(listed: readonly Listed[], decrypted: Decrypted, now: number): void;
  environments(): ReadonlyMap<string, HeldParameters>;
  /** Parameters that are no parameter of ours; each is named once. */
  takeUnknown(): readonly string[];
}

export function createSsmMemory({ graceMs }: { readonly graceMs: number }): SsmMemory {
  const environments = new Map<string, Map<SsmParameterName, Held>>();
  const named = new Set<string>();
  let unknown: string[] = [];

  const heldOf = ({ environment, name }: Place) => environments.get(environment)?.get(name);

  function isUnchanged(held: Held | undefined, { version, modifiedAt }: Listed): held is Held {
    return held !== undefined && held.version === version && held.modifiedAt === modifiedAt;
  }

  function keep({ environment, name }: Place, held: Held) {
    const parameters = environments.get(environment) ?? new Map<SsmParameterName, Held>();
    environments.set(environment, parameters.set(name, held));
  }

  /** The value that stands in SSM now is accepted, or the last one stays and trouble is noted. */
  function accept(place: Place, listed: Listed, value: string, now: number) {
    const before = heldOf(place);
    const { version, modifiedAt } = listed;
    const text = value.trim();
    const result = text === '' ? { wanted: 'something: it is empty' } : ssmParameters[place.name].read(text);
    const refused = 'wanted' in result;
    const message = refused ? `${listed.name} is not understood: it must be ${result.wanted}` : '';
    keep(place, {
      version,
      modifiedAt,
      secure: listed.text === undefined,
      text: refused ? before?.text : text,
      trouble: refused ? troubleOf('refused', message, before, now) : undefined,
    });
  }

  /** A key that was revoked or has ended is not missed, neither is a setting while the keys stand. */
  function lose(
    environment: string,
    parameters: Map<SsmParameterName, Held>,
    present: ReadonlySet<string>,
    now: number,
  ) {
    const revoked = parseRevoked(parameters.get('revoked')?.text);
    const isGone = (name: SsmParameterName) => !present.has(`${environment}/${name}`);
    let missing = false;
    for (const [name, held] of [...parameters].sort(([a], [b]) => (a < b ? -1 : 1))) {
      if (!ssmParameters[name].key || !isGone(name)) continue;
      const trouble = troubleOf('missing', `${environment}/${name} is not in SSM any more`, held, now);
      const over = now - trouble.since >= graceMs || held.text === undefined || hasEnded(name, parameters, now);
      if (over || revoked.everything || revoked.has(held.text)) parameters.delete(name);
      else {
        parameters.set(name, { ...held, trouble });
        missing = true;
      }
    }
    // Whoever deletes a whole folder by mistake shall not find the environment with other settings meanwhile.
    for (const name of missing ? [] : [...parameters.keys()]) {
      if (!ssmParameters[name].key && isGone(name)) parameters.delete(name);
    }
    if (parameters.size === 0) environments.delete(environment);
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
        const held = heldOf(place);
        const value = one.text ?? texts.get(one.name);
        const reason = unreadable.get(one.name);
        if (isUnchanged(held, one)) {
          present.add(one.name);
          if (held.trouble?.kind === 'missing') accept(place, one, held.text ?? '', now);
        } else if (value !== undefined) {
          present.add(one.name);
          accept(place, one, value, now);
        } else if (reason !== undefined) {
          present.add(one.name);
          const trouble = troubleOf('unreadable', `${one.name} cannot be read: ${reason}`, held, now);
          // The version stays what it was, so that it is asked for again.
          const unknown = { version: 0, modifiedAt: 0, secure: true, text: undefined };
          keep(place, { ...(held ?? unknown), trouble });
        }
      }
      for (const [environment, parameters] of [...environments]) {
        expire(parameters, now);
        lose(environment, parameters, present, now);
      }
    },

    environments: () => environments,

    takeUnknown() {
      const taken = unknown;
      unknown = [];
      return taken;
    },
  };

  /** What cannot be read for longer than the grace time counts no more, though it stays in trouble. */
  function expire(parameters: Map<SsmParameterName, Held>, now: number) {
    for (const [name, held] of parameters) {
      const { trouble } = held;
      if (trouble === undefined || trouble.kind === 'missing' || now - trouble.since < graceMs) continue;
      if (ssmParameters[name].key) parameters.set(name, { ...held, text: undefined });
    }
  }
}

/** The previous SDK key past its time, and the time of a key that is not there. */
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

/** Trouble begins once: another message, or another kind, does not start the grace time anew. */
function troubleOf(kind: Trouble['kind'], message: string, before: Held | undefined, now: number): Trouble {
  return { kind, message, since: before?.trouble?.since ?? now };
}
