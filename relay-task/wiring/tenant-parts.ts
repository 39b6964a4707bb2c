/** What the modules make for a tenant, as the configuration asks. */
import type { Budget } from '../common/budget.ts';
import type { Config } from '../config/config.ts';
import type { ChangeWatch, EnvironmentDescription, Log, LogFields, Outbound, StreamAttempt } from '../ports.ts';
import { type Levels, limitLog } from '../status/levels.ts';
import { createMembershipMemory } from '../store/big-segments-cache.ts';
import type { DynamoDBStoreOptions } from '../store/dynamodb-store.ts';
import type { Hub } from '../streams/hub.ts';
import type { FileReload } from '../upstream/file.ts';
import { createTenantBigSegments } from './big-segments.ts';
import type { Place, Stores } from './stores.ts';
import type { TenantParts } from './tenant.ts';
import { createUpstreams, type UpstreamTimes } from './upstreams.ts';

interface TenantPartsOptions {
  readonly config: Config;
  readonly hub: Pick<Hub, 'environment'>;
  readonly stores: Stores;
  /** Of an environment's place in the flag table; see `DynamoDBStoreOptions.publishing`. */
  publishing(environment: string, place: Place): DynamoDBStoreOptions['publishing'];
  readonly outbound: Outbound;
  readonly userAgent: string;
  /** Unlimited: environments may ask for more lines than the relay as a whole. */
  readonly log: Log;
  readonly levels: Levels;
  readonly upstreamTimes: UpstreamTimes | undefined;
  /** `TenantParts.room` */
  readonly room: Budget;
  /** After each attempt to open an environment's stream. Must not throw. */
  onAttempt?: ((environment: string, attempt: StreamAttempt) => void) | undefined;
  /** Undefined while OpenTelemetry is off. */
  readonly changes: ChangeWatch | undefined;
  /** After every reading of an environment's flags file. Must not throw. */
  onReload?: ((environment: string, reload: FileReload) => void) | undefined;
}

export function createTenantParts(options: TenantPartsOptions): TenantParts {
  const { config, hub, stores, outbound, userAgent, changes } = options;
  const { streamUri, baseUri } = config;
  const launchDarkly = { streamUri, baseUri, outbound, userAgent };
  const memory = createMembershipMemory({ limitBytes: config.bigSegments.cacheBytes });

  /** The description changes, and with it the level. */
  function logOf(tenant: { readonly name: string; readonly description: EnvironmentDescription }): Log {
    const log = limitLog(options.log, () => options.levels.of(tenant.description));
    return withFields(log, { environment: tenant.name });
  }

  return {
    room: options.room,
    streams: hub.environment,
    stores: (place, tenant) =>
      stores.open({
        env: tenant.name,
        place,
        view: tenant.memory,
        source: tenant.admission.mark,
        log: logOf(tenant),
        checkedAt: () => tenant.upstream?.status().checkedAt ?? 0,
        checkedNow: () => tenant.upstream?.status().checkedNow ?? 0,
        confirms: () => tenant.admission.key() !== undefined,
        onWritten: changes && ((database, written) => changes.wroteStore(tenant.name, database, written)),
        publishing: options.publishing(tenant.name, place),
      }),
    bigSegments(place, tenant, how) {
      const log = logOf(tenant);
      return createTenantBigSegments({
        ...launchDarkly,
        ...how,
        receivedMemory: options.upstreamTimes?.receivedMemory,
        key: tenant.writingKey,
        log,
        memory,
        place,
        open: (one) => stores.bigSegments(one, log, { ...how, env: tenant.name }),
        synchronises: config.storeWriter !== 'never',
        staleThresholdMs: config.bigSegments.staleThresholdMs,
      });
    },
    upstream: createUpstreams({
      ...launchDarkly,
      protocol: config.upstreamProtocol,
      pollIntervalMs: config.pollIntervalMs,
      logOf,
      times: options.upstreamTimes,
      onAttempt: options.onAttempt,
      onReload: options.onReload,
    }),
  };
}

/** A log that adds these fields to every line. */
function withFields(log: Log, fields: LogFields): Log {
  return {
    debug: (message, more) => log.debug(message, { ...fields, ...more }),
    info: (message, more) => log.info(message, { ...fields, ...more }),
    warn: (message, more) => log.warn(message, { ...fields, ...more }),
    error: (message, more) => log.error(message, { ...fields, ...more }),
  };
}
