/** Two environments cannot share a credential or a place in a store. */
import { type Claim, type Draft, idOf } from './ssm-drafts.ts';
import { settingOf } from './ssm-settings.ts';

/** Two environments with one credential could not be told apart, so the first keeps it. */
export function settleTwins(drafts: readonly Draft[]): void {
  const owners = new Map<string, Claim>();
  const claims = drafts.flatMap((draft) => draft.claims);
  for (const claim of claims.sort(byRight)) if (!owners.has(idOf(claim))) owners.set(idOf(claim), claim);
  for (const { id, claims, problems } of drafts) {
    const mine = new Map<string, Claim>();
    for (const claim of claims) {
      if (owners.get(idOf(claim))?.environment === id) mine.set(idOf(claim), longerOf(mine.get(idOf(claim)), claim));
    }
    for (const claim of claims) {
      const owner = owners.get(idOf(claim))!;
      if (owner.environment === id || !claim.present) continue;
      problems.push(
        `${id}/${claim.parameter} has the same value as ${owner.environment}/${owner.parameter}: give each environment its own`,
      );
    }
    claims.splice(0, claims.length, ...mine.values());
  }
}

export interface StorePlace {
  readonly prefix: string;
  readonly tableName: string | undefined;
}

/**
 * Where the stores keep each environment. Its prefix is its name unless it sets another. Of two environments with one
 * place, the one with that name keeps it, else the one that set it first: the result is the same in every relay, and a
 * new environment never moves an old one.
 */
export function choosePlaces(drafts: readonly Draft[], everyones: string | undefined): Map<string, StorePlace> {
  const places = new Map<string, StorePlace>();
  const taken = new Map<string, string>();
  const wishes = drafts
    .map((draft) => {
      const held = draft.parameters.get('prefix');
      return { draft, prefix: settingOf('prefix', held?.text) ?? draft.id, at: held?.modifiedAt ?? 0 };
    })
    .sort((a, b) => Number(b.prefix === b.draft.id) - Number(a.prefix === a.draft.id) || a.at - b.at);
  for (const { draft, prefix } of wishes) {
    const tableName = settingOf('table-name', draft.parameters.get('table-name')?.text) ?? everyones;
    const placeOf = (name: string) => `${tableName ?? ''}/${name}`;
    const other = taken.get(placeOf(prefix));
    let free = prefix;
    for (let number = 1; taken.has(placeOf(free)); number++) free = number === 1 ? draft.id : `${draft.id}-${number}`;
    if (other !== undefined) {
      draft.problems.push(
        `${draft.id}/prefix would overwrite ${other} in the store: using the prefix ${free} instead; give each environment its own`,
      );
    }
    taken.set(placeOf(free), draft.id);
    places.set(draft.id, { prefix: free, tableName });
  }
  return places;
}

/** During a rotation the present key and the previous one are briefly the same. */
function longerOf(a: Claim | undefined, b: Claim): Claim {
  if (a === undefined) return b;
  return (a.expiresAt ?? Number.POSITIVE_INFINITY) >= (b.expiresAt ?? Number.POSITIVE_INFINITY) ? a : b;
}

function byRight(a: Claim, b: Claim): number {
  return (
    Number(b.present) - Number(a.present) || a.modifiedAt - b.modifiedAt || (a.environment < b.environment ? -1 : 1)
  );
}
