/** Which flag routes viewers on this machine, and to which sample origins: one for each of its values. */
import { NAME } from '../../lambda/edge-router/check-values.ts';
import { nearest } from '../../relay-task/common/edit-distance.ts';
import type { KnownFlag, KnownFlags } from './known-flags.ts';

export interface Routing {
  /** Undefined: none does. */
  readonly flagKey: string | undefined;
  /** Whether somebody named it. */
  readonly chosen: boolean;
  /** Names of sample origins. */
  readonly origins: readonly string[];
  /** Where viewers go while the flag cannot be evaluated. */
  readonly defaultOrigin: string;
  /** What does not work as it was probably meant; one line each. */
  readonly remarks: readonly string[];
}

/** The sample origins where no flag says others; rules may name them in any case. */
export const SAMPLE_ORIGINS = ['stable', 'canary'] as const;

/** `a`, `a and b`, `a, b and c`. */
export function listed(names: readonly string[]): string {
  return [names.slice(0, -1).join(', '), ...names.slice(-1)].filter((part) => part !== '').join(' and ');
}

/** The flag of the example, which has a percentage rollout. */
const EXAMPLE_FLAG = 'canary-checkout';

/** Each is a server. */
const MOST_ORIGINS = 20;

/** `named`: the flag of EDGE_FLAG; `none`: only rules decide. `withRules`: they may name the sample origins. */
export function chooseRouting(
  flags: KnownFlags,
  { named, withRules }: { readonly named: string | undefined; readonly withRules: boolean },
): Routing {
  const samples = { origins: SAMPLE_ORIGINS, defaultOrigin: SAMPLE_ORIGINS[0] };
  if (named === 'none') return { flagKey: undefined, chosen: true, ...samples, remarks: [] };
  const flagKey = named ?? bestOf(flags);
  const chosen = named !== undefined;
  const flag = Object.hasOwn(flags, flagKey) ? flags[flagKey] : undefined;
  if (flag === undefined) return { flagKey, chosen, ...samples, remarks: [missing(flagKey, flags)] };

  const names = namesOf(flag);
  const shown = names.slice(0, MOST_ORIGINS);
  const others = withRules || shown.length < 2 ? SAMPLE_ORIGINS.filter((name) => !shown.includes(name)) : [];
  const off = nameOf(flag.variations?.[flag.offVariation ?? -1]);
  const first = off !== undefined && shown.includes(off) ? off : shown[0];
  const origins = [...(first === undefined ? [] : [first]), ...shown.filter((name) => name !== first), ...others];
  const remarks = remarksOn(flagKey, flag, shown);
  return { flagKey, chosen, origins, defaultOrigin: first ?? samples.defaultOrigin, remarks };
}

/** The example's if it is there; else the first that is on and gives percentages, that is on, or that has several values. */
function bestOf(flags: KnownFlags): string {
  const routable = Object.keys(flags).filter((key) => namesOf(flags[key]).length > 1);
  const isOn = (key: string) => flags[key]?.on === true;
  return (
    [EXAMPLE_FLAG].find((key) => Object.hasOwn(flags, key)) ??
    routable.find((key) => isOn(key) && flags[key]?.fallthrough?.rollout) ??
    routable.find(isOn) ??
    routable[0] ??
    Object.keys(flags).find((key) => namesOf(flags[key]).length > 0) ??
    EXAMPLE_FLAG
  );
}

/** The edge router compares values as text, and names origins in a header. */
function nameOf(value: unknown): string | undefined {
  if (typeof value === 'object' || value === undefined) return undefined;
  return NAME.test(String(value)) ? String(value) : undefined;
}

function namesOf(flag: KnownFlag | undefined): string[] {
  return [...new Set((flag?.variations ?? []).flatMap((value) => nameOf(value) ?? []))];
}

function missing(key: string, flags: KnownFlags): string {
  const near = nearest(key, Object.keys(flags));
  const meant = near ? `; did you mean ${near}?` : '.';
  return `EDGE_FLAG=${key}: there is no such flag${meant} Until there is one, viewers go to ${SAMPLE_ORIGINS[0]}`;
}

function remarksOn(key: string, { variations = [] }: KnownFlag, shown: readonly string[]): string[] {
  const unfit = variations.filter((value) => nameOf(value) === undefined);
  if (unfit.length > 0) {
    const [value] = unfit;
    const text = JSON.stringify(value) ?? 'undefined';
    const wanted = 'expected true, false, a number, or 1 to 64 of the characters a-z A-Z 0-9 _ . -';
    return [
      `flag ${key} cannot route viewers whom it gives ${text.slice(0, 60)}: ${wanted}. They go to ${shown[0] ?? SAMPLE_ORIGINS[0]}`,
    ];
  }
  const most = `flag ${key} has ${namesOf({ variations }).length} values; the first ${MOST_ORIGINS} have an origin`;
  return namesOf({ variations }).length > MOST_ORIGINS ? [most] : [];
}
