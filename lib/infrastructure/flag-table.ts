import { Aws, RemovalPolicy } from 'aws-cdk-lib';
import { AttributeType, Billing, ContributorInsightsMode, TableEncryptionV2, TableV2 } from 'aws-cdk-lib/aws-dynamodb';
import { Grant, type IGrantable } from 'aws-cdk-lib/aws-iam';
import { Construct } from 'constructs';
import { tableSchema } from '../flag-table/index.ts';
import { literalRegion } from './literal-region.ts';

export interface FlagTableProps {
  /** The same in every region. */
  readonly tableName: string;
  /** Regions of additional replicas, without the stack's own. */
  readonly replicaRegions: readonly string[];
  /** Whether the table is retained when its stack is deleted; not when its first deployment fails. @default true */
  readonly retain?: boolean;
  /**
   * Whether the table is protected from deletion in its home region. Replicas are copies and are not. Set it after the first successful
   * deployment, which could not be rolled back otherwise. @default false
   */
  readonly deletionProtection?: boolean;
}

export interface GrantReadOptions {
  /** @default home and every replica */
  readonly regions?: readonly string[];
  /**
   * Limits reads to the items of the environment with this prefix.
   * @default every environment
   */
  readonly prefix?: string;
}

/** A new or existing flag table. Its properties are literals, so that stacks in any region can refer to it. */
export interface IFlagTable {
  readonly tableName: string;
  /** The region in which relays write. */
  readonly homeRegion: string;
  readonly replicaRegions: readonly string[];
  /** Allows a reader to get, batch-get and query items, in every region with a replica. */
  grantRead(grantee: IGrantable, options?: GrantReadOptions): Grant;
  /** Allows a relay to read and write in the home region. A writer in another region could overwrite it through replication. */
  grantWrite(grantee: IGrantable): Grant;
}

// Only what the reader and the relay call: no scans, no transactions, no changes to the table itself.
const READ = ['dynamodb:BatchGetItem', 'dynamodb:GetItem', 'dynamodb:Query'];
const WRITE = ['dynamodb:DeleteItem', 'dynamodb:PutItem', 'dynamodb:UpdateItem'];

/**
 * The flag table: a DynamoDB global table (asynchronous replication, last writer wins item by item) with the key
 * schema that LaunchDarkly's SDKs expect in daemon mode. It contains flags, not secrets, so it is encrypted
 * with an AWS owned key: a customer managed key would be needed for every read.
 */
export class FlagTable extends Construct implements IFlagTable {
  readonly tableName: string;
  readonly homeRegion: string;
  readonly replicaRegions: readonly string[];
  readonly table: TableV2;

  /**
   * An existing table, such as one that ld-relay fills, with its replicas. It is not changed: its key schema must be
   * LaunchDarkly's (`namespace`, `key`), and you enable the TTL on `expiresAt` yourself.
   */
  static fromExisting(
    tableName: string,
    regions: { readonly homeRegion: string; readonly replicaRegions: readonly string[] },
  ): IFlagTable {
    const reference = { tableName, homeRegion: regions.homeRegion, replicaRegions: regions.replicaRegions };
    return {
      ...reference,
      grantRead: (grantee, options) => grantRead(reference, grantee, options),
      grantWrite: (grantee) => grantWrite(reference, grantee),
    };
  }

  /** Throws an Error if the stack's region is not a literal: replicas, edge functions and the choice of writer depend on it. */
  constructor(scope: Construct, id: string, props: FlagTableProps) {
    super(scope, id);
    const retain = props.retain ?? true;
    this.tableName = props.tableName;
    this.homeRegion = literalRegion(this, 'a flag table');
    this.replicaRegions = props.replicaRegions;
    this.table = new TableV2(this, 'Table', {
      tableName: props.tableName,
      partitionKey: { name: tableSchema.partitionKey, type: AttributeType.STRING },
      sortKey: { name: tableSchema.sortKey, type: AttributeType.STRING },
      timeToLiveAttribute: tableSchema.timeToLive,
      billing: Billing.onDemand(),
      encryption: TableEncryptionV2.dynamoOwnedKey(),
      pointInTimeRecoverySpecification: { pointInTimeRecoveryEnabled: true },
      contributorInsightsSpecification: { enabled: true, mode: ContributorInsightsMode.THROTTLED_KEYS },
      deletionProtection: props.deletionProtection ?? false,
      removalPolicy: retain ? RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE : RemovalPolicy.DESTROY,
      replicas: props.replicaRegions.map((region) => ({ region, deletionProtection: false })),
    });
  }

  grantRead(grantee: IGrantable, options?: GrantReadOptions): Grant {
    return grantRead(this, grantee, options);
  }

  grantWrite(grantee: IGrantable): Grant {
    return grantWrite(this, grantee);
  }
}

type Reference = Pick<IFlagTable, 'tableName' | 'homeRegion' | 'replicaRegions'>;

function grantRead(table: Reference, grantee: IGrantable, { regions, prefix }: GrantReadOptions = {}): Grant {
  const wanted = regions ?? [table.homeRegion, ...table.replicaRegions];
  const unknown = wanted.filter((region) => region !== table.homeRegion && !table.replicaRegions.includes(region));
  if (unknown.length > 0) throw new Error(`flag table ${table.tableName} has no replica in ${unknown.join(', ')}`);
  return Grant.addToPrincipal({
    grantee,
    actions: READ,
    resourceArns: wanted.map((region) => arn(table, region)),
    conditions: prefix ? { 'ForAllValues:StringLike': { 'dynamodb:LeadingKeys': [`${prefix}:*`] } } : undefined,
  });
}

function grantWrite(table: Reference, grantee: IGrantable): Grant {
  return Grant.addToPrincipal({
    grantee,
    actions: [...READ, ...WRITE],
    resourceArns: [arn(table, table.homeRegion)],
  });
}

/** The table's own ARN attribute covers only the region of its stack. */
function arn({ tableName }: Reference, region: string): string {
  return `arn:${Aws.PARTITION}:dynamodb:${region}:${Aws.ACCOUNT_ID}:table/${tableName}`;
}
