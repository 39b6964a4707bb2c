/** Readiness and the body of `/status`, computed from the current state. */
import { cutText } from '../common/json.ts';
import { obscureKey, redactKeys, redactSecrets } from '../common/secrets.ts';
import type {
  BigSegments,
  Credential,
  EnvironmentLabels,
  EnvironmentSourceStatus,
  EventStatus,
  FailedItem,
  MemoryUsage,
  RefusedPattern,
  Runbook,
  SpoolStatus,
  StoreStatus,
  UnreadableItem,
  UpstreamStatus,
} from '../ports.ts';
import type { Output } from './output.ts';
import type { PropagationStatus } from './propagation.ts';
import {
  type Environment,
  isConnected,
  type Limits,
  LONGEST_TEXT,
  ownReasons,
  type Reason,
  reasonsOf,
} from './reasons.ts';

/** The current state of one environment, or of one of its payload filters. */
export interface EnvironmentHealth extends Environment {
  /** Its key in `/status`; the name by default. Auto-configuration and archives use the client-side ID. */
  readonly id?: string;
  /** The key for LaunchDarkly. */
  readonly sdkKey?: string | undefined;
  /** All credentials that clients may use. */
  readonly credentials: readonly Credential[];
  readonly environmentId?: string | undefined;
  readonly labels?: EnvironmentLabels;
  /** `createdAt` in ms of `performance.now()`. */
  readonly createdNow: number;
  /** Set while LaunchDarkly cannot be reached and memory has newer data of a store; the time is Unix ms. */
  readonly followedStore?: { readonly database: StoreStatus['database']; readonly time: number } | undefined;
  readonly refusedPatterns: readonly RefusedPattern[];
  /** Undefined: events are not forwarded. */
  readonly events?: EventStatus | undefined;
  /** Open streams. */
  readonly streams?: number;
}

/** The state that `/status` and metrics show. */
export interface Watched {
  environments(): Iterable<EnvironmentHealth>;
  /** The source of environments and keys. */
  source?(): EnvironmentSourceStatus | undefined;
  /** Undefined without one. */
  eventSpool?(): SpoolStatus | undefined;
  /** What the relay holds in memory for clients. */
  memory?(): MemoryUsage;
  /** How long changes take. */
  propagation?(): PropagationStatus;
  /** How many log lines stdout did not take. */
  readonly logLinesLost?: (() => number) | undefined;
  readonly losing?: Output['losing'] | undefined;
}

export interface HealthOptions extends Watched, Omit<Limits, 'now' | 'monotonic'> {
  readonly version: string;
  /** Whether the source has delivered a complete list of environments and keys at least once. */
  keysKnown(): boolean;
  readonly initTimeoutMs: number;
  readonly readyRequires: 'any' | 'all';
  /** Unix ms; `Date.now` by default. */
  now?(): number;
  /** Ms; `performance.now` by default. */
  monotonic?(): number;
}

interface Readiness {
  readonly ready: boolean;
  /** What is missing when not ready. */
  readonly waitingFor: readonly string[];
}

export interface RelayHealth {
  /** Call this when the server accepts connections. */
  setListening(): void;
  /** Permanently not ready from now on. */
  setDraining(): void;
  /** Once ready, stays ready until draining: a relay with data should keep serving during overload and outages. */
  readiness(): Readiness;
  /** The JSON of a `RelayStatus`, in parts: each environment is looked up when its part is read. */
  status(): Generator<string, void>;
  /** What `/status` says of the whole, for metrics. */
  standing(): RelayStanding;
  /** Yields after each environment that is another one. */
  environmentStatus(identifier: string): Generator<void, EnvironmentStatus | undefined>;
}

export interface RelayStanding {
  readonly status: RelayStatus['status'];
  readonly source: EnvironmentSourceStatus | undefined;
  readonly environments: readonly EnvironmentStanding[];
}

export interface EnvironmentStanding {
  readonly environment: EnvironmentHealth;
  readonly status: EnvironmentStatus['status'];
  /** Of the store that ld-relay would show, or of memory. */
  readonly store: EnvironmentStatus['dataStoreStatus'];
}

/** ld-relay's fields, followed by additional ones. */
interface EnvironmentStatus {
  readonly sdkKey: string;
  readonly envId?: string;
  readonly envKey?: string;
  readonly envName?: string;
  readonly projKey?: string;
  readonly projName?: string;
  readonly mobileKey?: string;
  readonly expiringSdkKey?: string;
  /** All valid keys, if there is more than one of a kind. */
  readonly sdkKeys?: readonly KeyStatus[];
  readonly mobileKeys?: readonly KeyStatus[];
  readonly status: 'connected' | 'disconnected';
  readonly connectionStatus: Pick<UpstreamStatus, 'state' | 'stateSince' | 'lastError' | 'delay'>;
  readonly dataStoreStatus: Pick<StoreStatus, 'state' | 'stateSince' | 'dbServer' | 'dbPrefix' | 'dbTable'> &
    Partial<Pick<StoreStatus, 'database'>>;
  readonly bigSegmentStatus?: NonNullable<ReturnType<BigSegments['status']>>;
  /** Absent: events are not forwarded. */
  readonly eventStatus?: WithRunbook<EventStatus>;
  /** Set while the keys are the last known ones: removed from their source, or unreadable. */
  readonly keyProblem?: { readonly since: number; readonly message: string };
  readonly initialized: boolean;
  /** Unix ms when memory was last confirmed to equal upstream; 0 before the first time. */
  readonly checkedAt: number;
  /** Set while LaunchDarkly cannot be reached and newer flags came from a store: which, and when the last ones did, Unix ms. */
  readonly followedStore?: { readonly database: StoreStatus['database']; readonly time: number };
  readonly streams: number;
  /** All stores, with more detail than ld-relay gives. */
  readonly stores: readonly StoreStatus[];
  readonly unreadable: readonly UnreadableItem[];
  /** How many there are besides; absent if there are no others. */
  readonly moreUnreadable?: number;
  /** Regular expressions that never match; of flags that were evaluated for a client. */
  readonly refusedPatterns: readonly RefusedPattern[];
  /** Flags and segments that could not be evaluated or sent; clients get them without a value. */
  readonly failedItems: readonly FailedItem[];
  /** Why it makes the relay degraded; only where one environment is asked for. */
  readonly reasons?: readonly Reason[];
}

/** What to do, while something is wrong. */
type WithRunbook<Status> = Status & { readonly runbook?: Runbook };

interface KeyStatus {
  /** Obscured. */
  readonly value: string;
  /** Unix ms. */
  readonly expiry?: number;
}

export interface RelayStatus {
  readonly environments: Readonly<Record<string, EnvironmentStatus>>;
  readonly status: 'healthy' | 'degraded';
  /** Why it is degraded; empty if it is healthy. */
  readonly reasons: readonly Reason[];
  /** How many there are besides; absent if there are no others. */
  readonly moreReasons?: number;
  readonly version: string;
  readonly clientVersion: string;
  readonly ready: boolean;
  readonly keySource?: EnvironmentSourceStatus;
  /** Absent: there is none. */
  readonly eventSpool?: WithRunbook<SpoolStatus>;
  readonly memory?: MemoryUsage;
  readonly propagation?: PropagationStatus;
  /** Set once stdout did not take a line: its disk was full, or it was not read. */
  readonly logLinesLost?: number;
}

export function createHealth(options: HealthOptions): RelayHealth {
  const { now = Date.now, monotonic = () => performance.now() } = options;
  let listening = false;
  let draining = false;
  let latched = false;

  const missing = (): string[] => {
    if (!listening) return ['the server to listen'];
    if (!options.keysKnown()) return ['the list of environments'];
    const environments = [...options.environments()];
    if (environments.length === 0) return [];
    const settled = (environment: EnvironmentHealth) =>
      environment.initialized ||
      (options.readyRequires === 'any' &&
        (environment.upstream === undefined ||
          environment.upstream.refused ||
          monotonic() - environment.createdNow >= options.initTimeoutMs));
    const open = environments.filter((environment) => !settled(environment));
    if (open.length > 0) return open.map(({ name }) => `data for environment "${name}"`);
    return environments.some(({ initialized }) => initialized) ? [] : ['data for at least one environment'];
  };
  const limits = (): Limits => ({ ...options, now: now(), monotonic: monotonic() });
  const readiness = (): Readiness => {
    if (draining) return { ready: false, waitingFor: ['nothing: the relay is shutting down'] };
    if (latched) return { ready: true, waitingFor: [] };
    const waitingFor = missing();
    latched = waitingFor.length === 0;
    return { ready: latched, waitingFor };
  };
  const statusOf = (environment: EnvironmentHealth) =>
    isConnected(environment, limits()) ? 'connected' : 'disconnected';
  const describe = (environment: EnvironmentHealth) => describeEnvironment(environment, statusOf(environment));

  return {
    setListening() {
      listening = true;
    },
    setDraining() {
      draining = true;
    },
    readiness,
    standing() {
      const environments = [...options.environments()];
      const source = options.source?.();
      const own = ownReasons({ keysKnown: options.keysKnown(), source, losing: options.losing?.() });
      const isFree = (reasons: Generator<Reason, void>) => reasons.next().done === true;
      const isHealthy = (environment: EnvironmentHealth) => isFree(reasonsOf(environment, limits()));
      return {
        status: isFree(own) && environments.every(isHealthy) ? 'healthy' : 'degraded',
        source,
        environments: environments.map((environment) => ({
          environment,
          status: statusOf(environment),
          store: describeStore(environment.stores[0], environment.initialized, environment.createdAt),
        })),
      };
    },
    *status() {
      const reasons: Reason[] = [];
      let moreReasons = 0;
      const add = (found: Iterable<Reason>) => {
        for (const one of found) {
          if (reasons.length < MOST_REASONS) reasons.push(one);
          else moreReasons += 1;
        }
      };
      add(ownReasons({ keysKnown: options.keysKnown(), source: options.source?.(), losing: options.losing?.() }));
      let separator = '{"environments":{';
      for (const environment of options.environments()) {
        add(reasonsOf(environment, limits()));
        const name = environment.id ?? environment.name;
        yield `${separator}${JSON.stringify(name)}:${JSON.stringify(describe(environment))}`;
        separator = ',';
      }
      const source = options.source?.();
      const eventSpool = options.eventSpool?.();
      const memory = options.memory?.();
      const propagation = options.propagation?.();
      const logLinesLost = options.logLinesLost?.() ?? 0;
      const rest: Omit<RelayStatus, 'environments'> = {
        status: reasons.length === 0 ? 'healthy' : 'degraded',
        reasons,
        ...(moreReasons > 0 && { moreReasons }),
        version: options.version,
        clientVersion: options.version,
        ready: readiness().ready,
        ...(source && { keySource: { ...source, ...errorOf(source) } }),
        ...(eventSpool && { eventSpool: explained(eventSpool, 'operations.md#event-spool') }),
        ...(memory && { memory }),
        ...(propagation && { propagation }),
        ...(logLinesLost > 0 && { logLinesLost }),
      };
      yield `${separator === ',' ? '' : separator}},${JSON.stringify(rest).slice(1)}`;
    },
    *environmentStatus(identifier) {
      for (const environment of options.environments()) {
        const { name, id, environmentId, labels } = environment;
        const names = [name, id, environmentId, labels && `${labels.projKey}/${labels.envKey}`];
        if (names.includes(identifier)) {
          return { ...describe(environment), reasons: [...reasonsOf(environment, limits())] };
        }
        yield;
      }
      return undefined;
    },
  };
}

function describeEnvironment(environment: EnvironmentHealth, status: 'connected' | 'disconnected'): EnvironmentStatus {
  const { upstream, createdAt, environmentId, labels, stores, initialized, keyProblem, bigSegments } = environment;
  const { followedStore, unreadable, events } = environment;
  const keys = (kind: Credential['kind']) => environment.credentials.filter((credential) => credential.kind === kind);
  const sdkKeys = keys('sdkKey');
  const mobileKeys = keys('mobileKey');
  const [mobileKey] = mobileKeys;
  const expiring = sdkKeys.find(({ value, expiresAt }) => expiresAt !== undefined && value !== environment.sdkKey);
  const { lastError, delay } = upstream ?? {};
  return {
    sdkKey: obscureKey(environment.sdkKey ?? ''),
    // A secret key may have been configured here by mistake.
    ...(environmentId === undefined ? {} : { envId: redactKeys(environmentId) }),
    ...labels,
    ...(mobileKey && { mobileKey: obscureKey(mobileKey.value) }),
    ...(expiring && { expiringSdkKey: obscureKey(expiring.value) }),
    ...(sdkKeys.length > 1 && { sdkKeys: sdkKeys.map(describeKey) }),
    ...(mobileKeys.length > 1 && { mobileKeys: mobileKeys.map(describeKey) }),
    status,
    connectionStatus: {
      state: upstream?.state ?? 'INITIALIZING',
      stateSince: upstream?.stateSince ?? createdAt,
      ...(lastError && { lastError: withoutSecrets(lastError) }),
      ...(delay && { delay: withoutSecrets(delay) }),
    },
    dataStoreStatus: describeStore(stores[0], initialized, createdAt),
    ...(bigSegments && { bigSegmentStatus: bigSegments }),
    ...(events && { eventStatus: explained(events, 'operations.md#events-dropped') }),
    ...(keyProblem && { keyProblem: withoutSecrets(keyProblem) }),
    initialized,
    checkedAt: upstream?.checkedAt ?? 0,
    ...(followedStore && { followedStore }),
    streams: environment.streams ?? 0,
    stores: stores.map((store) => ({ ...store, ...dbServerOf(store), ...errorOf(store) })),
    unreadable: unreadable.slice(0, MOST_UNREADABLE).map(({ kind, key, reason }) => ({
      kind,
      key: cutText(key, LONGEST_TEXT),
      reason: redactSecrets(cutText(reason, LONGEST_TEXT)),
    })),
    ...(unreadable.length > MOST_UNREADABLE && { moreUnreadable: unreadable.length - MOST_UNREADABLE }),
    refusedPatterns: environment.refusedPatterns,
    failedItems: environment.failedItems.map((item) => ({ ...item, reason: redactSecrets(item.reason) })),
  };
}

const MOST_UNREADABLE = 100;
const MOST_REASONS = 100;

/** Messages of errors quote what others sent and configured, which may hold a key or an address with a password. */
function withoutSecrets<T extends { readonly message: string }>(problem: T): T {
  return { ...problem, message: redactSecrets(problem.message) };
}

function errorOf({ lastError }: { readonly lastError?: { readonly time: number; readonly message: string } }) {
  return lastError && { lastError: withoutSecrets(lastError) };
}

function explained<Status extends EventStatus | SpoolStatus>(status: Status, runbook: Runbook): WithRunbook<Status> {
  return { ...status, ...errorOf(status), ...(status.state === 'INTERRUPTED' && { runbook }) };
}

function describeKey({ value, expiresAt }: Credential): KeyStatus {
  return { value: obscureKey(value), ...(expiresAt !== undefined && { expiry: expiresAt }) };
}

/** Without a database, memory is the store; it is valid once there is data. */
function describeStore(
  store: StoreStatus | undefined,
  initialized: boolean,
  createdAt: number,
): EnvironmentStatus['dataStoreStatus'] {
  if (!store) return initialized ? { state: 'VALID', stateSince: createdAt } : { state: 'INITIALIZING', stateSince: 0 };
  const { state, stateSince, database, dbPrefix, dbTable } = store;
  return {
    state,
    stateSince,
    database,
    ...dbServerOf(store),
    ...(dbPrefix === undefined ? {} : { dbPrefix }),
    ...(dbTable === undefined ? {} : { dbTable }),
  };
}

/** The address, without the password of a URL. */
function dbServerOf({ dbServer }: StoreStatus): { dbServer?: string } {
  if (dbServer === undefined) return {};
  return { dbServer: dbServer.replace(/^([a-z][a-z0-9+.-]*:\/\/[^:@/]*:)[^@/]*@/i, '$1xxxxx@') };
}
