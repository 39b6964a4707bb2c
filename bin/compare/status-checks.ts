/** What one relay offers an environment and the other does not, from the two `/status`. */
import { bad, type Check, note } from '../checks/check.ts';
import type { Pair } from './pairs.ts';
import type { ServedEnvironment, ServedStore } from './relay-status.ts';

export function statusChecks({ name, old, new: fresh }: Pair): Check[] {
  if (!old || !fresh) return [];
  return [
    ...credentialChecks(name, old, fresh),
    ...connectionChecks(name, old, fresh),
    ...old.stores.flatMap((store) => storeChecks(name, old.id, store, fresh)),
    ...bigSegmentChecks(name, old, fresh),
  ];
}

function credentialChecks(name: string, old: ServedEnvironment, fresh: ServedEnvironment): Check[] {
  const checks: Check[] = [];
  if (old.environmentId !== undefined && fresh.environmentId === undefined) {
    const what = `${name}: the old relay serves browsers, the new one has no client-side ID`;
    checks.push(bad('clients', name, what, setting(old.id, 'envId', 'LD_CLIENT_SIDE_ID', old.environmentId)));
  }
  if (old.mobileKey !== undefined && fresh.mobileKey === undefined) {
    const what = `${name}: the old relay serves mobile SDKs, the new one has no mobile key`;
    checks.push(bad('clients', name, what, setting(old.id, 'mobileKey', 'LD_MOBILE_KEY', '<mobile key>')));
  }
  const accepted = [fresh.sdkKey, ...fresh.otherSdkKeys];
  for (const key of old.otherSdkKeys.filter((one) => !accepted.includes(one))) {
    const what = `${name}: the old relay still accepts the SDK key ${key}, the new one does not`;
    checks.push(bad('keys', name, what, 'move the applications that use it to the current key first'));
  }
  return checks;
}

/** Names with spaces, which a file may have, make no variables. */
function setting(id: string, option: string, variable: string, value: string): string {
  if (/^\w+$/.test(id)) return `set ${variable}_${id}=${value} for the new relay`;
  return `write ${option} = "${value}" into the new relay's [Environment "${id}"]`;
}

function connectionChecks(name: string, old: ServedEnvironment, fresh: ServedEnvironment): Check[] {
  const told = ({ state, lastError }: ServedEnvironment) => (lastError ? `${state}: ${lastError}` : state);
  const checks: Check[] = [];
  if (!fresh.connected) {
    const what = `${name}: the new relay is not connected to LaunchDarkly (${told(fresh)})`;
    checks.push(bad('connection', name, what, 'look at its log; until then it gets no changes'));
  }
  if (!old.connected) {
    const what = `${name}: the old relay is not connected to LaunchDarkly (${told(old)}), so its flags may be old`;
    checks.push(note('connection', name, what));
  }
  return checks;
}

const switches: Readonly<Record<string, string>> = {
  redis: 'USE_REDIS=true and REDIS_HOST or REDIS_URL',
  consul: 'USE_CONSUL=true and CONSUL_HOST',
  dynamodb: 'USE_DYNAMODB=true and DYNAMODB_TABLE',
};

/** SDKs in daemon mode read the store, which goes stale without a writer. */
function storeChecks(name: string, id: string, store: ServedStore, fresh: ServedEnvironment): Check[] {
  const { database, prefix, table, server } = store;
  const where = `${database}${table && `, table ${table}`}`;
  const same = fresh.stores.find((other) => other.database === database);
  if (!same) {
    const what = `${name}: the old relay writes to ${where}, the new one does not`;
    return [
      bad(
        'store',
        name,
        what,
        `set ${switches[database] ?? `the store ${database}`} for the new relay, if anything reads there`,
      ),
    ];
  }
  const checks: Check[] = [];
  if (same.prefix !== prefix) {
    const what = `${name}: the prefix in ${database} is "${prefix}" for the old relay and "${same.prefix}" for the new`;
    checks.push(bad('store', name, what, setting(id, 'prefix', 'LD_PREFIX', prefix)));
  }
  if (same.table !== table) {
    const what = `${name}: the table is ${table || 'unknown'} for the old relay and ${same.table || 'unknown'} for the new`;
    checks.push(
      bad('store', name, what, `${setting(id, 'tableName', 'LD_TABLE_NAME', table)}, or DYNAMODB_TABLE for all`),
    );
  }
  if (same.server !== server) {
    const what = `${name}: the old relay writes to ${server || database}, the new one to ${same.server || database}`;
    checks.push(note('store', name, what, 'if these are two databases, SDKs in daemon mode need the new address'));
  }
  return checks;
}

function bigSegmentChecks(name: string, { bigSegments: before }: ServedEnvironment, fresh: ServedEnvironment): Check[] {
  const { bigSegments: after } = fresh;
  if (before && !after) {
    const what = `${name}: the old relay has Big Segments, the new one has none`;
    return [bad('big-segments', name, what, 'give the new relay Redis or DynamoDB, where their members are kept')];
  }
  if (!after || (after.available && !after.stale)) return [];
  const what = `${name}: the new relay's Big Segments are ${after.available ? 'stale' : 'not available'}`;
  return [bad('big-segments', name, what, 'wait until they are synchronised; bigSegmentStatus in its /status tells')];
}
