/** Two environments cannot share a place in a store. */
import { filteredPrefix } from '../../lib/flag-table/index.ts';
import type { Draft } from './ssm-drafts.ts';
import { settingOf } from './ssm-settings.ts';

export interface StorePlace {
  readonly prefix: string;
  readonly tableName: string | undefined;
}

export interface PlacesOptions {
  /** Of environments without a table of their own. */
  readonly tableName: string | undefined;
  /** Whether environments with the same prefix and different tables are apart in every store. */
  readonly tablesSeparate: boolean;
  /** The environment's payload filters, each of which has a place below the environment's. */
  filtersOf(draft: Draft): readonly string[];
}

/**
 * Where the stores keep each environment. Its prefix is its name unless it sets another. Of two environments with one
 * place, the one with that name keeps it, else the one that set it first: the result is the same in every relay, and a
 * new environment never moves an old one.
 */
export function choosePlaces(drafts: readonly Draft[], options: PlacesOptions): Map<string, StorePlace> {
  const places = new Map<string, StorePlace>();
  const taken = new Map<string, string>();
  const wishes = drafts
    .map((draft) => {
      const held = draft.parameters.get('prefix');
      return { draft, prefix: settingOf('prefix', held?.text) ?? draft.id, at: held?.modifiedAt ?? 0 };
    })
    .sort((a, b) => Number(b.prefix === b.draft.id) - Number(a.prefix === a.draft.id) || a.at - b.at);
  for (const { draft, prefix } of wishes) {
    const tableName = settingOf('table-name', draft.parameters.get('table-name')?.text) ?? options.tableName;
    const filters = options.filtersOf(draft);
    const placesAt = (name: string) =>
      [name, ...filters.map((filter) => filteredPrefix(name, filter))].map((one) =>
        options.tablesSeparate ? `${tableName ?? ''}/${one}` : one,
      );
    const otherAt = (name: string) =>
      placesAt(name)
        .map((place) => taken.get(place))
        .find((id) => id !== undefined);
    const other = otherAt(prefix);
    let free = prefix;
    for (let number = 1; otherAt(free) !== undefined; number++) {
      free = number === 1 ? draft.id : `${draft.id}-${number}`;
    }
    if (other !== undefined) {
      draft.problems.push(
        `${draft.id}/prefix would overwrite ${other} in the store: using the prefix ${free} instead; give each environment its own`,
      );
    }
    for (const place of placesAt(free)) taken.set(place, draft.id);
    places.set(draft.id, { prefix: free, tableName });
  }
  return places;
}
