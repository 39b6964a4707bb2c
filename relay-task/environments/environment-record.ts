import { createFindings, type Problems } from '../common/findings.ts';
import { describeType, isCount, isObject, type JsonObject, showJson } from '../common/json.ts';
import type { EnvironmentDescription } from '../ports.ts';
import type { HeldKeys, KeyStatement, StatedKey } from './key-rotation.ts';
import { member } from './loose-json.ts';

/** One environment as auto-configuration and archives describe it. */
export interface EnvironmentRecord {
  readonly environmentId: string;
  readonly version: number;
  readonly labels: NonNullable<EnvironmentDescription['labels']>;
  readonly statement: KeyStatement;
  readonly ttlMs: number;
  readonly secureMode: boolean;
}

/** LaunchDarkly's have 24 characters. */
export const LONGEST_ID = 256;

/** Settings of the relay that apply to every environment. */
export interface EnvironmentTemplates {
  /** Of keys in stores, `$CID` stands for the client-side ID. */
  readonly prefixTemplate: string;
  /** Of a DynamoDB table; '' for none of its own. */
  readonly tableNameTemplate: string;
  readonly allowedOrigins: readonly string[];
  readonly allowedHeaders: readonly string[];
}

/** A template for one environment, or for one filtered view of it: `$CID` is then `ENVIRONMENT.FILTER`. */
export function fillTemplate(template: string, environmentId: string, filter = ''): string {
  // A function, because `$` is special in a replacement string.
  return template.replaceAll('$CID', () => (filter === '' ? environmentId : `${environmentId}.${filter}`));
}

export function describeRecord(
  { environmentId, labels, ttlMs, secureMode }: EnvironmentRecord,
  keys: HeldKeys,
  filters: readonly string[],
  { prefixTemplate, tableNameTemplate, allowedOrigins, allowedHeaders }: EnvironmentTemplates,
): EnvironmentDescription {
  const name = [labels.projName, labels.envName].filter(Boolean).join(' ');
  return {
    id: environmentId,
    name: name || environmentId,
    labels,
    environmentId,
    filters,
    secureMode,
    ttlMs,
    allowedOrigins,
    allowedHeaders,
    sdkKey: keys.sdkKey,
    credentials: [...keys.credentials, { kind: 'environmentId', value: environmentId }],
    prefix: fillTemplate(prefixTemplate, environmentId),
    tableName: fillTemplate(tableNameTemplate, environmentId) || undefined,
  };
}

/**
 * Parses one environment (relay protocol: `ENV`), which must have this ID. Problems contain no key. A record whose lists
 * of keys contradict its keys is rejected whole, since applying half of it could revoke a good key.
 */
export function parseEnvironmentRecord(data: unknown, id: string): EnvironmentRecord | { readonly problem: string } {
  if (!isObject(data)) return { problem: `must be an object, not ${describeType(data)}` };
  const findings = createFindings();
  const { text, count, flag, keys } = readersOf(data, findings);
  const innerId = text('envId');
  if (!id.isWellFormed()) findings.problem('the ID must be well-formed text, but contains half of a surrogate pair');
  if (id.length > LONGEST_ID) findings.problem(`the ID must have at most ${LONGEST_ID} characters, not ${id.length}`);
  if (innerId !== id) findings.problem(`envId must be the ID ${showJson(id)}, not ${showJson(innerId)}`);
  const statement: KeyStatement = {
    ...readSdkKey(data, findings),
    sdkKeys: keys('sdkKeys'),
    mobileKey: text('mobKey') || (hasNoMobileKey(data) ? null : undefined),
    mobileKeys: keys('mobileKeys'),
  };
  checkPrimary('sdkKeys', 'sdkKey.value', statement.sdkKeys, statement.sdkKey, findings);
  checkPrimary('mobileKeys', 'mobKey', statement.mobileKeys, statement.mobileKey, findings);
  const record = {
    environmentId: id,
    statement,
    version: count('version'),
    secureMode: flag('secureMode'),
    ttlMs: count('defaultTtl') * 60_000,
    labels: { envKey: text('envKey'), envName: text('envName'), projKey: text('projKey'), projName: text('projName') },
  };
  return findings.problems.length > 0 ? { problem: findings.problems.join('; ') } : record;
}

/** The JSON that the record is read from, without what else LaunchDarkly sent, which may be of any size and depth. */
export function environmentJson({ environmentId, statement, version, secureMode, ttlMs, labels }: EnvironmentRecord) {
  const { sdkKey, expiring, sdkKeys, mobileKey, mobileKeys } = statement;
  const listOf = (keys: readonly StatedKey[]) => keys.map(({ value, expiresAt }) => ({ value, expiry: expiresAt }));
  return {
    envId: environmentId,
    ...labels,
    version,
    secureMode,
    defaultTtl: ttlMs / 60_000,
    sdkKey: { value: sdkKey, expiring: expiring && { value: expiring.value, timestamp: expiring.expiresAt } },
    sdkKeys: listOf(sdkKeys),
    // A record without a mobile key says so; one that says nothing keeps the former key.
    ...(mobileKey !== undefined && { mobKey: mobileKey ?? '' }),
    ...(mobileKeys.length > 0 && { mobileKeys: listOf(mobileKeys) }),
  };
}

function readersOf(data: JsonObject, findings: Problems) {
  const read = <T>(name: string, fits: (value: unknown) => value is T, wanted: string, absent: T): T => {
    const value = member(data, name) ?? absent;
    if (fits(value)) return value;
    findings.problem(`${name} must be ${wanted}, not ${describeType(value)}`);
    return absent;
  };
  return {
    text: (name: string) => read(name, isText, 'a text', ''),
    count: (name: string) => read(name, isCount, 'a whole number from 0', 0),
    flag: (name: string) => read(name, isFlag, 'true or false', false),
    keys: (name: string) => readList(name, read(name, Array.isArray, 'a list', []), findings),
  };
}

function readSdkKey(data: JsonObject, findings: Problems): Pick<KeyStatement, 'sdkKey' | 'expiring'> {
  const stated = member(data, 'sdkKey') ?? {};
  if (!isObject(stated)) {
    findings.problem(`sdkKey must be an object, not ${describeType(stated)}`);
    return { sdkKey: undefined };
  }
  const { text } = readersOf(stated, findings);
  const sdkKey = text('value') || undefined;
  const expiring = member(stated, 'expiring') ?? {};
  if (!isObject(expiring)) {
    findings.problem(`sdkKey.expiring must be an object, not ${describeType(expiring)}`);
    return { sdkKey };
  }
  const old = member(expiring, 'value') ?? '';
  if (old === '') return { sdkKey };
  const expiresAt = member(expiring, 'timestamp');
  if (isText(old) && isCount(expiresAt)) return { sdkKey, expiring: { value: old, expiresAt } };
  findings.problem('sdkKey.expiring must have a value and a timestamp in ms');
  return { sdkKey };
}

function readList(name: string, entries: readonly unknown[], findings: Problems): StatedKey[] {
  let wrong = 0;
  const read = entries.flatMap((entry) => {
    const value = isObject(entry) ? member(entry, 'value') : undefined;
    const expiresAt = isObject(entry) ? (member(entry, 'expiry') ?? undefined) : undefined;
    if (isText(value) && value !== '' && (expiresAt === undefined || isCount(expiresAt))) return [{ value, expiresAt }];
    wrong += 1;
    return [];
  });
  if (wrong > 0)
    findings.problem(`each of ${name} must have a value and, if it ends, an expiry in ms: ${wrong} do not`);
  return read;
}

/** `mobKey` or the list is present and empty: LaunchDarkly always sends whole environments. */
function hasNoMobileKey(data: JsonObject): boolean {
  const mobileKeys = member(data, 'mobileKeys');
  return member(data, 'mobKey') !== undefined || (Array.isArray(mobileKeys) && mobileKeys.length === 0);
}

function checkPrimary(
  list: string,
  name: string,
  keys: readonly StatedKey[],
  primary: string | null | undefined,
  findings: Problems,
): void {
  if (keys.length === 0 || keys.some(({ value }) => value === primary)) return;
  findings.problem(`${name} must be one of ${list}`);
}

const isText = (value: unknown): value is string => typeof value === 'string';
const isFlag = (value: unknown): value is boolean => typeof value === 'boolean';
