/** Gives each environment its own place in the stores. */
import { filteredPrefix } from '../../lib/flag-table/index.ts';
import { createConfirmations } from './ssm-confirmations.ts';
import { type Draft, hasNamedKey, type Moment } from './ssm-drafts.ts';
import { settingOf } from './ssm-settings.ts';

interface PlacesOptions {
  /** The table of environments without one of their own. */
  readonly tableName: string | undefined;
  /** Whether environments with the same prefix and different tables are apart in every store. */
  readonly tablesSeparate: boolean;
  /** A prefix as the stores use it: two prefixes with the same result are one place. */
  prefixInStores(prefix: string): string;
  /** Another place is used once a complete reading this long after the first one still shows it. */
  readonly confirmMs: number;
  /** The payload filters that the environment asks for, each of which has a place below the environment's. */
  filtersOf(draft: Draft): readonly string[];
}

/** Where an environment asks to be stored. */
export interface Wish {
  readonly prefix: string;
  /** Its own; undefined: that of all. */
  readonly tableName: string | undefined;
  /** When it asked, Unix ms. */
  readonly at: number;
  /** When it asked for each payload filter, Unix ms. */
  readonly filters: readonly (readonly [filter: string, at: number])[];
  /** The SDK key that SSM named, and that was in force, when the place was granted. */
  readonly key: string | undefined;
}

export interface ChosenPlace {
  readonly prefix: string;
  readonly tableName: string | undefined;
  /** Whether no data of another key than the one that SSM names can get there; see `EnvironmentDescription.awaitsKey`. */
  readonly isSettled: boolean;
  /** The payload filters that have a place. */
  readonly filters: readonly string[];
}

interface Placed {
  readonly draft: Draft;
  readonly place: ChosenPlace;
}

/** Decides where the stores keep each environment, and remembers it. */
export function createPlaces(options: PlacesOptions) {
  let granted: ReadonlyMap<string, Wish> = new Map();
  const confirmations = createConfirmations(options.confirmMs);

  function grant(draft: Draft, moment: Moment): Wish {
    const before = granted.get(draft.id);
    const key = hasNamedKey(draft) ? draft.parameters.get('sdk-key')?.text : before?.key;
    const wish = { ...wishOf(draft, options.filtersOf(draft), before), key };
    if (!before) return wish;
    // Writing a parameter again asks for nothing new.
    if (isSamePlace(before, wish)) return { ...wish, at: Math.min(before.at, wish.at) };
    const change = `${draft.id}: ${wish.tableName ?? ''}/${wish.prefix}`;
    // Without another key, the one that it was put together with may be still to come.
    const isConfirmed = key !== before.key || confirmations.isConfirmed(change, moment);
    if (isSettled(draft) && isConfirmed) return wish;
    // One that waits for a key is held up.
    confirmations.wait(change, moment.now, !isSettled(draft));
    return { ...before, filters: wish.filters };
  }

  return {
    /**
     * The environments with their places. One that has a place keeps it while the SDK key in force is not the one that SSM names, and until
     * another place comes with another key or is confirmed: a former key's data must not get to a place that was put together with
     * another key.
     */
    choose(drafts: readonly Draft[], moment: Moment): readonly Placed[] {
      confirmations.begin();
      const asking = drafts.map((draft) => ({ draft, wish: grant(draft, moment) }));
      granted = new Map(asking.map(({ draft, wish }) => [draft.id, wish]));
      return settlePlaces(asking, options);
    },
    /** Another place waits to be confirmed. */
    unconfirmed: confirmations.pending,
    wishes: () => granted,
    /** What an earlier process granted. */
    restore(wishes: ReadonlyMap<string, Wish>): void {
      granted = wishes;
    },
  };
}

const isSamePlace = (a: Wish, b: Wish) => a.prefix === b.prefix && a.tableName === b.tableName;

/** Whether no data of another key than the one that SSM names can be written. */
function isSettled(draft: Draft): boolean {
  return hasNamedKey(draft) || !draft.claims.some(({ kind }) => kind === 'sdkKey');
}

function wishOf({ id, parameters }: Draft, filters: readonly string[], before: Wish | undefined): Omit<Wish, 'key'> {
  const filtersAt = new Map(before?.filters);
  return {
    prefix: settingOf('prefix', parameters) ?? id,
    tableName: settingOf('table-name', parameters),
    at: parameters.get('prefix')?.modifiedAt ?? 0,
    filters: filters.map((one) => [one, filtersAt.get(one) ?? parameters.get('filters')?.modifiedAt ?? 0]),
  };
}

/** An environment whose place is being settled. */
interface Placing extends Placed {
  readonly wish: Wish;
  readonly place: ChosenPlace & { prefix: string; readonly filters: string[] };
}

/**
 * Of two environments that ask for one place, the one with that name has it, else the one that asked first, for itself or for
 * a payload filter. The other environment is stored below its own name; a filter is left out. The result is the same in every
 * relay, and a new environment or filter never moves an old one.
 */
function settlePlaces(
  asking: readonly { readonly draft: Draft; readonly wish: Wish }[],
  { tablesSeparate, prefixInStores, tableName: everyones }: PlacesOptions,
): Placed[] {
  const owners = new Map<string, string>();
  const nameOf = (prefix: string, tableName: string | undefined) =>
    tablesSeparate ? `${tableName ?? ''}/${prefixInStores(prefix)}` : prefixInStores(prefix);

  function placeEnvironment({ draft: { id, problem }, place }: Placing): void {
    const ownerOf = (prefix: string) => owners.get(nameOf(prefix, place.tableName));
    const owner = ownerOf(place.prefix);
    for (let number = 1; ownerOf(place.prefix) !== undefined; number++)
      place.prefix = number === 1 ? id : `${id}-${number}`;
    if (owner !== undefined) {
      problem(
        `${id}/prefix would overwrite ${owner} in the store: using the prefix ${place.prefix} instead; give each environment its own`,
      );
    }
    owners.set(nameOf(place.prefix, place.tableName), id);
  }

  function placeFilter({ draft: { id, problem }, place }: Placing, filter: string): void {
    const prefix = filteredPrefix(place.prefix, filter);
    const owner = owners.get(nameOf(prefix, place.tableName));
    if (owner !== undefined && owner !== id) {
      problem(
        `the payload filter ${filter} of ${id} would overwrite ${owner} in the store at the prefix ${prefix}: leaving the filter out; give one of them another prefix`,
      );
      return;
    }
    owners.set(nameOf(prefix, place.tableName), id);
    place.filters.push(filter);
  }

  const placings = asking.map(({ draft, wish }): Placing => {
    const { prefix, tableName = everyones } = wish;
    return { draft, wish, place: { prefix, tableName, filters: [], isSettled: isSettled(draft) } };
  });
  // A filter is settled after its environment, whose prefix is part of the filter's.
  const requests = placings.flatMap((placing) => {
    const { draft, wish } = placing;
    return [
      { isOwnName: wish.prefix === draft.id, at: wish.at, settle: () => placeEnvironment(placing) },
      ...wish.filters.map(([filter, at]) => ({
        isOwnName: false,
        at: Math.max(wish.at, at),
        settle: () => placeFilter(placing, filter),
      })),
    ];
  });
  requests.sort((a, b) => Number(b.isOwnName) - Number(a.isOwnName) || a.at - b.at);
  for (const { settle } of requests) settle();
  return placings;
}
