/** One environment as others see it: endpoints, `/status`, metrics. */
import type { ServedEnvironment } from '../endpoints/services.ts';
import type { Registry } from '../environments/registry.ts';
import type { EnvironmentEvents, EventForwarding } from '../events/forwarding.ts';
import type { CredentialKind } from '../ports.ts';
import type { EnvironmentHealth } from '../status/health.ts';
import type { createGoals } from '../upstream/goals.ts';
import type { Tenant } from './tenants.ts';

export interface ServingParts {
  readonly registry: Registry<Tenant>;
  /** Undefined: events are not forwarded. */
  readonly events: EventForwarding | undefined;
  readonly goalsOf: ReturnType<typeof createGoals>;
}

export interface Served extends ServedEnvironment {
  readonly events: EnvironmentEvents | undefined;
}

/** A tenant as the endpoints serve it: whatever its source says at present. */
export function serve(tenant: Tenant, { registry, events, goalsOf }: ServingParts): Served {
  const { memory, name } = tenant;
  const keys = (kind: CredentialKind) =>
    registry
      .credentials(tenant.description.id)
      .filter((credential) => credential.kind === kind)
      .map(({ value }) => value);
  const own = events?.environment({
    name,
    credentials: () => {
      const { sdkKey, environmentId } = tenant.description;
      return { sdkKey, environmentId, mobileKey: keys('mobileKey')[0] };
    },
    flag: (key) => memory.get('features', key),
  });
  return {
    ...{ name, view: memory, clientView: memory.clientView },
    events: own,
    get evaluator() {
      return memory.evaluator;
    },
    flags: memory.flags,
    get refused() {
      return tenant.upstream?.status().refused ?? false;
    },
    get environmentId() {
      return tenant.description.environmentId;
    },
    get secureMode() {
      return tenant.description.secureMode;
    },
    sdkKeys: () => keys('sdkKey'),
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
      const { environmentId, flagsFile, data } = tenant.description;
      const asked = environmentId !== undefined && flagsFile === undefined && data === undefined;
      return asked ? (query: string) => goalsOf(environmentId, query) : undefined;
    },
  };
}

/** A tenant as `/status` and metrics show it. */
export function healthOf(tenant: Tenant, registry: Registry<Tenant>): EnvironmentHealth {
  const { description, filter, name, createdAt, memory, upstream, streams, bigSegments } = tenant;
  const { id, sdkKey, environmentId, labels, keyProblem } = description;
  return {
    ...{ name, sdkKey, environmentId, createdAt },
    keyProblem: keyProblem ?? upstream?.keyProblem?.(),
    id: filter === '' ? id : `${id}/${filter}`,
    ...(labels && { labels }),
    credentials: registry.credentials(id),
    initialized: memory.initialized,
    upstream: upstream?.status(),
    stores: tenant.stores.map((store) => store.status()),
    unreadable: memory.unreadable(),
    streams: streams.connections,
    bigSegments: bigSegments?.status(),
  };
}
