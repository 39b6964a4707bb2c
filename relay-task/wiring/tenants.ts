/** The tenants that the source of environments names at present, and the credentials that open them. */
import type { Registry } from '../environments/registry.ts';
import type { EnvironmentDescription, EnvironmentSink } from '../ports.ts';
import { createBackground } from './background.ts';
import { createTenant, type LiveTenant, type Tenant, type TenantOptions } from './tenant.ts';

export interface TenantsOptions extends TenantOptions {
  readonly registry: Registry<Tenant>;
  /** A tenant can be found from now on. Must not throw. */
  onAdded?(tenant: Tenant): void;
  /** A tenant is gone. Must not throw. */
  onRemoved?(tenant: Tenant): void;
}

export interface Tenants extends EnvironmentSink {
  readonly all: readonly Tenant[];
  /**
   * Resolves when every tenant that exists by now has read its stores and started its upstream. Rejects with the first
   * upstream that could not be started, such as FLAGS_FILE_INVALID; it is tried again meanwhile.
   */
  started(): Promise<void>;
  /** Tells the stores again whether this task's data is current; no event says that it has become old. */
  tellEligibility(): void;
  /** Writes what is waiting and closes upstreams and stores; the streams are the hub's. */
  close(): Promise<void>;
}

export function createTenants(options: TenantsOptions): Tenants {
  const { log, registry } = options;
  /** By the description's id, then by filter. */
  const tenants = new Map<string, Map<string, LiveTenant>>();
  const removed = createBackground();
  const all = () => [...tenants.values()].flatMap((views) => [...views.values()]);

  registry.onVanished((vanished) => {
    for (const { environment, credential } of vanished) environment.streams.closeCredential(credential);
  });

  function remove(tenant: LiveTenant): void {
    tenant.streams.remove();
    options.onRemoved?.(tenant);
    removed.add(tenant.close());
  }

  /** Those that are not named any more. */
  function removeAllBut(ids: ReadonlySet<string>): void {
    for (const [id, views] of tenants) {
      if (ids.has(id)) continue;
      // Its credentials first, so that another environment may have them.
      registry.apply({ type: 'remove-environment', name: id });
      tenants.delete(id);
      for (const tenant of views.values()) remove(tenant);
    }
  }

  function revoke({ id, credentials }: EnvironmentDescription): void {
    if (!tenants.has(id)) return;
    const kept = registry
      .credentials(id)
      .filter((held) => credentials.some(({ kind, value }) => kind === held.kind && value === held.value));
    registry.apply({ type: 'set-credentials', name: id, credentials: kept });
  }

  function apply(description: EnvironmentDescription): void {
    const { id, name, credentials } = description;
    const views = tenants.get(id) ?? new Map<string, LiveTenant>();
    tenants.set(id, views);
    for (const tenant of views.values()) tenant.update(description);
    const filters = ['', ...description.filters];
    for (const [filter, tenant] of views) {
      if (filters.includes(filter)) continue;
      registry.apply({ type: 'remove-environment', name: id, filter });
      views.delete(filter);
      remove(tenant);
    }
    for (const filter of filters) {
      if (views.has(filter)) continue;
      const tenant = createTenant(description, filter, options);
      views.set(filter, tenant);
      options.onAdded?.(tenant);
      registry.apply({ type: 'add-environment', name: id, filter, environment: tenant });
    }
    for (const problem of registry.apply({ type: 'set-credentials', name: id, credentials })) {
      log.error('Refused a credential', { environment: name, problem });
    }
  }

  return {
    get all() {
      return all();
    },
    replace(descriptions) {
      removeAllBut(new Set(descriptions.map(({ id }) => id)));
      // Every revocation comes before every grant, since a credential may move from one environment to another.
      descriptions.forEach(revoke);
      descriptions.forEach(apply);
      registry.apply({ type: 'source-complete' });
    },
    async started() {
      await Promise.all(all().map((tenant) => tenant.started));
    },
    tellEligibility() {
      for (const tenant of all()) tenant.tellEligibility();
    },
    async close() {
      await Promise.all([...all().map((tenant) => tenant.close()), removed.ended()]);
    },
  };
}
