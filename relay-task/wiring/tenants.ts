/** The tenants that the source of environments names at present, and the credentials that open them. */
import { isDeepStrictEqual } from 'node:util';
import { inSlices, nextTurn } from '../common/slices.ts';
import { createTurnstile } from '../common/turnstile.ts';
import type { Registry } from '../environments/registry.ts';
import type { EnvironmentDescription, EnvironmentSink, Log } from '../ports.ts';
import { createHeard, keySourcesOf } from './admission.ts';
import { createBackground } from './background.ts';
import { createTenant, type LiveTenant, type Tenant, type TenantOptions } from './tenant.ts';

interface TenantsOptions extends TenantOptions {
  readonly registry: Registry<Tenant>;
  /** A tenant can be found from now on. Must not throw. */
  onAdded?(tenant: Tenant): void;
  /** A tenant is gone. Must not throw. */
  onRemoved?(tenant: Tenant): void;
}

export interface Tenants extends EnvironmentSink {
  readonly all: readonly Tenant[];
  /** Whether everything that the source named is in force. Until then an unknown credential may be one that it named. */
  readonly settled: boolean;
  /** What the source names and could not be set up, or changed, as it says; by id. */
  readonly failures: ReadonlyMap<string, SetUpFailure>;
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

export interface SetUpFailure {
  readonly description: EnvironmentDescription;
  /** Unix ms. */
  readonly since: number;
  /** The same in ms of `performance.now()`. */
  readonly sinceNow: number;
  readonly message: string;
}

/** Stores that are read at the same time while LaunchDarkly cannot be reached: the connections serve writers, too. */
const MOST_READING = 8;

export function createTenants(options: TenantsOptions): Tenants {
  const { log, registry } = options;
  /** By the description's id. */
  const tenants = new Map<string, Views>();
  /** What the source named last, by id. */
  let named: ReadonlyMap<string, EnvironmentDescription> = new Map();
  const refusals = createRefusals(log);
  const removed = createBackground();
  /** Of the lists that are not wholly in force yet. */
  const heirlooms = createHeirlooms();
  let isComplete = false;
  /** The first environment that could not be set up. */
  let failure: unknown;
  const failures = new Map<string, SetUpFailure>();
  const backlog = createBacklog({ remove, setUp, onSettled });
  const reading = createTurnstile({ maxInside: MOST_READING });
  const viewsOptions = { ...options, heard: createHeard(), reading, remove, heirloomOf: heirlooms.of };
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
  function removeUnnamed(): void {
    for (const [id, views] of tenants) {
      if (named.has(id)) continue;
      // Its credentials first, so that another environment may have them.
      registry.apply({ type: 'remove-environment', name: id });
      tenants.delete(id);
      refusals.forget(id);
      failures.delete(id);
      backlog.addLeaving(views.values());
    }
  }

  function setUp(id: string): void {
    const description = named.get(id);
    if (!description) return;
    const { name, credentials } = description;
    const views: Views = tenants.get(id) ?? new Map();
    tenants.set(id, views);
    try {
      updateViews(views, description, viewsOptions);
      refusals.tell(id, name, registry.apply({ type: 'set-credentials', name: id, credentials }));
      failures.delete(id);
    } catch (error) {
      failure ??= error;
      const { message } = error as Error;
      const { since = Date.now(), sinceNow = performance.now() } = failures.get(id) ?? {};
      failures.set(id, { description, since, sinceNow, message });
      refusals.retry(id);
      // They are good, and get 503 until it can be set up.
      registry.apply({ type: 'set-credentials', name: id, credentials });
      log.error('Could not set up the environment; its clients get what they had before, or 503', {
        environment: id,
        reason: message,
        runbook: 'operations.md#key-problem',
      });
    }
  }

  function onSettled(): void {
    heirlooms.clear();
    if (isComplete) registry.apply({ type: 'source-complete' });
  }

  return {
    get all() {
      return all();
    },
    get settled() {
      return backlog.settled();
    },
    failures,
    replace(descriptions, extent) {
      isComplete = extent !== 'incomplete';
      heirlooms.add(all());
      const before = named;
      named = new Map(descriptions.map((description) => [description.id, description]));
      removeUnnamed();
      const changed = descriptions.filter((description) => !isSame(before.get(description.id), description));
      // Every revocation comes before every grant, since a credential may move from one environment to another.
      for (const description of changed) revoke(registry, description);
      const ids = new Set(changed.map(({ id }) => id));
      backlog.addWaiting(descriptions.map(({ id }) => id).filter((id) => ids.has(id) || refusals.has(id)));
      backlog.work();
    },
    async started() {
      await backlog.ended();
      if (failure !== undefined) throw failure;
      await Promise.all(all().map((tenant) => tenant.started));
    },
    tellEligibility() {
      for (const tenant of all()) tenant.tellEligibility();
    },
    async close() {
      named = new Map();
      backlog.giveUp();
      await Promise.all([...all().map((tenant) => tenant.close()), removed.ended()]);
    },
  };
}

/** Takes away the credentials that the description does not name. */
function revoke(registry: TenantsOptions['registry'], { id: name, credentials }: EnvironmentDescription): void {
  const held = registry.credentials(name);
  const kept = held.filter((one) => credentials.some(({ kind, value }) => kind === one.kind && value === one.value));
  if (kept.length < held.length) registry.apply({ type: 'set-credentials', name, credentials: kept });
}

/** The tenants of one environment, by filter. */
type Views = Map<string, LiveTenant>;

/** Opens and closes views as the description says, and updates the others. What it throws leaves the rest undone. */
function updateViews(
  views: Views,
  description: EnvironmentDescription,
  options: TenantsOptions &
    Omit<Parameters<typeof createTenant>[2], 'sibling'> & {
      remove(tenant: LiveTenant): void;
      /** Whose data a new tenant begins with. */
      heirloomOf(tenant: Tenant): Tenant | undefined;
    },
): void {
  const { registry, remove, onAdded, heirloomOf } = options;
  const { id: name } = description;
  for (const tenant of views.values()) if (tenant.description !== description) tenant.update(description);
  const filters = ['', ...description.filters];
  for (const [filter, tenant] of views) {
    if (filters.includes(filter)) continue;
    registry.apply({ type: 'remove-environment', name, filter });
    views.delete(filter);
    remove(tenant);
  }
  for (const filter of filters) {
    if (views.has(filter)) continue;
    const tenant = createTenant(description, filter, { ...options, sibling: views.get('') });
    views.set(filter, tenant);
    onAdded?.(tenant);
    registry.apply({ type: 'add-environment', name, filter, environment: tenant });
  }
  for (const tenant of views.values()) {
    const other = tenant.memory.initialized ? undefined : heirloomOf(tenant);
    if (other) tenant.inherit(other);
  }
}

/** Each takes up to a millisecond. An environment that gets another name is one that leaves and one that comes. */
const STEPS_AT_ONCE = 4;

/**
 * What the latest lists still ask for. A small change is in force when `work` returns, but thousands of environments must
 * not block the event loop.
 */
function createBacklog(options: {
  remove(tenant: LiveTenant): void;
  /** Makes the environment follow what the source named last. Must not throw. */
  setUp(id: string): void;
  onSettled(): void;
}) {
  /** Ids, in the order of the source. */
  const waiting = new Set<string>();
  /** Tenants that no request can find any more. */
  const leaving = new Set<LiveTenant>();
  let settled = true;
  let ended = Promise.resolve();

  function* steps(): Generator<void, void> {
    for (let step = 1; leaving.size > 0 || waiting.size > 0; step++) {
      const [tenant] = leaving;
      const [id = ''] = waiting;
      if (tenant) {
        leaving.delete(tenant);
        options.remove(tenant);
      } else if (waiting.delete(id)) options.setUp(id);
      if (step >= STEPS_AT_ONCE && (leaving.size > 0 || waiting.size > 0)) yield;
    }
    settled = true;
    options.onSettled();
  }

  return {
    settled: () => settled,
    ended: () => ended,
    addWaiting(ids: Iterable<string>): void {
      for (const id of ids) waiting.add(id);
    },
    addLeaving(tenants: Iterable<LiveTenant>): void {
      for (const tenant of tenants) leaving.add(tenant);
    },
    work(): void {
      if (!settled) return;
      settled = false;
      // The first slice at once, however busy the turn is: a key that was taken away must not serve any longer.
      ended = inSlices(steps(), { pause: nextTurn });
    },
    /** Removes what is leaving, and sets up nothing more. */
    giveUp(): void {
      waiting.clear();
      for (const tenant of leaving) options.remove(tenant);
      leaving.clear();
    },
  };
}

/** Environments to which the registry refused credentials. These may be free after any change. */
function createRefusals(log: Log) {
  const problemsOf = new Map<string, readonly string[]>();
  return {
    has: (id: string) => problemsOf.has(id),
    forget: (id: string) => void problemsOf.delete(id),
    /** It is set up again with the next change. */
    retry: (id: string) => void problemsOf.set(id, []),
    /** Logs each problem once. */
    tell(id: string, environment: string, problems: readonly string[]): void {
      const known = problemsOf.get(id) ?? [];
      if (problems.length > 0) problemsOf.set(id, problems);
      else problemsOf.delete(id);
      for (const problem of problems) {
        if (!known.includes(problem))
          log.error('Refused a credential', { environment, reason: problem, runbook: 'operations.md#key-problem' });
      }
    },
  };
}

/** The items of an archive are compared by their ID. */
function isSame(a: EnvironmentDescription | undefined, b: EnvironmentDescription): boolean {
  return a === b || (a !== undefined && isDeepStrictEqual({ ...a, data: a.data?.id }, { ...b, data: b.data?.id }));
}

/** Finds another tenant that holds the data of one of a tenant's SDK keys, whose environment may have had that tenant's name. */
function createHeirlooms() {
  const tenants = new Set<Tenant>();
  /** Made when it is first asked for. */
  let bySource: Map<string, Tenant> | undefined;
  const nameOf = ({ filter }: Tenant, source: string) => `${filter} ${source}`;
  const checkedNow = (tenant: Tenant) => tenant.upstream?.status().checkedNow ?? 0;

  /** Of several tenants, the one whose data was confirmed last. */
  function index(): Map<string, Tenant> {
    const found = new Map<string, Tenant>();
    for (const tenant of tenants) {
      if (!tenant.memory.initialized) continue;
      const name = nameOf(tenant, tenant.admission.source());
      const before = found.get(name);
      if (!before || checkedNow(before) < checkedNow(tenant)) found.set(name, tenant);
    }
    return found;
  }

  return {
    add(more: readonly Tenant[]): void {
      for (const tenant of more) tenants.add(tenant);
      bySource = undefined;
    },
    clear(): void {
      tenants.clear();
      bySource = undefined;
    },
    of(tenant: Tenant): Tenant | undefined {
      for (const source of keySourcesOf(tenant.description)) {
        bySource ??= index();
        const found = bySource.get(nameOf(tenant, source));
        // Data of another source may have arrived since.
        if (found?.admission.source() === source) return found;
      }
      return undefined;
    },
  };
}
