import { RemovalPolicy } from 'aws-cdk-lib';
import { AttributeType, Billing, ContributorInsightsMode, TableEncryptionV2, TableV2 } from 'aws-cdk-lib/aws-dynamodb';
import { Construct } from 'constructs';
import { tableSchema } from '../flag-table/index.ts';

export interface FlagTableProps {
  /** The same name in every region. */
  readonly tableName: string;
  /** Regions of further replicas, never the stack's own. */
  readonly replicaRegions: readonly string[];
  /** @default true the table outlives its stack and refuses deletion */
  readonly retain?: boolean;
}

/**
 * The flag table: a DynamoDB global table (asynchronous replication, last writer wins item by item) with the key
 * schema that LaunchDarkly's SDKs expect in daemon mode. It holds flags, not secrets, so AWS's own key encrypts it:
 * a key of ours would stand on the path of every read.
 */
export class FlagTable extends Construct {
  readonly table: TableV2;

  constructor(scope: Construct, id: string, props: FlagTableProps) {
    super(scope, id);
    const retain = props.retain ?? true;
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
}
