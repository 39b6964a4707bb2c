import type { CredentialKind, EnvironmentDescription } from '../ports.ts';

/**
 * Decides which credentials may have the data that is in memory. Data belongs to the source that it came from, such as one
 * SDK key's stream: a credential that arrives together with another SDK key may be one that was corrected or moved here
 * from another environment, so it waits until that key has delivered.
 */
export interface Admission {
  /** False: the credential belongs to this environment, but the data may not. Answer with 503. */
  admits(kind: CredentialKind, value: string): boolean;
  /** What the source of environments says from now on. */
  update(next: EnvironmentDescription): void;
  /** From now on the data in memory comes from this source, see `sourceOf`. */
  holds(source: string): void;
}

export function createAdmission(first: EnvironmentDescription): Admission {
  let description = first;
  // What is in the environment's place of a store counts as data of its first key.
  let held = sourceOf(first, first.sdkKey && firstKeyOf(first.sdkKey, first.credentials));
  /** The credentials that came with another source than the data. */
  let newcomers = new Set(held === sourceOf(first) ? [] : [idOf('sdkKey', first.sdkKey ?? '')]);
  return {
    admits: (kind, value) => held === sourceOf(description) || !newcomers.has(idOf(kind, value)),
    update(next) {
      const known = new Set(description.credentials.map(({ kind, value }) => idOf(kind, value)));
      const isForeign = held !== sourceOf(next);
      const ids = next.credentials.map(({ kind, value }) => idOf(kind, value));
      description = next;
      newcomers = new Set(isForeign ? ids.filter((id) => newcomers.has(id) || !known.has(id)) : []);
    },
    holds(source) {
      held = source;
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

const idOf = (kind: CredentialKind, value: string) => `${kind} ${value}`;
