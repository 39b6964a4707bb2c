/** What LaunchDarkly has and what the source of keys says, from the first step of a schedule to the last. */
import type { CredentialKind } from '../../../relay-task/ports.ts';

export type SourceName = 'SSM' | 'auto-configuration' | 'archive' | 'configuration';

/** One environment as the source names it. */
export interface Folder {
  /** A folder in SSM, a name in the configuration; elsewhere the client-side ID. */
  name: string;
  sdkKey: string;
  /** Keys in their grace time, the newest last: sources state only that one. */
  previous: { sdkKey: string; until: number }[];
  mobileKey: string | undefined;
  clientId: string | undefined;
  /** In SSM only: credentials whose parameter was deleted, by kind, with the number of the state in which that happened. */
  gone: Partial<Record<CredentialKind, number>>;
  /** In SSM only: keys that were revoked explicitly. */
  revoked: string[];
}

export type State = readonly Folder[];

export interface Credential {
  readonly kind: CredentialKind;
  readonly value: string;
}

export interface World {
  readonly source: SourceName;
  /** Whether LaunchDarkly sends `X-LD-EnvID`. */
  readonly sendsIds: boolean;
  /** In which LaunchDarkly sends flags. */
  readonly protocol: 'fdv1' | 'fdv2';
  /** What the source says now. Changes count once `record` was called. */
  readonly folders: Folder[];
  /** Everything that it has said so far; the last is the present one. */
  readonly states: readonly State[];
  record(): void;
  /** LaunchDarkly's environment of an SDK key, or of a client-side ID. */
  environmentOf(value: string): string;
  /** Makes a credential of this environment that LaunchDarkly knows. */
  make(kind: CredentialKind, environment: string): string;
  /** LaunchDarkly does not accept this SDK key any more. */
  end(sdkKey: string): void;
  accepts(sdkKey: string): boolean;
  /** Every credential that was ever made. */
  readonly credentials: readonly Credential[];
  versionOf(environment: string): number;
  change(environment: string): void;
  /** LaunchDarkly's data of an environment: each value names it, with its version. */
  dataOf(environment: string): { flags: Record<string, unknown>; segments: Record<string, unknown> };
}

export const environments = ['red', 'green', 'blue', 'gold'] as const;
const firstVersions: Readonly<Record<string, number>> = { red: 1, green: 100, blue: 7, gold: 40 };

export function createWorld(source: SourceName, sendsIds: boolean, protocol: World['protocol']): World {
  const states: State[] = [];
  const folders: Folder[] = [];
  const homes = new Map<string, string>();
  const ended = new Set<string>();
  const credentials: Credential[] = [];
  const versions = new Map(Object.entries(firstVersions));
  let made = 0;

  const versionOf = (environment: string) => versions.get(environment) ?? 1;

  function make(kind: CredentialKind, environment: string): string {
    made += 1;
    const number = String(made).padStart(12, '0');
    const value =
      kind === 'environmentId'
        ? `c0ffee000000${number}`
        : `${kind === 'sdkKey' ? 'sdk' : 'mob'}-00000000-0000-0000-0000-${number}`;
    homes.set(value, environment);
    credentials.push({ kind, value });
    return value;
  }

  function flagOf(key: string, environment: string) {
    const version = versionOf(environment);
    return {
      ...{ key, version, on: false, offVariation: 0, variations: [`${environment}:${version}`], salt: '' },
      clientSideAvailability: { usingMobileKey: true, usingEnvironmentId: true },
    };
  }

  const world: World = {
    ...{ source, sendsIds, protocol, folders, states, credentials, make, versionOf },
    record: () => void states.push(structuredClone(folders)),
    environmentOf: (value) => homes.get(value) ?? 'nobody',
    end: (sdkKey) => void ended.add(sdkKey),
    accepts: (sdkKey) => homes.has(sdkKey) && !ended.has(sdkKey),
    change: (environment) => void versions.set(environment, versionOf(environment) + 1),
    dataOf: (environment) => ({
      flags: {
        whose: flagOf('whose', environment),
        [`only-${environment}`]: flagOf(`only-${environment}`, environment),
      },
      segments: {},
    }),
  };
  for (const environment of environments.slice(0, 3)) addFolder(world, environment);
  world.record();
  return world;
}

/** A new environment with keys of its own. */
export function addFolder({ source, folders, make }: World, environment: string): void {
  const clientId = make('environmentId', environment);
  const isNamedById = source === 'auto-configuration' || source === 'archive';
  folders.push({
    name: isNamedById ? clientId : `${environment}${clientId.slice(-3)}`,
    sdkKey: make('sdkKey', environment),
    previous: [],
    mobileKey: make('mobileKey', environment),
    ...{ clientId, gone: {}, revoked: [] },
  });
}

/** What an environment names: its present credentials, then its keys in their grace time. */
export function credentialsOf({ sdkKey, mobileKey, clientId, previous }: Folder): Credential[] {
  return [
    { kind: 'sdkKey', value: sdkKey },
    ...(mobileKey === undefined ? [] : [{ kind: 'mobileKey', value: mobileKey } as const]),
    ...(clientId === undefined ? [] : [{ kind: 'environmentId', value: clientId } as const]),
    ...previous.map((one) => ({ kind: 'sdkKey', value: one.sdkKey }) as const),
  ];
}
