/**
 * What a client may be answered, by the rules of docs/keys.md and of the decision that data belongs to the key that it came
 * with. Nothing here knows how the relay decides.
 */
import { type Credential, credentialsOf, type Folder, type State, type World } from './world.ts';

/** A key whose grace time ends later than this, in ms, still opens its environment when a relay is asked. */
const GRACE_LEFT_MS = 600_000;

/** What a relay can know: it may be at any state since the oldest one. */
export interface Knowledge {
  /** Numbers of states, both included. */
  readonly oldest: number;
  readonly newest: number;
  /** The states that it is known to have read, since it started. */
  readonly read: readonly State[];
  /** Unix ms when LaunchDarkly first told it the environment of this SDK key, since it started. */
  heardAt(sdkKey: string): number | undefined;
}

export interface Answer {
  readonly credential: Credential;
  readonly status: number;
  readonly body: string;
  /** Unix ms when the body was complete. */
  readonly at: number;
}

/** Why the answer must not be given; undefined: it may be. */
export function objectionTo(world: World, knowledge: Knowledge, { credential, status, body, at }: Answer) {
  const states = world.states.slice(knowledge.oldest, knowledge.newest + 1);
  // A flag that cannot be read is missing, which says nothing of the credential.
  if (status === 503 || (status === 404 && body.includes('there is no flag'))) return undefined;
  if (status >= 400 && status < 500) {
    const mayBeUnknown = states.some((state) => !isGood(state, credential, knowledge.read, at));
    return mayBeUnknown ? undefined : `a final ${status} for a good ${credential.kind}`;
  }
  if (status !== 200) return `status ${status}`;
  const hasHeard = (knowledge.heardAt(credential.value) ?? at) < at;
  const allowed = dataFor(world, states, credential, hasHeard);
  const foreign = whoseIn(body).filter((environment) => !allowed.has(environment));
  if (foreign.length === 0) return undefined;
  return `data of ${foreign.join(', ')} for a ${credential.kind} of ${[...allowed].join(', ') || 'nobody'}`;
}

/** The environments that a body names. */
export function whoseIn(body: string): string[] {
  return [...new Set([...body.matchAll(/\b(red|green|blue|gold):\d+/g)].map(([, environment]) => environment!))];
}

/** Whether the credential is in an environment, or was deleted without a revocation after this relay had read it. */
function isGood(state: State, { kind, value }: Credential, read: readonly State[], at: number): boolean {
  return state.some((folder) => {
    if (folder.revoked.includes(value)) return false;
    // A source states only the newest of several previous keys, so a relay may not know the others.
    const grace = folder.previous.at(-1);
    if (kind === 'sdkKey' && grace?.sdkKey === value && folder.gone.sdkKey === undefined) return at < grace.until;
    if (presentOf(folder, kind) !== value) return false;
    const isThere = (one: Folder) => one.gone[kind] === undefined && presentOf(one, kind) === value;
    return isThere(folder) || read.some((known) => known.some((one) => one.name === folder.name && isThere(one)));
  });
}

/** Of SSM, as they ever were: a relay that saw one vanish and did not see where its keys went keeps those. */
function formerFolders({ source, states, folders }: World): Folder[] {
  if (source !== 'SSM') return [];
  return states.flat().filter(({ name }) => folders.every((one) => one.name !== name));
}

/**
 * A relay that did not read the last value of a parameter before it was deleted keeps the one before, since a deletion is no
 * revocation.
 */
function mayBeKept({ states }: World, { name, gone }: Folder, { kind, value }: Credential): boolean {
  if (gone[kind] === undefined) return false;
  return states.some((state) => state.some((one) => one.name === name && presentOf(one, kind) === value));
}

/**
 * The folder as it says whose data a credential of this kind may have. One that was deleted may have what it had before, whatever the
 * folder says meanwhile.
 */
function lastsOf({ states }: World, folder: Folder, kind: Credential['kind']): readonly Folder[] {
  if (folder.gone[kind] === undefined) return [folder];
  return states.flat().filter(({ name, gone }) => name === folder.name && gone[kind] === undefined);
}

function presentOf({ sdkKey, mobileKey, clientId }: Folder, kind: Credential['kind']): string | undefined {
  return { sdkKey, mobileKey, environmentId: clientId }[kind];
}

/** The environments whose data the credential may have. */
function dataFor(
  world: World,
  states: readonly State[],
  { kind, value }: Credential,
  hasHeard: boolean,
): ReadonlySet<string> {
  const { environmentOf, source, sendsIds } = world;
  const allowed = new Set<string>();
  // What LaunchDarkly itself would send for the key.
  if (kind === 'sdkKey' && source !== 'archive') allowed.add(environmentOf(value));
  for (const folder of [...states.flat(), ...formerFolders(world)].flatMap((one) => lastsOf(world, one, kind))) {
    if (!credentialsOf(folder).some((one) => one.kind === kind && one.value === value)) continue;
    // An archive brings each environment's data along.
    if (source === 'archive') {
      allowed.add(environmentOf(folder.name));
      continue;
    }
    const isInGrace = folder.previous.some(({ sdkKey }) => sdkKey === value);
    // By its grace time a key is said to be of the same environment as the present key, if LaunchDarkly has not said otherwise.
    if (kind === 'sdkKey' && (hasHeard || !isInGrace)) continue;
    for (const sdkKey of [folder.sdkKey, ...folder.previous.map((one) => one.sdkKey)]) {
      const environment = environmentOf(sdkKey);
      const { clientId } = folder;
      // LaunchDarkly says that the SDK key and the client-side ID are of two environments.
      if (sendsIds && kind !== 'sdkKey' && clientId !== undefined && environmentOf(clientId) !== environment) continue;
      allowed.add(environment);
    }
  }
  return allowed;
}

/** What every relay has to answer once all faults are over: a text that the body contains, or a status; undefined: either. */
export function settledAnswer(world: World, credential: Credential): string | 503 | 'final' | undefined {
  const { environmentOf, sendsIds, source } = world;
  const { kind, value } = credential;
  const holders = world.folders.filter(
    (folder) => presentOf(folder, kind) === value && folder.gone[kind] === undefined,
  );
  const previous = world.folders.filter((folder) => folder.previous.some(({ sdkKey }) => sdkKey === value));
  if (holders.length > 1) return undefined;
  const [folder] = holders;
  if (!folder) {
    const isKept =
      world.folders.some((one) => mayBeKept(world, one, credential)) ||
      formerFolders(world).some((one) => presentOf(one, kind) === value);
    if (isKept || previous.length > 1) return undefined;
    const [former] = previous;
    return former ? answerInGrace(world, former, value) : 'final';
  }
  if (source === 'archive') return newest(world, environmentOf(folder.name));
  // Without its SDK key the environment has no source any more, or a key that is another environment's too.
  if (folder.gone.sdkKey !== undefined || sharesItsKey(world, folder)) return undefined;
  const environment = environmentOf(folder.sdkKey);
  const isForeign = folder.clientId !== undefined && environmentOf(folder.clientId) !== environment;
  if (kind !== 'sdkKey' && sendsIds && isForeign) return 503;
  return newest(world, environment);
}

/** A key in its grace time goes on, unless it is of another environment than the key that came after it. */
function answerInGrace(world: World, folder: Folder, sdkKey: string): string | undefined {
  const { environmentOf, source } = world;
  const isStated = folder.previous.at(-1)?.sdkKey === sdkKey;
  const isOver = folder.previous.some((one) => one.sdkKey === sdkKey && one.until < Date.now() + GRACE_LEFT_MS);
  const environment = environmentOf(source === 'archive' ? folder.name : folder.sdkKey);
  if (!isStated || isOver || folder.gone.sdkKey !== undefined || sharesItsKey(world, folder)) return undefined;
  return source === 'archive' || environmentOf(sdkKey) === environment ? newest(world, environment) : undefined;
}

function newest({ versionOf }: World, environment: string): string {
  return `${environment}:${versionOf(environment)}`;
}

function sharesItsKey({ folders }: World, folder: Folder): boolean {
  return folders.some((one) => one !== folder && credentialsOf(one).some(({ value }) => value === folder.sdkKey));
}
