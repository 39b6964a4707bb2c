/**
 * Two environments with one credential could not be told apart, so the one that had it first keeps it. SSM does not tell which
 * that was: a parameter that is written or created again looks newer than the mistake elsewhere. So the relay remembers, and
 * what it knows of credentials in dispute is kept for tasks that start later.
 */
import type { CredentialKind } from '../ports.ts';
import { credentialId } from './credential-id.ts';
import { longerOf } from './longer-of.ts';
import type { Claim, Draft } from './ssm-drafts.ts';
import { isUnread } from './ssm-memory.ts';
import { fingerprintOf, type Revoked, type SsmParameterName } from './ssm-parameters.ts';

/** What is known of a credential in dispute. */
export interface Dispute {
  /** The environment that had it first. */
  readonly owner: string;
  /** Fingerprint of the owner's SDK key: the environment with that key is the same one under another name. */
  readonly key?: string | undefined;
  /** Environments that got it while the owner had it, in this order. */
  readonly later: readonly string[];
  /** Unix ms when the owner's parameter was first missing. */
  readonly missingSince?: number | undefined;
}

/** By the fingerprint of kind and value. */
export type Disputes = Readonly<Record<string, Dispute>>;

export type Owners = ReturnType<typeof createOwners>;

export function createOwners({ graceMs }: { readonly graceMs: number }) {
  /** By ID of the credential, those without dispute included. */
  let known = new Map<string, Dispute>();
  let undecided = new Set<string>();
  /** Adopted, and not met in a claim yet: its values may still be unreadable. */
  let adopted = new Map<string, { readonly dispute: Dispute; readonly at: number }>();

  function takeAdopted(id: string): Dispute | undefined {
    if (adopted.size === 0) return undefined;
    const print = fingerprintOf(id);
    const found = adopted.get(print);
    adopted.delete(print);
    return found?.dispute;
  }

  return {
    /**
     * Leaves each credential with one environment, or with none. Returns how many are with none, without those that their owner
     * revoked; `revoked` is what each environment revoked.
     */
    settle(drafts: readonly Draft[], revoked: ReadonlyMap<string, Revoked>, now: number): number {
      const byId = new Map(drafts.map((draft) => [draft.id, draft]));
      const claims = new Map<string, [Claim, ...Claim[]]>();
      for (const claim of drafts.flatMap((draft) => draft.claims)) {
        const id = credentialId(claim);
        const others = claims.get(id);
        if (others) others.push(claim);
        else claims.set(id, [claim]);
      }
      const owners = new Map<string, string | undefined>();
      undecided = new Set();
      for (const [id, all] of claims) {
        const [first, ...others] = all.filter(({ standing }) => standing !== 'replaced').sort(byRight);
        if (first) {
          const holders: Holders = [first, ...others];
          const next = nextDispute(known.get(id) ?? takeAdopted(id), holders, byId, { now, graceMs });
          if (next) known.set(id, next);
          else undecided.add(fingerprintOf(id));
          owners.set(id, holders.find(({ environment }) => environment === next?.owner)?.environment);
        } else owners.set(id, known.get(id)?.owner ?? all[0].environment);
        const dispute = known.get(id);
        if (dispute && dispute.later.length > 0)
          known.set(id, { ...dispute, key: keyOf(byId.get(dispute.owner)) ?? dispute.key });
      }
      known = new Map([...known].filter(([id, dispute]) => claims.has(id) || isInGrace(dispute, now - graceMs)));
      adopted = new Map([...adopted].filter(([, { at }]) => now - at < graceMs));
      for (const draft of drafts) keepOwn(draft, owners, claims, known);
      return [...owners].filter(([id, owner]) => {
        const list = revoked.get(known.get(id)?.owner ?? '');
        return owner === undefined && !list?.everything && !list?.has(claims.get(id)?.[0].value ?? '');
      }).length;
    },

    /** What an earlier process knew; of credentials that no one here is known to own, or of all. */
    adopt(disputes: Disputes, extent: 'all' | 'undecided', now: number): void {
      for (const [print, dispute] of Object.entries(disputes)) {
        if (extent === 'all' || undecided.has(print)) adopted.set(print, { dispute, at: now });
      }
      if (extent === 'all') known = new Map([...known].filter(([id]) => !adopted.has(fingerprintOf(id))));
    },

    disputes(): Disputes {
      const mine = [...known].filter(([, { later }]) => later.length > 0);
      return Object.fromEntries([
        ...[...adopted].map(([print, { dispute }]) => [print, dispute] as const),
        ...mine.map(([id, dispute]) => [fingerprintOf(id), dispute] as const),
      ]);
    },

    /** Fingerprints of credentials in dispute whose owner is not known. */
    undecided: (): ReadonlySet<string> => undecided,
  };
}

/** Claims of one credential, the one with the best right first. */
type Holders = readonly [Claim, ...Claim[]];

/**
 * What is known of a credential that these environments claim; undefined: not which of them had it first. While the owner is none of
 * them, the credential is withheld.
 */
function nextDispute(
  before: Dispute | undefined,
  holders: Holders,
  drafts: ReadonlyMap<string, Draft>,
  { now, graceMs }: { readonly now: number; readonly graceMs: number },
): Dispute | undefined {
  const named = environmentsOf(holders);
  if (before === undefined) {
    // An environment that serves an SDK key gets that key's flags from LaunchDarkly, so the choice does little harm.
    const [{ kind, environment }] = holders;
    return named.length === 1 || kind === 'sdkKey' ? ownedBy(environment, named, undefined) : undefined;
  }
  const { owner } = before;
  const own = holders.filter(({ environment }) => environment === owner);
  const present = own.filter(({ standing }) => standing === 'present');
  if (present.length > 0) {
    const parameters = drafts.get(owner)?.parameters;
    // An environment that names it while the owner's value cannot be read may have got it from the owner.
    const isUncertain = present.every(({ parameter }) => isUnread(parameters?.get(parameter as SsmParameterName)));
    return ownedBy(owner, isUncertain ? named.filter((one) => isNamed(one, before)) : named, before);
  }
  if (own.length > 0) {
    const moved = holders.find(({ environment, standing }) => standing === 'present' && !isNamed(environment, before));
    return ownedBy(moved?.environment ?? owner, named, before, moved ? undefined : own[0]?.missingSince);
  }
  // An environment whose parameter is missing gave it up before its owner did.
  const [first, ...others] = holders.filter(({ standing }) => standing === 'present');
  const heirs: Holders = first ? [first, ...others] : holders;
  const heir = heirOf(before, heirs, drafts);
  const missingSince = before.missingSince ?? now;
  if (heir !== undefined || now - missingSince >= graceMs)
    return ownedBy(heir ?? firstOf(heirs, before.later), named, before);
  return { ...before, later: laterOf(owner, named, before), missingSince };
}

function ownedBy(owner: string, named: readonly string[], before: Dispute | undefined, missingSince?: number): Dispute {
  const key = before?.owner === owner ? before.key : undefined;
  return { owner, key, later: laterOf(owner, named, before), missingSince };
}

/** Removes the claims that belong to others, and says why. */
function keepOwn(
  { id, claims, problem }: Draft,
  owners: ReadonlyMap<string, string | undefined>,
  all: ReadonlyMap<string, readonly Claim[]>,
  known: ReadonlyMap<string, Dispute>,
): void {
  const mine = new Map<string, Claim>();
  for (const claim of claims) {
    const credential = credentialId(claim);
    const owner = owners.get(credential);
    // During a rotation the present key and the previous one are briefly the same.
    if (owner === id) mine.set(credential, longerOf(mine.get(credential), claim));
    else if (claim.standing === 'present') {
      const isTheirs = ({ environment }: Claim) => (owner === undefined ? environment !== id : environment === owner);
      const theirs = all.get(credential)?.find(isTheirs);
      problem(refusalOf(claim, owner, theirs, known.get(credential)));
    }
  }
  claims.splice(0, claims.length, ...mine.values());
}

function refusalOf(
  claim: Claim,
  owner: string | undefined,
  theirs: Claim | undefined,
  dispute: Dispute | undefined,
): string {
  const name = `${claim.environment}/${claim.parameter}`;
  const advice = 'give each environment its own';
  if (owner !== undefined) return `${name} has the same value as ${owner}/${theirs?.parameter}: ${advice}`;
  if (dispute !== undefined) {
    return `${name} is the value that ${dispute.owner} had first and that is no longer there: it opens nothing until the grace time after that is over; ${advice}`;
  }
  return `${name} has the same value as ${theirs?.environment}/${theirs?.parameter}, and which had it first is not known: it opens neither; ${advice}`;
}

/** The environment that gets the credential because its owner has certainly given it up; undefined: none yet. */
function heirOf(
  { owner, key, later }: Dispute,
  holders: Holders,
  drafts: ReadonlyMap<string, Draft>,
): string | undefined {
  const [first] = holders;
  const sameKey = holders.find(({ environment }) => key !== undefined && keyOf(drafts.get(environment)) === key);
  if (sameKey !== undefined) return sameKey.environment;
  const held = drafts.get(owner)?.parameters.get(parameterOf[first.kind]);
  if (held === undefined || isUnread(held)) return undefined;
  // Before it was deleted, its parameter had another value already.
  const isReplaced = held.trouble?.kind !== 'missing' || (held.text !== undefined && held.text !== first.value);
  return isReplaced ? firstOf(holders, later) : undefined;
}

/** Which one got it first, as far as is known. */
function firstOf(holders: Holders, later: readonly string[]): string {
  const named = environmentsOf(holders);
  return later.find((name) => named.includes(name)) ?? holders[0].environment;
}

export const parameterOf: Record<CredentialKind, SsmParameterName> = {
  sdkKey: 'sdk-key',
  mobileKey: 'mobile-key',
  environmentId: 'client-side-id',
};

function keyOf(draft: Draft | undefined): string | undefined {
  const text = draft?.parameters.get('sdk-key')?.text;
  return text === undefined ? undefined : fingerprintOf(text);
}

function environmentsOf(claims: readonly Claim[]): string[] {
  return [...new Set(claims.map(({ environment }) => environment))];
}

const isNamed = (environment: string, { owner, later }: Dispute) =>
  environment === owner || later.includes(environment);

/** Those that were there before, then the new ones. */
function laterOf(owner: string, named: readonly string[], before: Dispute | undefined): string[] {
  const earlier = [before?.owner, ...(before?.later ?? [])].filter((name) => name !== undefined);
  return [...new Set([...earlier, ...named])].filter((name) => name !== owner && named.includes(name));
}

function isInGrace({ later, missingSince }: Dispute, since: number): boolean {
  return later.length > 0 && missingSince !== undefined && missingSince > since;
}

/** For SDK keys that several environments have: the one that uses it, then one that is present, then the older parameter. */
function byRight(a: Claim, b: Claim): number {
  return (
    Number(b.parameter === 'sdk-key') - Number(a.parameter === 'sdk-key') ||
    Number(b.standing === 'present') - Number(a.standing === 'present') ||
    a.modifiedAt - b.modifiedAt ||
    (a.environment < b.environment ? -1 : 1)
  );
}
