/** One environment as others see it: endpoints, `/status`, metrics. */
import type { ServedEnvironment, Services } from '../endpoints/services.ts';
import type { Registry } from '../environments/registry.ts';
import type { EnvironmentEvents, EventForwarding } from '../events/forwarding.ts';
import type { EventStatus } from '../ports.ts';
import type { EnvironmentHealth } from '../status/health.ts';
import type { createGoals } from '../upstream/goals.ts';
import type { AccountView } from './account-view.ts';
import type { Tenant } from './tenant.ts';
import type { SetUpFailure, Tenants } from './tenants.ts';

interface ServingParts {
  readonly registry: Registry<Tenant>;
  /** Undefined: events are not forwarded. */
  readonly events: EventForwarding | undefined;
  /** Undefined: LaunchDarkly is told nothing about the relay itself. */
  readonly accountView: AccountView | undefined;
  readonly goalsOf: ReturnType<typeof createGoals>;
  /** Whether the source of keys could name every key that exists at present. */
  knowsAllKeys(): boolean;
}

/** The tenants that endpoints can find. */
interface ServedTenants extends Pick<Services, 'find' | 'openStream'> {
  add(tenant: Tenant): void;
  remove(tenant: Tenant): void;
  /** Undefined: events are not forwarded. */
  eventStatus(tenant: Tenant): EventStatus | undefined;
}

interface Served extends ServedEnvironment {
  readonly events: EnvironmentEvents | undefined;
}

const LAST_EVENTS_MS = 5_000;

export function createServedTenants(parts: ServingParts): ServedTenants {
  const { registry, knowsAllKeys } = parts;
  const served = new Map<Tenant, Served>();
  const tenantOf = new WeakMap<ServedEnvironment, Tenant>();
  return {
    add(tenant) {
      const environment = serve(tenant, parts);
      served.set(tenant, environment);
      tenantOf.set(environment, tenant);
      if (environment.events) parts.accountView?.add(tenant, environment.events);
    },
    remove(tenant) {
      parts.accountView?.remove(tenant);
      void served.get(tenant)?.events?.close(LAST_EVENTS_MS);
      served.delete(tenant);
    },
    eventStatus: (tenant) => served.get(tenant)?.events?.status(),
    find(kind, credential, filter) {
      const found = registry.find(kind, credential, filter);
      // A credential is unknown only if the source would have named it.
      if (typeof found === 'string') return knowsAllKeys() ? found : 'not-yet';
      if (!found.environment.admission.admits(kind, credential)) return 'not-yet';
      const environment = served.get(found.environment);
      return environment ? { environment } : 'not-yet';
    },
    openStream: (environment, socket, opening) => {
      const tenant = tenantOf.get(environment);
      return tenant ? tenant.streams.open(socket, opening) : 'closing';
    },
  };
}

/** A tenant as the endpoints serve it: always what its source says at present. */
function serve(tenant: Tenant, { registry, events, goalsOf, knowsAllKeys }: ServingParts): Served {
  const { memory, name } = tenant;
  const own = events?.environment({
    name,
    // A client-side ID identifies its environment; which one a mobile key belongs to is not known.
    senderOf: (kind, credential) => (kind === 'sdkKey' ? tenant.admission.successorOf(credential) : credential),
    credentials: () =>
      registry
        .credentials(tenant.description.id)
        .toSorted((a, b) => Number(a.expiresAt !== undefined) - Number(b.expiresAt !== undefined))
        .map(({ kind, value: credential }) => ({ kind, credential })),
    environmentOf: tenant.admission.environmentOf,
    flag: (key) => memory.get('features', key),
  });
  return {
    name,
    view: memory,
    clientView: memory.clientView,
    events: own,
    get refused() {
      return tenant.upstream?.status().refused ?? false;
    },
    get environmentId() {
      return tenant.admission.environmentId();
    },
    get secureMode() {
      return tenant.description.secureMode;
    },
    sdkKeys: () =>
      registry
        .credentials(tenant.description.id)
        .filter(({ kind }) => kind === 'sdkKey')
        .map(({ value }) => value),
    knowsAllKeys,
    get allowedOrigins() {
      return tenant.description.allowedOrigins;
    },
    get allowedHeaders() {
      return tenant.description.allowedHeaders;
    },
    get ttlMs() {
      return tenant.description.ttlMs;
    },
    get goals() {
      const { flagsFile, data } = tenant.description;
      return flagsFile === undefined && data === undefined ? goalsOf : undefined;
    },
  };
}

/** Every environment as `/status` and metrics show it, also one that could not be set up. */
export function* healthOfAll(
  { all, failures }: Pick<Tenants, 'all' | 'failures'>,
  registry: Registry<Tenant>,
  { eventStatus }: Pick<ServedTenants, 'eventStatus'>,
): Generator<EnvironmentHealth> {
  const shown = new Set<string>();
  for (const tenant of all) {
    shown.add(tenant.description.id);
    yield { ...healthOf(tenant, registry, failures.get(tenant.description.id)), events: eventStatus(tenant) };
  }
  for (const [id, failure] of failures) if (!shown.has(id)) yield healthOfFailed(failure);
}

const problemOf = ({ since, message }: SetUpFailure) => ({ since, message: `cannot be set up: ${message}` });

function healthOfFailed(failure: SetUpFailure): EnvironmentHealth {
  const { id, name, sdkKey, environmentId, labels, credentials } = failure.description;
  return {
    id,
    name,
    sdkKey,
    environmentId,
    credentials,
    ...(labels && { labels }),
    createdAt: failure.since,
    createdNow: failure.sinceNow,
    initialized: false,
    stores: [],
    unreadable: [],
    refusedPatterns: [],
    failedItems: [],
    keyProblem: problemOf(failure),
  };
}

function healthOf(tenant: Tenant, registry: Registry<Tenant>, failure: SetUpFailure | undefined): EnvironmentHealth {
  const { description, filter, name, createdAt, createdNow, memory, upstream, streams, bigSegments } = tenant;
  const { id, sdkKey, environmentId, labels, keyProblem } = description;
  return {
    name,
    sdkKey,
    environmentId,
    createdAt,
    createdNow,
    keyProblem:
      (failure && problemOf(failure)) ??
      keyProblem ??
      tenant.admission.problem() ??
      upstream?.keyProblem?.() ??
      tenant.sourceProblem,
    id: filter === '' ? id : `${id}/${filter}`,
    ...(labels && { labels }),
    credentials: registry.credentials(id),
    initialized: memory.initialized,
    upstream: upstream?.status(),
    stores: tenant.stores.map((store) => store.status()),
    followedStore: tenant.followedStore(),
    unreadable: memory.unreadable(),
    refusedPatterns: memory.refusedPatterns(),
    failedItems: memory.failedItems(),
    streams: streams.connections,
    bigSegments: bigSegments?.status(),
  };
}
