/** The SSM requests of the commands, and readable texts for AWS's errors. */
import { DeleteParametersCommand, PutParameterCommand, SSMClient } from '@aws-sdk/client-ssm';
import type { Stage } from '../../lib/infrastructure/stages.ts';
import { createSsmReader } from '../../relay-task/environments/ssm-reader.ts';
import { RelayError } from '../../relay-task/errors.ts';
import { regionIn } from '../aws/region.ts';
import { outboundOf } from '../outbound.ts';
import { stageOf } from '../stage-of.ts';

export interface StoredParameter {
  /** Below the path: `production/sdk-key`. */
  readonly name: string;
  readonly type: string;
  readonly version: number;
  readonly modifiedAt: Date;
  readonly arn: string;
  /** A SecureString has it once it was decrypted. */
  readonly text: string | undefined;
  /** Why it could not be decrypted. */
  readonly problem?: string;
}

export interface KeyStore {
  readonly region: string;
  /** Everything below the path; SecureStrings without their values. */
  list(): Promise<readonly StoredParameter[]>;
  /** The same parameters with their values, or with the reason why they have none. Deleted ones are left out. */
  decrypt(parameters: readonly StoredParameter[]): Promise<readonly StoredParameter[]>;
  /** Resolves with the version. */
  put(name: string, value: string, options: { secret: boolean; kmsKey?: string | undefined }): Promise<number>;
  remove(names: readonly string[]): Promise<void>;
  close(): void;
}

/** The region given, else the stage's home region, else AWS's own configuration. */
export function regionOf(stage: string, asked: string | undefined): string | undefined {
  return asked ?? parsedStage(stage)?.homeRegion ?? regionIn(process.env);
}

/** The stage's other regions with relays: each relay reads the keys of its own region. */
export function otherRegionsOf(stage: string, region: string, stages?: Readonly<Record<string, unknown>>): string[] {
  const parsed = parsedStage(stage, stages);
  return parsed ? [parsed.homeRegion, ...parsed.relayRegions].filter((one) => one !== region) : [];
}

/** The KMS key that the stage sets for the parameters of a region; undefined: AWS's own. */
export function kmsKeyOf(
  stage: string,
  region: string,
  stages?: Readonly<Record<string, unknown>>,
): string | undefined {
  return parsedStage(stage, stages)?.relay.encryptionKeys[region];
}

/** Keys may be put before the stage has a file. */
function parsedStage(stage: string, stages?: Readonly<Record<string, unknown>>): Stage | undefined {
  try {
    return stageOf(stage, stages);
  } catch {
    return undefined;
  }
}

/** The SDK's client has its own retries. */
const timings = { requestTimeoutMs: 15_000, retryBaseMs: 250, retryCapMs: 5_000, retries: 0, spacingMs: 50 };

/** Throws RelayError CONFIG_INVALID when a proxy or a CA file is invalid. */
export function openKeyStore(options: { path: string; region: string; endpoint?: string | undefined }): KeyStore {
  const { path, region, endpoint } = options;
  const agents = outboundOf(process.env).awsAgents();
  const client = new SSMClient({
    region,
    ...(endpoint !== undefined && { endpoint }),
    ...(agents && { requestHandler: agents }),
  });
  const reader = createSsmReader({ client, path, timings });
  return {
    region,
    async list() {
      const listed = await reader.list();
      return listed
        .map(({ modifiedAt, ...one }) => ({ ...one, modifiedAt: new Date(modifiedAt) }))
        .sort((a, b) => (a.name < b.name ? -1 : 1));
    },
    async decrypt(parameters) {
      const hidden = parameters.filter(({ text }) => text === undefined);
      const decrypted = await reader.decrypt(hidden.map(({ name }) => name));
      return parameters.flatMap((one): StoredParameter[] => {
        if (one.text !== undefined) return [one];
        const found = decrypted.get(one.name);
        if (found === undefined) return [];
        if ('text' in found) return [{ ...one, text: found.text }];
        return [{ ...one, problem: 'failed' in found ? found.failed : found.refused }];
      });
    },
    async put(name, value, { secret, kmsKey }) {
      const { Version = 0 } = await client.send(
        new PutParameterCommand({
          Name: `${path}/${name}`,
          Value: value,
          Overwrite: true,
          Type: secret ? 'SecureString' : 'String',
          ...(secret && kmsKey !== undefined && { KeyId: kmsKey }),
        }),
      );
      return Version;
    },
    async remove(names) {
      for (let start = 0; start < names.length; start += 10) {
        const Names = names.slice(start, start + 10).map((name) => `${path}/${name}`);
        await client.send(new DeleteParametersCommand({ Names }));
      }
    },
    close() {
      reader.close();
      client.destroy();
    },
  };
}

/** One sentence: what went wrong and what to do. */
export function describeAwsError(error: unknown, region: string): string {
  if (!(error instanceof Error)) return String(error);
  const { name, message } = error;
  const code = (error as NodeJS.ErrnoException).code ?? '';
  const text = message || code || name;
  if (name === 'CredentialsProviderError') {
    return `No AWS credentials found: sign in (aws sso login), or set AWS_PROFILE or AWS_ACCESS_KEY_ID. AWS says: ${text}`;
  }
  if (/^(ExpiredToken|ExpiredTokenException|UnrecognizedClientException|InvalidClientTokenId)/.test(name)) {
    return `AWS rejected the credentials as invalid or expired: sign in again. AWS says: ${text}`;
  }
  if (/^(AccessDenied|AccessDeniedException|UnauthorizedOperation|AuthorizationError)$/.test(name)) {
    return `AWS denied access; docs/keys.md and docs/deploying.md list the required permissions. AWS says: ${text}`;
  }
  if (name === 'HierarchyTypeMismatchException') {
    return 'The parameter exists with another type (String instead of SecureString, or vice versa): delete it in SSM, then put it again';
  }
  if (/\bE[A-Z]{4,}\b|TimeoutError|socket hang up/.test(`${code} ${name} ${text}`)) {
    return `Cannot reach AWS in ${region}: ${text}`;
  }
  return name === 'Error' || error instanceof RelayError ? text : `${name}: ${text}`;
}
