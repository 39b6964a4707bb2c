import {
  DescribeTableCommand,
  type DynamoDBClient,
  ResourceNotFoundException,
  type TableDescription,
} from '@aws-sdk/client-dynamodb';
import { tableSchema } from '../../lib/flag-table/index.ts';
import { NotAnAnswer } from '../aws/ask.ts';
import { explainAwsError } from '../aws/explain.ts';
import { ownerOf } from '../aws/stacks.ts';
import { bad, type Check, good, inTurns, note, unknown } from '../checks/check.ts';
import { type LookedAt, mayOwn, ownedName, ownerUnknown } from './looked-at.ts';

/** The flag table: a deployment can create it, or its existence, keys and replicas are as the stage requires. */
export async function tableChecks(clientOf: (region: string) => DynamoDBClient, looked: LookedAt): Promise<Check[]> {
  const { tableName, homeRegion, replicaRegions, table } = looked.stage;
  return inTurns(
    [homeRegion],
    async () => {
      const there = await describeTable(clientOf(homeRegion), tableName);
      if (there) return existingChecks(there, looked);
      if (table === 'new') {
        const alone = await lonelyChecks(clientOf, tableName, replicaRegions);
        const what = `the table ${tableName} does not exist in ${homeRegion} yet; the deployment creates it`;
        return alone.length > 0 ? alone : [good('table', tableName, what)];
      }
      const advice = 'correct tableName, or let the stage create it (table: new)';
      return [bad('table', tableName, `the table ${tableName} does not exist in ${homeRegion}`, advice)];
    },
    (region, error) =>
      unknown('table', tableName, `cannot describe the table ${tableName}`, explainAwsError(error, region)),
  );
}

async function describeTable(client: DynamoDBClient, tableName: string): Promise<TableDescription | undefined> {
  try {
    const { Table } = await client.send(new DescribeTableCommand({ TableName: tableName }));
    if (Table === undefined) throw new NotAnAnswer('dynamodb', 'no table');
    return Table;
  } catch (error) {
    if (error instanceof ResourceNotFoundException) return undefined;
    throw error;
  }
}

async function existingChecks(there: TableDescription, looked: LookedAt): Promise<Check[]> {
  const { stage, owned } = looked;
  const { tableName, homeRegion, replicaRegions, table } = stage;
  const replicas = new Set((there.Replicas ?? []).map(({ RegionName = '' }) => RegionName));
  const keys = (there.KeySchema ?? []).map(({ AttributeName, KeyType }) => `${AttributeName} ${KeyType}`).join(', ');
  const wanted = `${tableSchema.partitionKey} HASH, ${tableSchema.sortKey} RANGE`;
  const missing = replicaRegions.filter((region) => !replicas.has(region));
  const more = [...replicas].filter((region) => region !== homeRegion && !replicaRegions.includes(region));
  const found: Check[] = [];
  if (there.TableStatus !== 'ACTIVE') {
    found.push(
      bad(
        'table',
        tableName,
        `the table ${tableName} is ${there.TableStatus} in ${homeRegion}`,
        'wait until it is ACTIVE',
      ),
    );
  }
  if (keys !== wanted) {
    const advice = 'choose another tableName in the stage file';
    found.push(bad('table', tableName, `the table ${tableName} has the keys ${keys}, not ${wanted}`, advice));
  }
  if (table === 'new' && !owned.has(ownedName(homeRegion, 'AWS::DynamoDB::GlobalTable', tableName))) {
    const what = `the table ${tableName} exists in ${homeRegion}`;
    found.push(mayOwn(looked, homeRegion) ? ownerUnknown('table', tableName, what) : await takenCheck(looked, what));
  }
  for (const region of missing) {
    found.push(
      table === 'new'
        ? note(
            'table',
            region,
            `the table ${tableName} has no replica in ${region} yet`,
            'the deployment adds it; each deployment adds one',
          )
        : bad(
            'table',
            region,
            `the table ${tableName} has no replica in ${region}`,
            'add it where the table is managed, or change replicaRegions',
          ),
    );
  }
  for (const region of more) {
    const what = `the table ${tableName} has a replica in ${region} that the stage does not name`;
    found.push(note('table', region, what, 'a deployment may remove it'));
  }
  return found.some(({ state }) => state === 'bad' || state === 'unknown')
    ? found
    : [good('table', tableName, `the table ${tableName} exists in ${homeRegion}`), ...found];
}

async function takenCheck({ stage: { tableName, homeRegion }, aws }: LookedAt, what: string): Promise<Check> {
  const keep = `to keep it, set table: 'existing' in the stage file`;
  const why = 'the deployment cannot create it';
  // The advice is never to delete a table whose owner is unknown.
  const owner = await ownerOf(aws, homeRegion, tableName).catch((error) => explainAwsError(error, homeRegion));
  return owner === undefined
    ? bad(
        'table',
        tableName,
        `${what}, and no stack of the stage owns it: ${why}`,
        `${keep}; or delete it with its replicas (deletion protection first)`,
      )
    : bad('table', tableName, `${what}, and another stack owns it, or may own it (${owner}): ${why}`, keep);
}

/** A table of the same name where a replica is to be. */
function lonelyChecks(
  clientOf: (region: string) => DynamoDBClient,
  tableName: string,
  regions: readonly string[],
): Promise<Check[]> {
  return inTurns(
    regions,
    async (region) =>
      (await describeTable(clientOf(region), tableName))
        ? [
            bad(
              'table',
              region,
              `the table ${tableName} exists in ${region}, but not at home: no replica can be created there`,
              'choose another tableName; delete that table only if nothing uses it',
            ),
          ]
        : [],
    (region, error) =>
      unknown(
        'table',
        region,
        `cannot tell whether the table ${tableName} exists in ${region}`,
        explainAwsError(error, region),
      ),
  );
}
