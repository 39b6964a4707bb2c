import { createHash } from 'node:crypto';
import { forgetOldest } from '../common/forget-oldest.ts';
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
  /** The client-side ID of the environment that a credential belongs to, if LaunchDarkly said so. */
  environmentOf(kind: CredentialKind, value: string): string | undefined;
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
      forgetOldest(environments, most);
    },
  };
}

/** `onChange`: the answers of `admits` may be others now. Must not throw. */
export function createAdmission(
  first: EnvironmentDescription,
  onChange: () => void = () => {},
  heard: Heard = createHeard(),
  history?: CredentialHistory,
): Admission {
  let description = first;
  // Data without a mark in the environment's place of a store counts as data of this key.
  const started = sourceOf(first, first.sdkKey && firstKeyOf(first.sdkKey, first.credentials));
  let held = started;
  let hasData = false;
  let conflictSince: number | undefined;
  const credentials = createCredentials(first, started, history);

  const environment = () => heard.get(held);

  /** Whether two sources may have the data of two environments. */
  const mayDiffer = (a: string, b: string) => a !== b && (heard.get(a) === undefined || heard.get(a) !== heard.get(b));

  const sourceWith = (hash: string | undefined) => sourcesOf(description).find((one) => markOf(one) === hash);

  /** Whether LaunchDarkly says that the credential belongs to another environment than the data. */
  function isForeign(kind: CredentialKind, value: string, left: Leaving | undefined): boolean {
    const present = environment();
    if (present === undefined) return false;
    if (kind === 'sdkKey') return (heard.get(sourceOf(description, value)) ?? present) !== present;
    if (kind === 'environmentId') return value !== present;
    // LaunchDarkly does not say which environment a mobile key belongs to. While the SDK key and the client-side ID disagree, it may be
    // either's; so may one that was replaced before that was corrected.
    return [...clientIdsOf(description), ...(left?.clientIds ?? [])].some((clientId) => clientId !== present);
  }

  function changed(): void {
    const present = environment();
    const disagree = present !== undefined && clientIdsOf(description).some((clientId) => clientId !== present);
    conflictSince = disagree ? (conflictSince ?? Date.now()) : undefined;
    onChange();
  }

  function holds(source: string): boolean {
    const isOther = hasData && mayDiffer(held, source);
    held = source;
    const { sdkKey } = description;
    // The key counted as one that has its data only because there was none.
    if (!hasData && sdkKey !== undefined && source !== sourceOf(description)) credentials.await(description, sdkKey);
    hasData = true;
    changed();
    return isOther;
  }

  return {
    admits(kind, value) {
      if (kind === 'sdkKey' && held === sourceOf(description, value)) return true;
      const id = credentialId({ kind, value });
      if (held !== sourceOf(description) && credentials.isNew(id)) return false;
      const left = credentials.left(id);
      // The data that it belonged to was replaced.
      if (left && mayDiffer(left.source, held)) return false;
      return !isForeign(kind, value, left);
    },
    update(next) {
      credentials.update(description, next, held);
      description = next;
      changed();
    },
    holds,
    belongs(sdkKey, environmentId) {
      // For a payload filter it may be followed by a dot and the filter.
      heard.set(sourceOfKey(sdkKey), environmentId.split('.')[0] ?? '');
      changed();
    },
    mark: () => [markOf(held), environment() ?? []].flat().join('.'),
    takes(mark) {
      const [hash, said] = mark?.split('.') ?? [];
      const source = mark === undefined ? held : sourceWith(hash);
      if (source === undefined) return false;
      if (said !== undefined) heard.set(source, said);
      holds(source);
      return true;
    },
    owns(mark) {
      const [hash, said] = mark?.split('.') ?? [];
      // The writer had this from LaunchDarkly; it counts even for a key that this relay does not know yet.
      if (said !== undefined && said === environment()) return true;
      // Data without a mark counts as that of the key that this task started with.
      const source = mark === undefined ? started : sourceWith(hash);
      return source !== undefined && !mayDiffer(source, held);
    },
    source: () => held,
    environmentId: () => environment() ?? (held === sourceOf(description) ? description.environmentId : undefined),
    successorOf(sdkKey) {
      const present = description.sdkKey ?? sdkKey;
      return mayDiffer(sourceOfKey(sdkKey), sourceOfKey(present)) ? sdkKey : present;
    },
    // It says so of SDK keys only.
    environmentOf: (kind, value) => (kind === 'sdkKey' ? heard.get(sourceOfKey(value)) : undefined),
    key: () => keyOf(held),
    history: credentials.history,
    environment,
    problem() {
      if (conflictSince === undefined) return undefined;
      return {
        since: conflictSince,
        message: `LaunchDarkly says that the SDK key belongs to the environment ${environment()}, but the client-side ID is ${clientIdsOf(description).join()}: correct one of them; mobile and client-side SDKs get 503 until then`,
      };
    },
  };
}

/** Which credentials wait for their data, and which had data that may be replaced. `held`: the source of the data in memory. */
function createCredentials(first: EnvironmentDescription, held: string, history: CredentialHistory | undefined) {
  let newcomers = new Map<string, string>();
  let leaving = new Map(history?.leaving);

  /** The key waits for data of its own. */
  function awaitKey(description: EnvironmentDescription, sdkKey: string): void {
    newcomers.set(credentialId({ kind: 'sdkKey', value: sdkKey }), sourceOf(description));
  }

  /** A newcomer belongs to the key that it came with, any other credential to the data that it had. */
  function leavingIn(next: EnvironmentDescription, present: string, clientIdsBy: (id: string) => readonly string[]) {
    const ids = next.credentials.filter(({ unconfirmed }) => unconfirmed).map(credentialId);
    return new Map(
      ids.map((id) => [id, leaving.get(id) ?? { source: newcomers.get(id) ?? present, clientIds: clientIdsBy(id) }]),
    );
  }

  if (held !== sourceOf(first)) awaitKey(first, first.sdkKey ?? '');
  for (const [id, source] of history?.newcomers ?? []) newcomers.set(id, source);
  // A task that starts was not there when they were replaced, nor when an ID was that still opens its environment as they do.
  leaving = leavingIn(first, held, () => [
    ...clientIdsOf(first),
    ...first.credentials.flatMap(({ kind, value, unconfirmed }) =>
      kind === 'environmentId' && unconfirmed ? value : [],
    ),
  ]);

  return {
    isNew: (id: string) => newcomers.has(id),
    left: (id: string): Leaving | undefined => leaving.get(id),
    await: awaitKey,
    update(before: EnvironmentDescription, next: EnvironmentDescription, present: string): void {
      const known = new Set(before.credentials.map(credentialId));
      // Credentials that have the data keep it. Those that wait for it keep waiting: an earlier key may deliver again.
      const isEstablished = present === sourceOf(before) && present !== sourceOf(next);
      const came = newcomers;
      newcomers = new Map();
      for (const id of next.credentials.map(credentialId)) {
        const source = known.has(id) ? came.get(id) : sourceOf(next);
        if (source !== undefined && !(known.has(id) && isEstablished)) newcomers.set(id, source);
      }
      leaving = leavingIn(next, present, (id) => clientIdsOf(known.has(id) ? before : next));
    },
    history: (): CredentialHistory => ({ newcomers, leaving }),
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

/** Where its data may come from: the present source first, then its other SDK keys. */
function sourcesOf(description: EnvironmentDescription): readonly string[] {
  const sdkKeys = description.credentials.filter(({ kind }) => kind === 'sdkKey');
  return [sourceOf(description), ...sdkKeys.map(({ value }) => sourceOf(description, value))];
}

/** The sources of an environment that has its data from LaunchDarkly. */
export function keySourcesOf(description: EnvironmentDescription): readonly string[] {
  const { sdkKey, flagsFile, data } = description;
  return sdkKey === undefined || flagsFile !== undefined || data !== undefined ? [] : sourcesOf(description);
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
