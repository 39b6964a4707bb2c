import type { Credential, CredentialKind, EnvironmentDescription } from '../ports.ts';
import { credentialId } from './credential-id.ts';
import { type Confirmations, createConfirmations } from './ssm-confirmations.ts';
import { type Claim, type Draft, draftOf, hasNamedKey, isOver, type Moment } from './ssm-drafts.ts';
import { type HeldParameters, isAwaited, isUnread } from './ssm-memory.ts';
import { createOwners, parameterOf } from './ssm-owners.ts';
import { type SsmParameterName, ssmParameters } from './ssm-parameters.ts';
import { type ChosenPlace, createPlaces, type Wish } from './ssm-places.ts';
import { settingOf } from './ssm-settings.ts';

/** Defaults for environments without settings of their own. */
export interface SsmDefaults {
  readonly tableName?: string;
  /** Payload filters of projects, by project key. */
  readonly filters?: Readonly<Record<string, readonly string[]>>;
}

interface DescriptionOptions {
  readonly defaults: SsmDefaults;
  /** See `SsmSourceOptions`. */
  readonly tablesSeparate: boolean;
  /** See `SsmSourceOptions`. */
  readonly prefixInStores?: ((prefix: string) => string) | undefined;
  /** How long a previous SDK key without `previous-sdk-key-until` is valid after it was written. */
  readonly graceMs: number;
  /** A replaced credential stays valid until a complete reading this long after the one that first saw the change. */
  readonly confirmMs: number;
}

/** Problems and oddities of an environment, in sentences without values. */
export interface Remarks {
  readonly problems: readonly string[];
  readonly oddities: readonly string[];
}

export interface Described {
  readonly descriptions: readonly EnvironmentDescription[];
  readonly remarks: ReadonlyMap<string, Remarks>;
  /** The environments of which some value is still being read. */
  readonly awaited: ReadonlySet<string>;
  /** A replaced credential or another place waits to be confirmed: read again soon. */
  readonly unconfirmed: boolean;
  /** How many credentials no environment may have for now, since their owner is not known or no longer there. */
  readonly withheld: number;
}

/** By environment. */
export interface InForce {
  readonly credentials: readonly (readonly [string, readonly Credential[]])[];
  readonly places: readonly (readonly [string, Wish])[];
}

export type Descriptions = ReturnType<typeof createDescriptions>;

/** Makes descriptions of the held parameters. Remembers the last ones, so that a promised expiry is kept. */
export function createDescriptions(options: DescriptionOptions) {
  const { defaults, tablesSeparate, prefixInStores = (prefix) => prefix, graceMs, confirmMs } = options;
  const owners = createOwners({ graceMs });
  const places = createPlaces({
    tableName: defaults.tableName,
    tablesSeparate,
    prefixInStores,
    confirmMs,
    filtersOf: ({ parameters }) => filtersOf(parameters, defaults),
  });
  let last = new Map<string, readonly Credential[]>();
  /** The environments that were described once with everything that could be read. */
  let opened: ReadonlySet<string> = new Set();
  const replacements = createConfirmations(confirmMs);
  /** When each problem of an environment was first seen, Unix ms. */
  let since: ReadonlyMap<string, number> = new Map();

  function describeAll(environments: ReadonlyMap<string, HeldParameters>, moment: Moment): Described {
    const { now } = moment;
    const all = [...environments]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([id, parameters]) => draftOf(id, parameters, { graceMs, now }));
    const known = all.filter(({ revoked }) => !revoked.everything);
    replacements.begin();
    for (const draft of known) {
      draft.claims.push(...lingering(draft, last.get(draft.id) ?? [], replacements, { ...moment, graceMs }));
    }
    let withheld = owners.settle(known, new Map(all.map(({ id, revoked }) => [id, revoked])), now);
    const placed = places.choose(withoutRenamed(known), moment);
    const drafts = placed.map(({ draft }) => draft);
    for (const draft of drafts) withheld += holdBack(draft, opened.has(draft.id) ? last.get(draft.id) : undefined);
    opened = new Set(drafts.flatMap((draft) => (opened.has(draft.id) || !isBeingRead(draft) ? draft.id : [])));
    since = sincesOf(drafts, since, now);
    const descriptions = placed.map(({ draft, place }) =>
      describe(draft, { place, since, now, isKnown: last.has(draft.id) }),
    );
    last = new Map(descriptions.map(({ id, credentials }) => [id, credentials]));
    return {
      descriptions,
      remarks: new Map(drafts.map(({ id, problems, oddities }) => [id, { problems, oddities }])),
      awaited: new Set(drafts.filter(isBeingRead).map(({ id }) => id)),
      unconfirmed: replacements.pending() || places.unconfirmed(),
      withheld,
    };
  }

  return {
    adopt: owners.adopt,
    disputes: owners.disputes,
    undecided: owners.undecided,
    describe: describeAll,
    /** What was described last, for a later process: it decides on what is new, or has changed. */
    inForce: (): InForce => ({ credentials: [...last], places: [...places.wishes()] }),
    restore({ credentials, places: wishes }: InForce): void {
      last = new Map(credentials);
      opened = new Set(last.keys());
      places.restore(new Map(wishes));
    },
  };
}

function isBeingRead({ parameters }: Draft): boolean {
  return [...parameters.values()].some(isAwaited);
}

/** A folder whose keys are gone and which left its SDK key to another folder is only a former name of that environment. */
function withoutRenamed(drafts: readonly Draft[]): Draft[] {
  const claimed = new Set(drafts.flatMap(({ claims }) => claims.map(credentialId)));
  return drafts.filter(({ parameters, claims }) => {
    const value = parameters.get('sdk-key')?.text;
    if (claims.length > 0 || value === undefined) return true;
    const keys = [...parameters].filter(([name]) => ssmParameters[name].key);
    const areGone = keys.every(([, { trouble }]) => trouble?.kind === 'missing');
    return !areGone || !claimed.has(credentialId({ kind: 'sdkKey', value }));
  });
}

/**
 * While the flags are not those of the SDK key that SSM names (it cannot be read, is gone or invalid, or another environment has
 * it), a credential that is new may belong to another environment than they do. Returns how many that SSM names wait for that.
 */
function holdBack(draft: Draft, known: readonly Credential[] = []): number {
  const { claims } = draft;
  if (hasNamedKey(draft)) return 0;
  const hadFlags = known.some(({ kind }) => kind === 'sdkKey') || draft.parameters.has('flags-file');
  const isUnknown = isUnread(draft.parameters.get('sdk-key'));
  // A new environment with an earlier key is served to all: it is unknown which credential came with which key.
  if (!hadFlags && (!isUnknown || claims.some(({ parameter }) => parameter === 'previous-sdk-key'))) return 0;
  const ids = new Set(known.map(credentialId));
  const held = claims.filter((claim) => !ids.has(credentialId(claim)));
  draft.claims.splice(0, claims.length, ...claims.filter((claim) => ids.has(credentialId(claim))));
  return held.filter(({ standing }) => standing === 'present').length;
}

const sdkKeyNames = ['sdk-key', 'previous-sdk-key'] as const;

/** Credentials of the last description that SSM no longer names and that are still valid. */
function lingering(
  draft: Draft,
  last: readonly Credential[],
  replacements: Confirmations,
  moment: Moment & { readonly graceMs: number },
): Claim[] {
  const { id, parameters, revoked, claims } = draft;
  const { now, graceMs } = moment;
  const mayHaveMoved = sdkKeyNames.some((name) => isUnread(parameters.get(name), now - graceMs));
  const fresh = new Set(claims.map(credentialId));
  return last.flatMap((credential): Claim[] => {
    if (fresh.has(credentialId(credential)) || revoked.has(credential.value)) return [];
    const { kind, value, expiresAt } = credential;
    if (expiresAt !== undefined) {
      // The previous key of an earlier rotation: another key took its parameter, but its expiry still holds.
      const previous = parameters.get('previous-sdk-key')?.text;
      const isEarlier = previous !== undefined && previous !== value;
      return isEarlier && !isOver(expiresAt, now) ? [claimOf(id, 'an earlier SDK key', credential)] : [];
    }
    // One of the parameters that cannot be read may have it: in a rotation a key moves from one to the other.
    if (kind === 'sdkKey' && mayHaveMoved) {
      return [{ ...claimOf(id, 'an SDK key that may have moved', credential), standing: 'present' }];
    }
    const change = `${id} ${credentialId(credential)}`;
    const isConfirmed = replacements.isConfirmed(change, moment);
    if (isConfirmed && !isRefused(draft, kind, last)) return [];
    // A credential whose successor is another environment's is held up.
    replacements.wait(change, now, isConfirmed);
    return [claimOf(id, `a ${kind} that was replaced`, credential)];
  });
}

/** Whether the environment did not get the replacement, because another one owns it: the previous value stays in force. */
function isRefused(draft: Draft, kind: CredentialKind, last: readonly Credential[]): boolean {
  const successor = draft.parameters.get(parameterOf[kind])?.text;
  // A replacement that is only held back for the SDK key still counts.
  if (successor === undefined || !hasNamedKey(draft)) return false;
  return !last.some(({ value }) => value === successor);
}

/** When each problem was first seen, by environment and text; `before`: at the last reading. */
function sincesOf(drafts: readonly Draft[], before: ReadonlyMap<string, number>, now: number): Map<string, number> {
  return new Map(
    drafts.flatMap((draft) =>
      draft.problems.map((text): [string, number] => {
        const id = `${draft.id} ${text}`;
        return [id, before.get(id) ?? troubleSince(draft, text) ?? now];
      }),
    ),
  );
}

function describe(
  { id, parameters, claims, problems }: Draft,
  {
    place,
    since,
    now,
    isKnown,
  }: { place: ChosenPlace; since: ReadonlyMap<string, number>; now: number; isKnown: boolean },
): EnvironmentDescription {
  const { isSettled, ...placed } = place;
  // Reading a known key again takes a moment and is not worth reporting.
  const isPassing = isKnown && isAwaited(parameters.get('sdk-key'));
  const awaitsKey = !isSettled && !isPassing && !parameters.has('flags-file');
  const standing = (parameter: SsmParameterName) => claims.find((claim) => claim.parameter === parameter)?.value;
  // While the new ID waits, the previous one still says whose the mobile keys are.
  const environmentId = standing('client-side-id') ?? claims.find(({ kind }) => kind === 'environmentId')?.value;
  return {
    id,
    name: id,
    environmentId,
    formerEnvironmentId: formerIdIn(parameters, environmentId),
    // If the key is invalid or revoked, the previous one stays in use as long as it is valid.
    sdkKey: standing('sdk-key') ?? claims.find(({ kind }) => kind === 'sdkKey')?.value,
    credentials: claims.map((claim) => ({
      kind: claim.kind,
      value: claim.value,
      ...(claim.expiresAt !== undefined && { expiresAt: claim.expiresAt }),
      ...(isConfirmed(claim, parameters) ? {} : { unconfirmed: true as const }),
    })),
    // An invalid value was probably meant to turn it on.
    secureMode: settingOf('secure-mode', parameters) ?? parameters.has('secure-mode'),
    ttlMs: settingOf('ttl', parameters) ?? 0,
    ...placed,
    ...(awaitsKey && { awaitsKey: true as const }),
    allowedOrigins: settingOf('allowed-origins', parameters) ?? [],
    allowedHeaders: settingOf('allowed-headers', parameters) ?? [],
    ...logLevelIn(parameters),
    flagsFile: settingOf('flags-file', parameters),
    projectKey: settingOf('project-key', parameters),
    heartbeatFlag: settingOf('heartbeat-flag', parameters),
    keyProblem:
      problems.length === 0
        ? undefined
        : {
            since: Math.min(...problems.map((problem) => since.get(`${id} ${problem}`) ?? now)),
            message: problems.join('; '),
          },
  };
}

/** The environment's own payload filters, or else those of its project. */
function filtersOf(parameters: HeldParameters, { filters = {} }: SsmDefaults): readonly string[] {
  const own = settingOf('filters', parameters);
  if (own !== undefined) return own;
  const projectKey = settingOf('project-key', parameters);
  return (projectKey !== undefined && Object.hasOwn(filters, projectKey) && filters[projectKey]) || [];
}

/**
 * An earlier SDK key in its grace time is not named any more, but its expiry says that it is still valid. What is only being
 * read counts as before while the SDK key is, too, since the flags stay the same until then.
 */
function isConfirmed({ standing, parameter, expiresAt }: Claim, parameters: HeldParameters): boolean {
  const held = parameters.get(parameter as SsmParameterName);
  if (expiresAt !== undefined) return true;
  if (standing !== 'present' || held === undefined) return false;
  return held.trouble === undefined || (held.trouble.kind === 'awaited' && isAwaited(parameters.get('sdk-key')));
}

/** A deleted ID was not corrected: it still says whose the mobile keys are, even if it opens another environment now. */
function formerIdIn(parameters: HeldParameters, present: string | undefined): string | undefined {
  const held = parameters.get('client-side-id');
  return present === undefined && held?.trouble?.kind === 'missing' ? held.text : undefined;
}

function troubleSince({ parameters }: Draft, message: string): number | undefined {
  return [...parameters.values()].find(({ trouble }) => trouble?.message === message)?.trouble?.since;
}

function claimOf(environment: string, parameter: string, credential: Credential): Claim {
  return { ...credential, environment, parameter, standing: 'replaced', modifiedAt: 0 };
}

/** How long debug counts after it was written, so that nobody has to remember to take it back. */
const DEBUG_MS = 3_600_000;

function logLevelIn(parameters: HeldParameters): Pick<EnvironmentDescription, 'logLevel' | 'logLevelUntil'> {
  const logLevel = settingOf('log-level', parameters);
  const modifiedAt = parameters.get('log-level')?.modifiedAt ?? 0;
  return { logLevel, ...(logLevel === 'debug' && modifiedAt > 0 && { logLevelUntil: modifiedAt + DEBUG_MS }) };
}
