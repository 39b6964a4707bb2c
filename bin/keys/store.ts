/** The few requests to SSM that the operator's commands make, and what AWS's errors mean to a person. */
import {
  DeleteParametersCommand,
  GetParameterCommand,
  GetParametersByPathCommand,
  ParameterNotFound,
  PutParameterCommand,
  SSMClient,
} from '@aws-sdk/client-ssm';
import { parseStage, type Stage } from '../../lib/infrastructure/stages.ts';

export interface StoredParameter {
  /** Below the path: `production/sdk-key`. */
  readonly name: string;
  readonly type: string;
  readonly version: number;
  readonly modifiedAt: Date;
  readonly arn: string;
  /** Of a SecureString only where it was asked to be decrypted. */
  readonly text: string | undefined;
}

export interface KeyStore {
  readonly region: string;
  list(options?: { decrypted: boolean }): Promise<readonly StoredParameter[]>;
  /** Decrypted; undefined: there is none. */
  get(name: string): Promise<StoredParameter | undefined>;
  /** Answers with the version. */
  put(name: string, value: string, options: { secret: boolean; kmsKey?: string | undefined }): Promise<number>;
  remove(names: readonly string[]): Promise<void>;
  close(): void;
}

/** The region that was asked for, else the stage's home, else AWS's own configuration. */
export function regionOf(stage: string, asked: string | undefined): string | undefined {
  return asked ?? parsedStage(stage)?.homeRegion ?? process.env.AWS_REGION ?? process.env.AWS_DEFAULT_REGION;
}

/** Where else relays of the stage run: each reads the keys of its own region. */
export function otherRegionsOf(stage: string, region: string, stages?: Readonly<Record<string, unknown>>): string[] {
  const parsed = parsedStage(stage, stages);
  return parsed ? [parsed.homeRegion, ...parsed.relayRegions].filter((one) => one !== region) : [];
}

/** Keys may be put before the stage is described. */
function parsedStage(stage: string, stages?: Readonly<Record<string, unknown>>): Stage | undefined {
  try {
    return stages === undefined ? parseStage(stage) : parseStage(stage, stages);
  } catch {
    return undefined;
  }
}

export function openKeyStore(options: { path: string; region: string; endpoint?: string | undefined }): KeyStore {
  const { path, region, endpoint } = options;
  const client = new SSMClient({ region, ...(endpoint !== undefined && { endpoint }) });
  return {
    region,
    async list({ decrypted } = { decrypted: false }) {
      const found: StoredParameter[] = [];
      let NextToken: string | undefined;
      do {
        const page = await client.send(
          new GetParametersByPathCommand({ Path: path, Recursive: true, WithDecryption: decrypted, NextToken }),
        );
        for (const { Name = '', Type = '', Version = 0, LastModifiedDate, ARN = '', Value } of page.Parameters ?? []) {
          const isReadable = decrypted || Type !== 'SecureString';
          found.push({
            ...{ name: Name.slice(path.length + 1), type: Type, version: Version, arn: ARN },
            ...{ modifiedAt: LastModifiedDate ?? new Date(0), text: isReadable ? Value : undefined },
          });
        }
        NextToken = page.NextToken;
      } while (NextToken);
      return found.sort((a, b) => (a.name < b.name ? -1 : 1));
    },
    async get(name) {
      try {
        const { Parameter } = await client.send(
          new GetParameterCommand({ Name: `${path}/${name}`, WithDecryption: true }),
        );
        const { Type = '', Version = 0, LastModifiedDate, ARN = '', Value } = Parameter ?? {};
        return {
          name,
          type: Type,
          version: Version,
          arn: ARN,
          modifiedAt: LastModifiedDate ?? new Date(0),
          text: Value,
        };
      } catch (error) {
        if (error instanceof ParameterNotFound) return undefined;
        throw error;
      }
    },
    async put(name, value, { secret, kmsKey }) {
      const { Version = 0 } = await client.send(
        new PutParameterCommand({
          ...{ Name: `${path}/${name}`, Value: value, Overwrite: true, Type: secret ? 'SecureString' : 'String' },
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
    close: () => client.destroy(),
  };
}

/** One sentence on what went wrong and what would do. */
export function describeAwsError(error: unknown, region: string): string {
  if (!(error instanceof Error)) return String(error);
  const { name, message } = error;
  const code = (error as NodeJS.ErrnoException).code ?? '';
  const text = message || code || name;
  if (name === 'CredentialsProviderError') {
    return `there are no AWS credentials: sign in (aws sso login), or set AWS_PROFILE or AWS_ACCESS_KEY_ID. AWS says: ${text}`;
  }
  if (/^(ExpiredToken|ExpiredTokenException|UnrecognizedClientException|InvalidClientTokenId)/.test(name)) {
    return `AWS does not accept the credentials, they are wrong or expired: sign in again. AWS says: ${text}`;
  }
  if (name === 'AccessDeniedException') {
    return `AWS denies it; the permissions that are needed stand in docs/keys.md. AWS says: ${text}`;
  }
  if (name === 'HierarchyTypeMismatchException') {
    return 'the parameter is there with another type (String instead of SecureString, or the other way round): delete it in SSM, then put it again';
  }
  if (/\bE[A-Z]{4,}\b|TimeoutError|socket hang up/.test(`${code} ${name} ${text}`)) {
    return `AWS in ${region} cannot be reached: ${text}`;
  }
  return name === 'Error' ? text : `${name}: ${text}`;
}
