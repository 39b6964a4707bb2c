import type { HostAndPort } from '../common/setting-values.ts';
import { RelayError } from '../errors.ts';
import type { Log } from '../ports.ts';
import { assemble } from './assemble.ts';
import { checkTogether } from './checks.ts';
import { parseConfigFile } from './config-file.ts';
import { type Effective, gather } from './gather.ts';

export type LogLevel = keyof Log | 'none';

/** One environment as the configuration states it. It has an SDK key, a flags file, or both. */
export interface EnvironmentConfig {
  readonly name: string;
  readonly sdkKey?: string | undefined;
  readonly mobileKey?: string | undefined;
  readonly environmentId?: string | undefined;
  /** Of keys in stores; '' for none. */
  readonly prefix: string;
  readonly tableName?: string | undefined;
  readonly allowedOrigins: readonly string[];
  readonly allowedHeaders: readonly string[];
  readonly secureMode: boolean;
  readonly logLevel?: LogLevel | undefined;
  readonly ttlMs: number;
  readonly projKey?: string | undefined;
  /** Keys of the payload filters of its project. */
  readonly filters: readonly string[];
  readonly flagsFile?: string | undefined;
}

/** How environments that are not named in the configuration lie in stores and answer browsers. `$CID` is not replaced yet. */
export interface EnvironmentTemplate {
  readonly prefix: string;
  readonly tableName?: string | undefined;
  readonly allowedOrigins: readonly string[];
  readonly allowedHeaders: readonly string[];
}

export interface RedisConfig {
  readonly host: string;
  readonly port: number;
  readonly db: number;
  readonly tls: boolean;
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  /** Files, PEM. */
  readonly certFile?: string | undefined;
  readonly keyFile?: string | undefined;
  readonly caFile?: string | undefined;
  readonly connectTimeoutMs: number;
  readonly readTimeoutMs: number;
  /** Instead of host and port. */
  readonly sentinel?:
    | {
        readonly nodes: readonly HostAndPort[];
        readonly master: string;
        readonly username?: string | undefined;
        readonly password?: string | undefined;
      }
    | undefined;
  /** Host and port are those of one node of a cluster. */
  readonly cluster: boolean;
}

/** Everything the relay is told, checked. Durations in ms, sizes in bytes. */
export interface Config {
  readonly port: number;
  readonly listenHost?: string | undefined;
  readonly tls?:
    | {
        readonly certFile: string;
        readonly keyFile: string;
        readonly minVersion: 'TLSv1' | 'TLSv1.1' | 'TLSv1.2' | 'TLSv1.3';
      }
    | undefined;
  readonly streamUri: string;
  readonly baseUri: string;
  readonly clientSideBaseUri: string;
  readonly exitOnError: boolean;
  readonly exitAlways: boolean;
  readonly ignoreConnectionErrors: boolean;
  readonly initTimeoutMs: number;
  readonly heartbeatIntervalMs: number;
  readonly maxClientConnectionTimeMs: number;
  readonly disconnectedStatusTimeMs: number;
  /** Never more than `gracefulShutdownTimeoutMs`. */
  readonly drainWindowMs: number;
  readonly gracefulShutdownTimeoutMs: number;
  readonly readyRequires: 'any' | 'all';
  readonly logLevel: LogLevel;
  readonly bigSegments: { readonly staleAsDegraded: boolean; readonly staleThresholdMs: number };
  readonly expiredCredentialCleanupIntervalMs: number;
  readonly clientStreams: 'evaluated' | 'ping';
  readonly pingStreamJitterMs: number;
  readonly statusAccess: 'public' | 'restricted';
  readonly statusToken?: string | undefined;
  readonly maxClientRequestBodyBytes: number;
  /** Undefined: the streams' own bounds hold. */
  readonly initMaxConcurrent?: number | undefined;
  readonly initMaxQueued?: number | undefined;

  /** Explicit environments; empty where one of the next three is the source of them. */
  readonly environments: readonly EnvironmentConfig[];
  /** Filter keys by project key; an environment's own stand in its `filters` too. */
  readonly filters: ReadonlyMap<string, readonly string[]>;
  readonly autoConfig?:
    | (EnvironmentTemplate & { readonly key: string; readonly cacheEncryptionKey?: string | undefined })
    | undefined;
  readonly offline?: (EnvironmentTemplate & { readonly path: string; readonly intervalMs: number }) | undefined;
  readonly ssm?: { readonly path: string; readonly url?: string | undefined; readonly graceMs: number } | undefined;

  readonly events: {
    readonly enabled: boolean;
    readonly uri: string;
    readonly flushIntervalMs: number;
    readonly capacity: number;
    readonly maxInboundPayloadBytes: number;
  };
  /** `url` undefined: what HTTPS_PROXY, HTTP_PROXY and NO_PROXY say. */
  readonly proxy: {
    readonly url?: string | undefined;
    readonly user?: string | undefined;
    readonly password?: string | undefined;
    readonly caCertFiles: readonly string[];
  };

  readonly storeWriter: 'auto' | 'never';
  readonly awsRegion?: string | undefined;
  readonly dynamoDB?:
    | {
        /** The table of environments that name none. */
        readonly tableName?: string | undefined;
        readonly url?: string | undefined;
        readonly region?: string | undefined;
      }
    | undefined;
  readonly redis?: RedisConfig | undefined;
  readonly consul?:
    | {
        /** `http://host:port`. */
        readonly address: string;
        readonly token?: string | undefined;
        readonly tokenFile?: string | undefined;
      }
    | undefined;

  readonly prometheus?: { readonly port: number; readonly prefix: string } | undefined;
  readonly metrics: { readonly emf: boolean; readonly emfIntervalMs: number; readonly namespace: string };
}

export type Variables = Readonly<Record<string, string | undefined>>;

export interface ConfigFile {
  /** As messages name it. */
  readonly path: string;
  readonly text: string;
}

export interface ParsedConfig {
  readonly config: Config;
  /** One line each; nothing in them is secret. */
  readonly warnings: readonly string[];
  /** Every setting with its value in force and where that came from. */
  readonly effective: readonly Effective[];
}

/**
 * Reads the whole configuration: a file in ld-relay's dialect if there is one, overlaid by environment variables.
 * Throws RelayError CONFIG_INVALID whose message names every problem, each with its place, value and what would do;
 * its `cause` is the list of them. Secrets are never repeated in a message.
 */
export function parseConfig(variables: Variables, file?: ConfigFile): ParsedConfig {
  const problems: string[] = [];
  const warnings: string[] = [];
  const parsedFile = file && parseConfigFile(file.text, file.path);
  if (parsedFile) problems.push(...parsedFile.problems);
  const gathered = gather(variables, parsedFile, problems, warnings);
  const { config, effective, relay } = assemble(gathered, problems, warnings);
  checkTogether(config, { ...gathered, relay }, problems, warnings);
  if (problems.length > 0) throw new RelayError('CONFIG_INVALID', problems.join('; '), { cause: problems });
  return { config, warnings, effective };
}
