/**
 * How environments are stored in SSM's Parameter Store, for the relay that reads them and the commands that write them:
 * `/edge-flag-relay/<stage>/environments/<environment>/<parameter>`.
 */
import { createHash } from 'node:crypto';
import { holdsKey, type KeyKind, keyKindOf } from '../common/secrets.ts';
import type { Reader } from '../common/setting-values.ts';
import { settingReaders } from './ssm-settings.ts';

/** The folder of a stage's environments, without a slash at the end, as GetParametersByPath and IAM want it. */
export function environmentsPath(stage: string): string {
  return `/edge-flag-relay/${stage}/environments`;
}

/** Characters that SSM allows in one level of a name; https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_PutParameter.html */
export const levelPattern = /^[\w.-]+$/;

interface SsmParameter {
  /** To be kept as a SecureString and never shown. */
  readonly secret: boolean;
  /** Its absence is never taken as intended: its last value keeps working for a grace time. */
  readonly key: boolean;
  readonly read: Reader<unknown>;
  readonly says: string;
}

type Kind = KeyKind | 'a client-side ID';

/** The form of a whole client-side ID. */
const CLIENT_SIDE_ID = /^[0-9a-f]{24}$/;

/**
 * Anything that can be sent in an Authorization header, unless it is evidently of another kind: as a client-side ID, a secret key would
 * be sent to every browser; as an SDK key, what apps and browsers contain would open the flags with all their rules.
 */
const credential =
  (own: Kind): Reader<string> =>
  (text) => {
    if (!/^[\x21-\x7e]+$/.test(text)) return { wanted: 'one word without spaces: the key and nothing else' };
    const kind = keyKindOf(text) ?? (CLIENT_SIDE_ID.test(text) ? 'a client-side ID' : own);
    return kind === own ? { value: text } : { wanted: `${own}, not ${kind}` };
  };

/** RFC 3339, section 5.6: a date, a time and a zone. Returns Unix ms. */
export const dateTime: Reader<number> = (text) => {
  const wanted = { wanted: 'a date and time with its zone, such as 2026-11-22T08:00:00Z' };
  const [, year, month, day] =
    /^(\d{4})-(\d\d)-(\d\d)[Tt ]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)$/.exec(text) ?? [];
  const value = Date.parse(text.replace(' ', 'T').toUpperCase());
  // Date.parse takes 30 February for a day in March.
  const exists = new Date(Date.UTC(Number(year), Number(month) - 1, Number(day))).getUTCDate() === Number(day);
  return exists && !Number.isNaN(value) ? { value } : wanted;
};

const key = (kind: Kind, says: string): SsmParameter => ({ secret: true, key: true, read: credential(kind), says });
const plain = (read: Reader<unknown>, says: string): SsmParameter => ({
  secret: false,
  key: false,
  says,
  // Settings are shown in `/status`, in logs and in the names of keys in stores.
  read: (text) => (holdsKey(text) ? { wanted: 'a setting, not a secret key' } : read(text)),
});

/** Every parameter that an environment may have. A test compares `docs/keys.md` with this table. */
export const ssmParameters = {
  'sdk-key': key('an SDK key', 'the SDK key: of server SDKs, and with which the relay asks LaunchDarkly'),
  'previous-sdk-key': key('an SDK key', 'the SDK key before that, still accepted until `previous-sdk-key-until`'),
  'previous-sdk-key-until': {
    ...plain(dateTime, 'when the previous SDK key ends, RFC 3339; without it: a grace time after that key was written'),
    key: true,
  },
  'mobile-key': key('a mobile key', 'the mobile key; without it the environment answers no mobile SDK'),
  'client-side-id': {
    secret: false,
    key: true,
    read: credential('a client-side ID'),
    says: 'the client-side ID; without it the environment answers no browser SDK',
  },
  prefix: plain(settingReaders.prefix, "the prefix of the environment's keys in a store; its name unless set"),
  'table-name': plain(settingReaders['table-name'], "the environment's own DynamoDB table"),
  'allowed-origins': plain(
    settingReaders['allowed-origins'],
    'origins of browsers, separated by commas; any unless set',
  ),
  'allowed-headers': plain(
    settingReaders['allowed-headers'],
    'further request headers that browsers may send, separated by commas',
  ),
  'secure-mode': plain(settingReaders['secure-mode'], 'true: browsers must send the hash of their context'),
  ttl: plain(settingReaders.ttl, 'how long PHP may cache answers, such as 30s'),
  filters: plain(settingReaders.filters, 'keys of payload filters, separated by commas'),
  'project-key': plain(
    settingReaders['project-key'],
    "the project: of the heartbeat flag, and whose payload filters are the environment's unless `filters` is set",
  ),
  'heartbeat-flag': plain(
    settingReaders['heartbeat-flag'],
    "the key of the environment's heartbeat flag; `HEARTBEAT_FLAG` unless set",
  ),
  'log-level': plain(
    settingReaders['log-level'],
    "the least severe of the environment's log lines: debug, for an hour after it was written; info, warn, error or none",
  ),
  'flags-file': plain(
    settingReaders['flags-file'],
    'take flags from this file in the container instead of from LaunchDarkly',
  ),
  revoked: plain(readRevoked, 'fingerprints of keys that were revoked, written by `npm run keys -- revoke`'),
} as const satisfies Record<string, SsmParameter>;

export type SsmParameterName = keyof typeof ssmParameters;

export function isParameterName(name: string): name is SsmParameterName {
  return Object.hasOwn(ssmParameters, name);
}

/** What a key should look like but need not; undefined: it does. Says nothing of the value. */
export function unlikely(name: SsmParameterName, value: string): string | undefined {
  if ((name === 'sdk-key' || name === 'previous-sdk-key') && !value.startsWith('sdk-')) {
    return `${name} does not begin with sdk-, as the SDK keys of LaunchDarkly do`;
  }
  if (name === 'mobile-key' && !value.startsWith('mob-')) {
    return `${name} does not begin with mob-, as the mobile keys of LaunchDarkly do`;
  }
  return undefined;
}

/** The message for a secret that is not a SecureString. SSM cannot change the type of a parameter that exists. */
export function storedPlainly(name: string): string {
  return (
    `${name} is stored unencrypted, as a String: everyone who may list parameters can read the key. ` +
    'Delete it, put it again as a SecureString, and reset the key in LaunchDarkly'
  );
}

/** In `revoked`: the whole environment. */
const everything = '*';

/**
 * How a key is named where it was revoked: half of its SHA-256, in hex. LaunchDarkly's keys are random, so it does not
 * help to find them.
 */
export function fingerprintOf(value: string): string {
  return createHash('sha256').update(value).digest('hex').slice(0, 32);
}

export interface Revoked {
  /** The environment itself is gone. */
  readonly everything: boolean;
  has(value: string): boolean;
}

export function parseRevoked(text: string | undefined): Revoked {
  const entries = new Set(words(text ?? ''));
  return { everything: entries.has(everything), has: (value) => entries.size > 0 && entries.has(fingerprintOf(value)) };
}

/** `revoked` with more in it; the newest hundred, since SSM allows 4 KB. */
export function addRevoked(text: string | undefined, values: readonly string[], all: boolean): string {
  const entries = words(text ?? '').filter((entry) => entry !== everything);
  const kept = [...new Set([...entries, ...values.map(fingerprintOf)])].slice(-100);
  return [...(all ? [everything] : []), ...kept].join(',');
}

/** `revoked` without the mark of the whole environment; undefined: nothing is left of it. */
export function withoutEverything(text: string): string | undefined {
  return (
    words(text)
      .filter((entry) => entry !== everything)
      .join(',') || undefined
  );
}

function words(text: string): string[] {
  return text
    .split(/[\s,]+/)
    .filter((word) => word !== '')
    .map((word) => word.toLowerCase());
}

function readRevoked(text: string): ReturnType<Reader<readonly string[]>> {
  const entries = words(text);
  return entries.every((entry) => entry === everything || /^[0-9a-f]{32}$/.test(entry))
    ? { value: entries }
    : { wanted: `fingerprints of 32 hex digits, separated by commas, or ${everything}` };
}
