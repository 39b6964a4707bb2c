import { Aws, Stack, Token } from 'aws-cdk-lib';
import {
  AttributeType,
  Billing,
  ContributorInsightsMode,
  type ITable,
  StreamViewType,
  TableEncryptionV2,
  TableV2,
} from 'aws-cdk-lib/aws-dynamodb';
import { Grant, type IGrantable } from 'aws-cdk-lib/aws-iam';
import { Key } from 'aws-cdk-lib/aws-kms';
import { Construct } from 'constructs';
import { tableSchema } from '../flag-table/index.ts';
import type { KeysByRegion } from './customer-keys.ts';
import { literalRegion } from './literal-region.ts';
import { setRetained } from './retained.ts';

export interface FlagTableProps {
  /** A literal, the same in every region: readers and grants in other regions know the table by it. */
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
  /** The ARNs of KMS keys that encrypt the table, for the stack's region and each replica's. @default a key that AWS owns */
  readonly encryptionKeys?: KeysByRegion | undefined;
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
 * schema that LaunchDarkly's SDKs expect in daemon mode. It contains flags, not secrets, so unless it is given keys of yours it is encrypted
 * with an AWS owned key: a customer managed key is needed for every read.
 */
export class FlagTable extends Construct implements IFlagTable {
  readonly tableName: string;
  readonly homeRegion: string;
  readonly replicaRegions: readonly string[];
  readonly encryptionKeys?: KeysByRegion;
  readonly table: TableV2;

  /**
   * An existing table, such as one that ld-relay fills, with its replicas. It is not changed: its key schema must be
   * LaunchDarkly's (`namespace`, `key`), and you enable the TTL on `expiresAt` yourself.
   */
  static fromExisting(
    tableName: string,
    {
      homeRegion,
      replicaRegions,
      encryptionKeys,
    }: {
      readonly homeRegion: string;
      readonly replicaRegions: readonly string[];
      /** The ARNs of the KMS keys that it is encrypted with, by region. @default a key that AWS owns or manages */
      readonly encryptionKeys?: KeysByRegion;
    },
  ): IFlagTable {
    const reference = { tableName, homeRegion, replicaRegions, encryptionKeys };
    return {
      ...reference,
      grantRead: (grantee, options) => grantRead(reference, grantee, options),
      grantWrite: (grantee) => grantWrite(reference, grantee),
    };
  }

  /**
   * A table of the CDK's, of this app or imported, with LaunchDarkly's key schema. Its name must be a literal for edge functions and for
   * stacks in other regions.
   */
  static fromTable(
    table: ITable,
    {
      homeRegion = table.env.region,
      replicaRegions = [],
    }: { readonly homeRegion?: string; readonly replicaRegions?: readonly string[] } = {},
  ): IFlagTable {
    if (Token.isUnresolved(homeRegion)) {
      throw new Error(`${table.node.path}: its region is unknown: give homeRegion, or its stack an env.region`);
    }
    const reference = { tableName: table.tableName, homeRegion, replicaRegions, account: table.env.account };
    const { encryptionKey } = table;
    return {
      ...reference,
      grantRead: (grantee, options) => {
        encryptionKey?.grantDecrypt(grantee);
        return grantRead(reference, grantee, options);
      },
      grantWrite: (grantee) => {
        encryptionKey?.grantEncryptDecrypt(grantee);
        return grantWrite(reference, grantee);
      },
    };
  }

  /** Throws an Error if the stack's region is not a literal: replicas, edge functions and the choice of writer depend on it. */
  constructor(scope: Construct, id: string, props: FlagTableProps) {
    super(scope, id);
    this.tableName = props.tableName;
    this.homeRegion = literalRegion(this, 'a flag table');
    this.replicaRegions = props.replicaRegions;
    if (props.encryptionKeys) this.encryptionKeys = props.encryptionKeys;
    this.table = new TableV2(this, 'Table', {
      tableName: props.tableName,
      partitionKey: { name: tableSchema.partitionKey, type: AttributeType.STRING },
      sortKey: { name: tableSchema.sortKey, type: AttributeType.STRING },
      timeToLiveAttribute: tableSchema.timeToLive,
      billing: Billing.onDemand(),
      encryption: this.encryption(),
      // Replicas need a stream. It stays without them: DynamoDB refuses to switch one off in the update that takes the last replica away,
      // and a stream that nobody reads costs nothing.
      dynamoStream: StreamViewType.NEW_AND_OLD_IMAGES,
      pointInTimeRecoverySpecification: { pointInTimeRecoveryEnabled: true },
      contributorInsightsSpecification: { enabled: true, mode: ContributorInsightsMode.THROTTLED_KEYS },
      deletionProtection: props.deletionProtection ?? false,
      replicas: props.replicaRegions.map((region) => ({ region, deletionProtection: false })),
    });
    setRetained(this.table, props.retain ?? true);
  }

  /** Throws an Error if a region has no key. */
  private encryption(): TableEncryptionV2 {
    if (!this.encryptionKeys) return TableEncryptionV2.dynamoOwnedKey();
    const keyIn = (region: string) => {
      const key = this.encryptionKeys?.[region];
      if (key === undefined) throw new Error(`encryptionKeys has no key for ${region}`);
      return key;
    };
    return TableEncryptionV2.customerManagedKey(
      Key.fromKeyArn(this, 'Key', keyIn(this.homeRegion)),
      Object.fromEntries(this.replicaRegions.map((region) => [region, keyIn(region)])),
    );
  }

  grantRead(grantee: IGrantable, options?: GrantReadOptions): Grant {
    return grantRead(this.reference, grantee, options);
  }

  grantWrite(grantee: IGrantable): Grant {
    return grantWrite(this.reference, grantee);
  }

  private get reference(): Reference {
    const { tableName, homeRegion, replicaRegions, encryptionKeys } = this;
    return { tableName, homeRegion, replicaRegions, encryptionKeys, account: this.table.env.account };
  }
}

type Reference = Pick<IFlagTable, 'tableName' | 'homeRegion' | 'replicaRegions'> & {
  /** @default that of the stack in which it is used */
  readonly account?: string | undefined;
  readonly encryptionKeys?: KeysByRegion | undefined;
};

/** DynamoDB uses a customer managed key on behalf of who reads or writes. AWS: "DynamoDB encryption at rest: usage notes", key policies. */
const KEY_READ = ['kms:Decrypt', 'kms:DescribeKey'];
const KEY_WRITE = [
  'kms:Encrypt',
  'kms:GenerateDataKey',
  'kms:GenerateDataKeyWithoutPlaintext',
  'kms:ReEncryptFrom',
  'kms:ReEncryptTo',
];

/** Allows the use of the keys of these regions, through DynamoDB alone. */
function withKeys(
  grant: Grant,
  { encryptionKeys = {} }: Reference,
  grantee: IGrantable,
  regions: readonly string[],
  actions: string[],
): Grant {
  const keyed = regions.flatMap((region) => {
    const key = encryptionKeys[region];
    if (key === undefined) return [];
    const through = `dynamodb.${region}.${Aws.URL_SUFFIX}`;
    return [
      Grant.addToPrincipal({
        grantee,
        actions,
        resourceArns: [key],
        conditions: { StringEquals: { 'kms:ViaService': through } },
      }),
    ];
  });
  return keyed.reduce((all, one) => all.combine(one), grant);
}

/**
 * Throws an Error for a principal of another account: it would get a permission on a table of that account, or none. DynamoDB lets others in by
 * a policy of each replica, and its readers would have to name the table by its ARN.
 */
function checkAccount({ tableName, account }: Reference, grantee: IGrantable): void {
  const { grantPrincipal } = grantee;
  const scope = [grantPrincipal, grantee].find((one) => Construct.isConstruct(one));
  const here = account ?? (scope && Stack.of(scope).account);
  const accounts = [
    grantPrincipal.principalAccount,
    account === undefined || !scope ? undefined : Stack.of(scope).account,
  ];
  const other = accounts.find((one) => isLiteral(one) && isLiteral(here) && one !== here);
  if (other === undefined) return;
  const who = scope ? scope.node.path : String(grantPrincipal);
  throw new Error(`${who} is of account ${other}, flag table ${tableName} of ${here}: only its own account may use it`);
}

function isLiteral(account: string | undefined): account is string {
  return account !== undefined && !Token.isUnresolved(account);
}

function grantRead(table: Reference, grantee: IGrantable, { regions, prefix }: GrantReadOptions = {}): Grant {
  checkAccount(table, grantee);
  const wanted = regions ?? [table.homeRegion, ...table.replicaRegions];
  const unknown = wanted.filter((region) => region !== table.homeRegion && !table.replicaRegions.includes(region));
  if (unknown.length > 0) throw new Error(`flag table ${table.tableName} has no replica in ${unknown.join(', ')}`);
  const grant = Grant.addToPrincipal({
    grantee,
    actions: READ,
    resourceArns: wanted.map((region) => arn(table, region)),
    conditions: prefix ? { 'ForAllValues:StringLike': { 'dynamodb:LeadingKeys': [`${prefix}:*`] } } : undefined,
  });
  return withKeys(grant, table, grantee, wanted, KEY_READ);
}

function grantWrite(table: Reference, grantee: IGrantable): Grant {
  checkAccount(table, grantee);
  const grant = Grant.addToPrincipal({
    grantee,
    actions: [...READ, ...WRITE],
    resourceArns: [arn(table, table.homeRegion)],
  });
  return withKeys(grant, table, grantee, [table.homeRegion], [...KEY_READ, ...KEY_WRITE]);
}

/** The table's own ARN attribute covers only the region of its stack. */
function arn({ tableName }: Reference, region: string): string {
  return `arn:${Aws.PARTITION}:dynamodb:${region}:${Aws.ACCOUNT_ID}:table/${tableName}`;
}
