import { DescribeTableCommand, type DynamoDBClient, ResourceNotFoundException } from '@aws-sdk/client-dynamodb';
import { tableSchema } from '../../lib/flag-table/index.ts';
import { describeAwsError } from '../keys/store.ts';
import { accountCheck, bad, type Check, good, type LookedAt, note } from './checks.ts';

/** The flag table in the home region: its existence, keys and replicas are as the stage requires. */
export async function tableChecks(client: DynamoDBClient, looked: LookedAt): Promise<Check[]> {
  const { tableName, homeRegion, table, replicaRegions } = looked;
  try {
    const { Table = {} } = await client.send(new DescribeTableCommand({ TableName: tableName }));
    const account = accountCheck(Table.TableArn, looked.account);
    const there = new Set((Table.Replicas ?? []).map(({ RegionName = '' }) => RegionName));
    const keys = (Table.KeySchema ?? []).map(({ AttributeName, KeyType }) => `${AttributeName} ${KeyType}`).join(', ');
    const wanted = `${tableSchema.partitionKey} HASH, ${tableSchema.sortKey} RANGE`;
    const missing = replicaRegions.filter((region) => !there.has(region));
    const more = [...there].filter((region) => region !== homeRegion && !replicaRegions.includes(region));
    return [
      ...(account?.state === 'bad' ? [account] : []),
      Table.TableStatus === 'ACTIVE'
        ? good(`the table ${tableName} exists in ${homeRegion}`)
        : bad(`the table ${tableName} is ${Table.TableStatus} in ${homeRegion}`, 'wait until it is ACTIVE'),
      ...(keys === wanted
        ? []
        : [
            bad(
              `the table ${tableName} has the keys ${keys}, not ${wanted}`,
              'choose another tableName in the stage file',
            ),
          ]),
      ...missing.map((region) =>
        table === 'new'
          ? note(
              `the table ${tableName} has no replica in ${region} yet`,
              'the deployment adds it; each deployment adds one',
            )
          : bad(
              `the table ${tableName} has no replica in ${region}`,
              'add it where the table is managed, or change replicaRegions',
            ),
      ),
      ...more.map((region) =>
        note(
          `the table ${tableName} has a replica in ${region} that the stage does not name`,
          'a deployment may remove it',
        ),
      ),
    ];
  } catch (error) {
    if (!(error instanceof ResourceNotFoundException)) {
      return [bad(`cannot describe the table ${tableName}`, describeAwsError(error, homeRegion))];
    }
    return table === 'new'
      ? [good(`the table ${tableName} does not exist in ${homeRegion} yet; the deployment creates it`)]
      : [
          bad(
            `the table ${tableName} does not exist in ${homeRegion}`,
            'correct tableName, or let the stage create it (table: new)',
          ),
        ];
  }
}
