import { Aws, RemovalPolicy } from 'aws-cdk-lib';
import { AttributeType, Billing, ContributorInsightsMode, TableEncryptionV2, TableV2 } from 'aws-cdk-lib/aws-dynamodb';
import { Grant, type IGrantable } from 'aws-cdk-lib/aws-iam';
import { Construct } from 'constructs';
import { tableSchema } from '../flag-table/index.ts';
import { literalRegion } from './literal-region.ts';

export interface FlagTableProps {
  /** The same name in every region. */
  readonly tableName: string;
  /** Regions of further replicas, never the stack's own. */
  readonly replicaRegions: readonly string[];
  /** @default true the table outlives its stack and refuses deletion */
  readonly retain?: boolean;
}

export interface GrantReadOptions {
  /** @default home and every replica */
  readonly regions?: readonly string[];
  /**
   * Only the items of the environment with this prefix.
   * @default every environment
   */
  readonly prefix?: string;
}

/** A flag table, whoever made it: literals only, so that stacks of any region can refer to it. */
export interface IFlagTable {
  readonly tableName: string;
  /** Where relays write. */
  readonly homeRegion: string;
  readonly replicaRegions: readonly string[];
  /** Lets a reader get, batch-get and query items, in every region that holds a replica. */
  grantRead(grantee: IGrantable, options?: GrantReadOptions): Grant;
  /** Lets a relay read and write in the home region. Replication would let a writer elsewhere undo what home wrote. */
  grantWrite(grantee: IGrantable): Grant;
}

// What the reader and the relay call, and nothing else: no scan, no transaction, no change of the table itself.
const READ = ['dynamodb:BatchGetItem', 'dynamodb:GetItem', 'dynamodb:Query'];
const WRITE = ['dynamodb:DeleteItem', 'dynamodb:PutItem', 'dynamodb:UpdateItem'];

/**
 * The flag table: a DynamoDB global table (asynchronous replication, last writer wins item by item) with the key
 * schema that LaunchDarkly's SDKs expect in daemon mode. It holds flags, not secrets, so AWS's own key encrypts it:
 * a key of ours would stand on the path of every read.
 */
export class FlagTable extends Construct implements IFlagTable {
  readonly tableName: string;
  readonly homeRegion: string;
  readonly replicaRegions: readonly string[];
  readonly table: TableV2;

  /**
   * A table that is there already, such as one that ld-relay has filled, with its replicas. Nothing of it is changed:
   * its key schema has to be LaunchDarkly's (`namespace`, `key`), and a TTL on `expiresAt` is yours to switch on.
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

  /** Throws an Error when the stack's region is not a literal: replicas and edge functions could not tell home from them. */
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
      deletionProtection: retain,
      removalPolicy: retain ? RemovalPolicy.RETAIN : RemovalPolicy.DESTROY,
      replicas: props.replicaRegions.map((region) => ({ region })),
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
  const strange = wanted.filter((region) => region !== table.homeRegion && !table.replicaRegions.includes(region));
  if (strange.length > 0) throw new Error(`flag table ${table.tableName} has no replica in ${strange.join(', ')}`);
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

/** A grant by the table's own attributes would cover the region of its stack only. */
function arn({ tableName }: Reference, region: string): string {
  return `arn:${Aws.PARTITION}:dynamodb:${region}:${Aws.ACCOUNT_ID}:table/${tableName}`;
}
