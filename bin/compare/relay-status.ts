/** `/status` of a relay, as ld-relay 6 to 8 and this relay answer it. */
import { isObject } from '../../relay-task/common/json.ts';
import { ask, type Data, NoAnswer, type Relay } from './ask.ts';

/** One environment of a relay. */
export interface ServedEnvironment {
  /** Its name, or the client-side ID if the relay gets its environments from LaunchDarkly. */
  readonly id: string;
  /** Obscured. */
  readonly sdkKey: string | undefined;
  /** Obscured; all that are accepted besides. */
  readonly otherSdkKeys: readonly string[];
  readonly mobileKey: string | undefined;
  readonly environmentId: string | undefined;
  /** As LaunchDarkly has them: project and environment. */
  readonly label: string | undefined;
  readonly connected: boolean;
  /** Of the connection to LaunchDarkly. */
  readonly state: string;
  readonly lastError: string | undefined;
  readonly stores: readonly ServedStore[];
  readonly bigSegments: { readonly available: boolean; readonly stale: boolean } | undefined;
}

export interface ServedStore {
  readonly database: string;
  readonly prefix: string;
  readonly table: string;
  readonly server: string;
}

export interface RelayStatus {
  readonly product: 'ld-relay' | 'edge-flag-relay';
  readonly version: string;
  readonly status: string;
  readonly environments: readonly ServedEnvironment[];
}

/** Undefined: the relay hides it, and `why` says how. Throws NoAnswer if the relay cannot be reached. */
export async function readStatus(
  relay: Relay,
  credentials: readonly string[],
): Promise<RelayStatus | { readonly why: NoAnswer }> {
  let why: NoAnswer | undefined;
  // Only a relay that restricts its status gets keys.
  for (const credential of [undefined, ...credentials]) {
    try {
      return statusOf(await ask(relay, { path: '/status', credential }));
    } catch (error) {
      if (!(error instanceof NoAnswer) || error.status === undefined) throw error;
      why = error;
      if (error.why !== 'refused') break;
    }
  }
  return { why: why! };
}

export function statusOf(data: Data): RelayStatus {
  const environments = isObject(data.environments) ? Object.entries(data.environments) : [];
  return {
    // ld-relay's status does not say whether it is ready.
    product: typeof data.ready === 'boolean' ? 'edge-flag-relay' : 'ld-relay',
    version: textOf(data.version) ?? 'of an unknown version',
    status: textOf(data.status) ?? 'unknown',
    environments: environments.flatMap(([id, environment]) => (isObject(environment) ? [served(id, environment)] : [])),
  };
}

function served(id: string, data: Data): ServedEnvironment {
  const connection = isObject(data.connectionStatus) ? data.connectionStatus : {};
  const { lastError } = connection;
  const { projName, envName } = data;
  const current = textOf(data.sdkKey);
  const accepted = [data.expiringSdkKey, ...valuesIn(data.sdkKeys)].map(textOf);
  const { bigSegmentStatus: big } = data;
  return {
    id,
    sdkKey: current,
    otherSdkKeys: [...new Set(accepted)].flatMap((key) => (key === undefined || key === current ? [] : [key])),
    mobileKey: textOf(data.mobileKey),
    environmentId: textOf(data.envId),
    label: textOf(projName) && textOf(envName) ? `${projName} ${envName}` : undefined,
    connected: data.status === 'connected',
    state: textOf(connection.state) ?? 'UNKNOWN',
    lastError: isObject(lastError) ? (textOf(lastError.message) ?? textOf(lastError.kind)) : undefined,
    stores: storesIn(data),
    bigSegments: isObject(big)
      ? { available: big.available === true, stale: big.potentiallyStale === true }
      : undefined,
  };
}

/** ld-relay has one store at most. */
function storesIn({ stores, dataStoreStatus }: Data): ServedStore[] {
  const all = Array.isArray(stores) ? stores : [dataStoreStatus];
  return all.filter(isObject).flatMap((store) => {
    const database = textOf(store.database);
    if (database === undefined) return [];
    const { dbPrefix, dbTable, dbServer } = store;
    return [{ database, prefix: textOf(dbPrefix) ?? '', table: textOf(dbTable) ?? '', server: textOf(dbServer) ?? '' }];
  });
}

const valuesIn = (list: unknown): unknown[] =>
  Array.isArray(list) ? list.map((each) => (isObject(each) ? each.value : undefined)) : [];

/** '' counts as absent. */
const textOf = (value: unknown): string | undefined => (typeof value === 'string' && value !== '' ? value : undefined);
