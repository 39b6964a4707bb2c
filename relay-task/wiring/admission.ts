import { createHash } from 'node:crypto';
import { credentialId } from '../environments/credential-id.ts';
import type { CredentialKind, EnvironmentDescription } from '../ports.ts';

/**
 * Decides which credentials may have the data that is in memory. Data belongs to the source that it came from, such as one
 * SDK key's stream: a credential that arrives together with another SDK key may be one that was corrected or moved here
 * from another environment, so it waits until that key has delivered. One that is no longer named loses the data when that
 * changes its source. Where LaunchDarkly says which environment a key belongs to, credentials of another environment wait
 * until the configuration is corrected.
 */
export interface Admission {
  /** False: the credential belongs to this environment, but the data may not. Answer with 503. */
  admits(kind: CredentialKind, value: string): boolean;
  /** What the source of environments says from now on. */
  update(next: EnvironmentDescription): void;
  /**
   * From now on the data in memory comes from this source, see `sourceOf`. Returns whether the data before may be another
   * environment's: it has another source, and LaunchDarkly did not say that both are of one environment.
   */
  holds(source: string): boolean;
  /** LaunchDarkly says that the SDK key belongs to the environment with this client-side ID. */
  belongs(sdkKey: string, environmentId: string): void;
  /**
   * Names the source of the data in memory for a store, without giving away a key: a hash, and after a dot the environment
   * that the data is of, if LaunchDarkly said so.
   */
  mark(): string;
  /**
   * Whether data of a store with this mark may be served, see `StoredSet.source`; if so, memory holds it from now on. Data
   * without a mark counts as that of the key that this task starts with.
   */
  takes(mark: string | undefined): boolean;
  /** Whether data of a store with this mark comes from where the data in memory does, or is of the same environment. */
  owns(mark: string | undefined): boolean;
  /** Where the data in memory comes from, see `sourceOf`. */
  source(): string;
  /** The client-side ID of the environment that the data in memory is of, as far as is known. */
  environmentId(): string | undefined;
  /**
   * The present SDK key if LaunchDarkly says that it is of the same environment as this one; otherwise this one. Here counts
   * whose the keys are, wherever the data in memory comes from.
   */
  successorOf(sdkKey: string): string;
  /** The SDK key whose data is in memory, or expected first; undefined: it does not come from LaunchDarkly. */
  key(): string | undefined;
  /** The environment that this data is of, if LaunchDarkly said so. */
  environment(): string | undefined;
  /** Set while LaunchDarkly says that the SDK key and the client-side ID are of two environments. */
  problem(): EnvironmentDescription['keyProblem'];
  /** For another view of the same environment that begins now. */
  history(): CredentialHistory;
}

/** By credential, see `credentialId`: sources of data, see `sourceOf`. */
interface CredentialHistory {
  /**
   * Those that came with the present source, or while another one was present that had not delivered: the source that they came
   * with.
   */
  readonly newcomers: ReadonlyMap<string, string>;
  /** Those that the source of environments does not confirm. */
  readonly leaving: ReadonlyMap<string, Leaving>;
}

/** What was true of a credential when the source of environments last confirmed it. */
interface Leaving {
  /** Where the data came from. */
  readonly source: string;
  /** The client-side IDs that said whose data it was. */
  readonly clientIds: readonly string[];
}

/** By source: the environment that its data is of, according to LaunchDarkly. */
export interface Heard {
  get(source: string): string | undefined;
  set(source: string, environment: string): void;
}

/** Far more than the keys of a relay; an entry takes about 100 bytes. */
const MOST_HEARD = 20_000;

/** For all environments of a relay, since a key that was heard of in one may move to another. Forgets the oldest of too many. */
export function createHeard(most = MOST_HEARD): Heard {
  const environments = new Map<string, string>();
  return {
    get: (source) => environments.get(source),
    set(source, environment) {
      environments.delete(source);
      environments.set(source, environment);
      const [oldest] = environments.keys();
      if (environments.size > most && oldest !== undefined) environments.delete(oldest);
    },
  };
}

/** `onChange`: the answers of `admits` may be others now. Must not throw. */
export function createAdmission(
  first: EnvironmentDescription,
  onChange: () => void = () => {},
  environments: Heard = createHeard(),
  history?: CredentialHistory,
): Admission {
  let description = first;
  // Data without a mark in the environment's place of a store counts as data of this key.
  let held = sourceOf(first, first.sdkKey && firstKeyOf(first.sdkKey, first.credentials));
  let newcomers = new Map([
    ...(held === sourceOf(first)
      ? []
      : [[credentialId({ kind: 'sdkKey', value: first.sdkKey ?? '' }), sourceOf(first)] as const]),
    ...(history?.newcomers ?? []),
  ]);
  let leaving = new Map(history?.leaving);
  const started = held;
  let hasData = false;
  let conflictSince: number | undefined;

  /** A newcomer belongs to the key that it came with, any other credential to the data that it had. */
  function leavingIn(
    next: EnvironmentDescription,
    clientIdsBy: (id: string) => readonly string[],
  ): Map<string, Leaving> {
    const ids = next.credentials.filter(({ unconfirmed }) => unconfirmed).map(credentialId);
    return new Map(
      ids.map((id) => [id, leaving.get(id) ?? { source: newcomers.get(id) ?? held, clientIds: clientIdsBy(id) }]),
    );
  }

  const sourcesNow = () => [
    sourceOf(description),
    ...description.credentials.flatMap(({ kind, value }) => (kind === 'sdkKey' ? [sourceOf(description, value)] : [])),
  ];

  function sourceWith(mark: string): string | undefined {
    const [hash] = mark.split('.');
    return sourcesNow().find((one) => markOf(one) === hash);
  }

  /** Whether LaunchDarkly's word speaks against it. */
  function isForeign(kind: CredentialKind, value: string): boolean {
    const environment = environments.get(held);
    if (environment === undefined) return false;
    if (kind === 'sdkKey') return (environments.get(sourceOf(description, value)) ?? environment) !== environment;
    if (kind === 'environmentId') return value !== environment;
    // It is unknown whose a mobile key is. While the SDK key and the client-side ID disagree, it may be either's, and one that was
    // replaced before that was corrected still may.
    const clientIds = [...clientIdsOf(description), ...(leaving.get(credentialId({ kind, value }))?.clientIds ?? [])];
    return clientIds.some((clientId) => clientId !== environment);
  }

  /** Whether the data is no longer that of which the credential was a part. */
  function hasLostData(id: string): boolean {
    const left = leaving.get(id);
    return left !== undefined && mayDiffer(left.source, held);
  }

  /** Whether two sources may have the data of two environments. */
  function mayDiffer(a: string, b: string): boolean {
    return a !== b && (environments.get(a) === undefined || environments.get(a) !== environments.get(b));
  }

  function changed(): void {
    const environment = environments.get(held);
    const disagree = environment !== undefined && clientIdsOf(description).some((clientId) => clientId !== environment);
    conflictSince = disagree ? (conflictSince ?? Date.now()) : undefined;
    onChange();
  }

  function holds(source: string): boolean {
    const isOther = hasData && mayDiffer(held, source);
    held = source;
    const { sdkKey } = description;
    // The key counted as one that has its data only because there was none.
    if (!hasData && sdkKey !== undefined && source !== sourceOf(description))
      newcomers.set(credentialId({ kind: 'sdkKey', value: sdkKey }), sourceOf(description));
    hasData = true;
    changed();
    return isOther;
  }

  const isOwn = (kind: CredentialKind, value: string) => kind === 'sdkKey' && held === sourceOf(description, value);

  // A task that starts was not there when they were replaced, nor when an ID was that still opens its environment as they do.
  leaving = leavingIn(first, () => [
    ...clientIdsOf(first),
    ...first.credentials.flatMap(({ kind, value, unconfirmed }) =>
      kind === 'environmentId' && unconfirmed ? value : [],
    ),
  ]);

  return {
    admits: (kind, value) =>
      isOwn(kind, value) ||
      ((held === sourceOf(description) || !newcomers.has(credentialId({ kind, value }))) &&
        !hasLostData(credentialId({ kind, value })) &&
        !isForeign(kind, value)),
    update(next) {
      const known = new Set(description.credentials.map(credentialId));
      const before = sourceOf(description);
      const clientIds = clientIdsOf(description);
      // Credentials that have the data keep it. Those that wait for it keep waiting: an earlier key may deliver again.
      const isEstablished = held === before && before !== sourceOf(next);
      const ids = next.credentials.map(credentialId);
      description = next;
      const came = newcomers;
      newcomers = new Map();
      for (const id of ids) {
        const source = known.has(id) ? came.get(id) : sourceOf(next);
        if (source !== undefined && !(known.has(id) && isEstablished)) newcomers.set(id, source);
      }
      leaving = leavingIn(next, (id) => (known.has(id) ? clientIds : clientIdsOf(next)));
      changed();
    },
    holds,
    belongs(sdkKey, environmentId) {
      // For a payload filter it may be followed by a dot and the filter.
      environments.set(sourceOfKey(sdkKey), environmentId.split('.')[0] ?? '');
      changed();
    },
    mark: () => [markOf(held), environments.get(held) ?? []].flat().join('.'),
    takes(mark) {
      if (mark === undefined) {
        holds(held);
        return true;
      }
      const source = sourceWith(mark);
      if (source === undefined) return false;
      const [, environment] = mark.split('.');
      if (environment !== undefined) environments.set(source, environment);
      holds(source);
      return true;
    },
    owns(mark) {
      // As LaunchDarkly told the writer, also of a key that is not known here yet.
      const environment = mark?.split('.')[1];
      if (environment !== undefined && environment === environments.get(held)) return true;
      // What says nothing counts as data of the key that this task starts with.
      const source = mark === undefined ? started : sourceWith(mark);
      return source !== undefined && !mayDiffer(source, held);
    },
    source: () => held,
    environmentId: () =>
      environments.get(held) ?? (held === sourceOf(description) ? description.environmentId : undefined),
    successorOf(sdkKey) {
      const present = description.sdkKey ?? sdkKey;
      return mayDiffer(sourceOfKey(sdkKey), sourceOfKey(present)) ? sdkKey : present;
    },
    key: () => keyOf(held),
    history: () => ({ newcomers, leaving }),
    environment: () => environments.get(held),
    problem() {
      if (conflictSince === undefined) return undefined;
      return {
        since: conflictSince,
        message: `LaunchDarkly says that the SDK key belongs to the environment ${environments.get(held)}, but the client-side ID is ${clientIdsOf(description).join()}: correct one of them; mobile and client-side SDKs get 503 until then`,
      };
    },
  };
}

const KEY = 'key ';

/** Names where an environment's data comes from: a file, an archive's data, or the stream of an SDK key. */
export function sourceOf({ flagsFile, data, sdkKey }: EnvironmentDescription, key = sdkKey): string {
  if (flagsFile !== undefined) return `file ${flagsFile}`;
  return data ? `data ${data.id}` : sourceOfKey(key);
}

/** The SDK key that a source names. */
function keyOf(source: string): string | undefined {
  return (source.startsWith(KEY) && source.slice(KEY.length)) || undefined;
}

const sourceOfKey = (key = '') => `${KEY}${key}`;

/** The sources of an environment that has its data from LaunchDarkly: its SDK key, then those in their grace time. */
export function keySourcesOf(description: EnvironmentDescription): readonly string[] {
  const { sdkKey, flagsFile, data, credentials } = description;
  if (sdkKey === undefined || flagsFile !== undefined || data !== undefined) return [];
  const others = credentials.filter(({ kind, value }) => kind === 'sdkKey' && value !== sdkKey);
  return [sdkKey, ...others.map(({ value }) => value)].map((key) => sourceOf(description, key));
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

/** A hash: SDK keys are random, so no key can be derived from its mark. */
function markOf(source: string): string {
  return createHash('sha256').update(`edge-flag-relay ${source}`).digest('base64url').slice(0, 22);
}

/** One, or none. */
function clientIdsOf({ environmentId, formerEnvironmentId }: EnvironmentDescription): readonly string[] {
  const clientId = environmentId ?? formerEnvironmentId;
  return clientId === undefined ? [] : [clientId];
}
