import { createHash } from 'node:crypto';
import type { CredentialKind, EnvironmentDescription } from '../ports.ts';

/**
 * Decides which credentials may have the data that is in memory. Data belongs to the source that it came from, such as one
 * SDK key's stream: a credential that arrives together with another SDK key may be one that was corrected or moved here
 * from another environment, so it waits until that key has delivered. Where LaunchDarkly says which environment a key
 * belongs to, credentials of another environment wait until the configuration is corrected.
 */
export interface Admission {
  /** False: the credential belongs to this environment, but the data may not. Answer with 503. */
  admits(kind: CredentialKind, value: string): boolean;
  /** What the source of environments says from now on. */
  update(next: EnvironmentDescription): void;
  /** From now on the data in memory comes from this source, see `sourceOf`. */
  holds(source: string): void;
  /** LaunchDarkly says that the SDK key belongs to the environment with this client-side ID. */
  belongs(sdkKey: string, environmentId: string): void;
  /** Names the source of the data in memory for a store, without giving away a key. */
  mark(): string;
  /**
   * Whether data of a store with this mark may be served, see `StoredSet.source`; if so, memory holds it from now on. Data
   * without a mark counts as that of the key that this task starts with.
   */
  takes(mark: string | undefined): boolean;
  /** Set while LaunchDarkly says that the SDK key and the client-side ID are of two environments. */
  problem(): EnvironmentDescription['keyProblem'];
}

/** `onChange`: the answers of `admits` may be others now. Must not throw. */
export function createAdmission(first: EnvironmentDescription, onChange: () => void = () => {}): Admission {
  let description = first;
  // Data without a mark in the environment's place of a store counts as data of this key.
  let held = sourceOf(first, first.sdkKey && firstKeyOf(first.sdkKey, first.credentials));
  /** The credentials that came with another source than the data. */
  let newcomers = new Set(held === sourceOf(first) ? [] : [idOf('sdkKey', first.sdkKey ?? '')]);
  /** By source: the environment that its data is of, according to LaunchDarkly. */
  const environments = new Map<string, string>();
  let conflictSince: number | undefined;

  const sourcesNow = () => [
    sourceOf(description),
    ...description.credentials.flatMap(({ kind, value }) => (kind === 'sdkKey' ? [sourceOf(description, value)] : [])),
  ];

  /** Whether LaunchDarkly's word speaks against it. */
  function isForeign(kind: CredentialKind, value: string): boolean {
    const environment = environments.get(held);
    if (environment === undefined) return false;
    if (kind === 'sdkKey') return (environments.get(sourceOf(description, value)) ?? environment) !== environment;
    // Nobody says whose a mobile key is. While the SDK key and the client-side ID disagree, it may be either's.
    return (kind === 'environmentId' ? value : (description.environmentId ?? environment)) !== environment;
  }

  function changed(): void {
    const environment = environments.get(held);
    const disagree = environment !== undefined && (description.environmentId ?? environment) !== environment;
    conflictSince = disagree ? (conflictSince ?? Date.now()) : undefined;
    onChange();
  }

  function holds(source: string): void {
    held = source;
    changed();
  }

  return {
    admits: (kind, value) =>
      (held === sourceOf(description) || !newcomers.has(idOf(kind, value))) && !isForeign(kind, value),
    update(next) {
      const known = new Set(description.credentials.map(({ kind, value }) => idOf(kind, value)));
      const isOther = held !== sourceOf(next);
      const ids = next.credentials.map(({ kind, value }) => idOf(kind, value));
      description = next;
      newcomers = new Set(isOther ? ids.filter((id) => newcomers.has(id) || !known.has(id)) : []);
      const kept = new Set([held, ...sourcesNow()]);
      for (const source of environments.keys()) if (!kept.has(source)) environments.delete(source);
      changed();
    },
    holds,
    belongs(sdkKey, environmentId) {
      // For a payload filter it may be followed by a dot and the filter.
      environments.set(sourceOf(description, sdkKey), environmentId.split('.')[0] ?? '');
      changed();
    },
    mark: () => markOf(held),
    takes(mark) {
      if (mark === undefined) return true;
      const source = sourcesNow().find((one) => markOf(one) === mark);
      if (source === undefined) return false;
      holds(source);
      return true;
    },
    problem() {
      if (conflictSince === undefined) return undefined;
      const { environmentId } = description;
      return {
        since: conflictSince,
        message: `LaunchDarkly says that the SDK key belongs to the environment ${environments.get(held)}, but the client-side ID is ${environmentId}: correct one of them; mobile and client-side SDKs get 503 until then`,
      };
    },
  };
}

/** Names where an environment's data comes from: a file, an archive's data, or the stream of an SDK key. */
export function sourceOf({ flagsFile, data, sdkKey }: EnvironmentDescription, key = sdkKey): string {
  if (flagsFile !== undefined) return `file ${flagsFile}`;
  return data ? `data ${data.id}` : `key ${key ?? ''}`;
}

/** The key to start with. In the middle of a rotation it is the earlier one, since the new one may not work yet. */
export function firstKeyOf(sdkKey: string, credentials: EnvironmentDescription['credentials']): string {
  const [earlier] = credentials
    .flatMap(({ kind, value, expiresAt }) =>
      kind === 'sdkKey' && value !== sdkKey && expiresAt !== undefined ? [{ value, expiresAt }] : [],
    )
    .sort((a, b) => b.expiresAt - a.expiresAt);
  return earlier?.value ?? sdkKey;
}

/** A hash: SDK keys are random, so nobody finds the key to a mark. */
function markOf(source: string): string {
  return createHash('sha256').update(`edge-flag-relay ${source}`).digest('base64url').slice(0, 22);
}

const idOf = (kind: CredentialKind, value: string) => `${kind} ${value}`;
