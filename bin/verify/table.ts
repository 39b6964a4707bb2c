import {
  DescribeTableCommand,
  type DynamoDBClient,
  GetItemCommand,
  ResourceNotFoundException,
} from '@aws-sdk/client-dynamodb';
import { GetParametersCommand, type SSMClient } from '@aws-sdk/client-ssm';
import { commandText } from '../../lib/command-text.ts';
import { type Attributes, decodeHead, initedKey, namespaces, tableSchema } from '../../lib/flag-table/index.ts';
import type { Stage } from '../../lib/infrastructure/stages.ts';
import { environmentsPath } from '../../relay-task/environments/ssm-parameters.ts';
import { explainAwsError } from '../aws/explain.ts';
import { bad, type Check, good, inTurns, note, unknown } from '../checks/check.ts';

/** docs/flag-table.md: readers call a snapshot stale when the writer has not confirmed it for this long. */
const STALE_MS = 5 * 60_000;

export interface TableAccess {
  readonly dynamoDB: (region: string) => DynamoDBClient;
  readonly ssm: (region: string) => SSMClient;
}

/** The table and its replicas are active. */
export async function tableChecks(stage: Stage, { dynamoDB }: TableAccess): Promise<Check[]> {
  const { tableName, homeRegion, replicaRegions } = stage;
  return inTurns(
    [homeRegion],
    async () => {
      const { Table = {} } = await dynamoDB(homeRegion).send(new DescribeTableCommand({ TableName: tableName }));
      const states = new Map<string | undefined, string>(
        (Table.Replicas ?? []).map((one) => [one.RegionName, one.ReplicaStatus ?? 'ACTIVE']),
      );
      states.set(homeRegion, Table.TableStatus ?? 'unknown');
      return [homeRegion, ...replicaRegions].map((region) => {
        const state = states.get(region);
        return state === 'ACTIVE'
          ? good('table', region, `${tableName} is ACTIVE`)
          : bad(
              'table',
              region,
              `${tableName} ${state === undefined ? 'has no replica here' : `is ${state}`}`,
              'wait for it with --wait 10; then look at the table in DynamoDB',
            );
      });
    },
    (region, error) =>
      error instanceof ResourceNotFoundException
        ? bad('table', region, `${tableName} does not exist`, commandText('preflight', stage.name))
        : unknown('table', region, `${tableName} cannot be described`, explainAwsError(error, region)),
  );
}

/** Every environment's flags have arrived in every region, and are confirmed as current. */
export async function flagChecks(stage: Stage, access: TableAccess, now = Date.now()): Promise<Check[]> {
  const { homeRegion, replicaRegions, environments } = stage;
  if (environments.length === 0)
    return [note('flags', homeRegion, 'not checked, since the stage names no environments')];
  const prefixes = new Map(environments.map((name) => [name, name]));
  const checks: Check[] = [];
  try {
    for (const [name, prefix] of await prefixesOf(stage, access.ssm(homeRegion))) prefixes.set(name, prefix);
  } catch (error) {
    checks.push(
      unknown('flags', homeRegion, 'cannot read the environments’ prefixes', explainAwsError(error, homeRegion)),
    );
  }
  const places = [homeRegion, ...replicaRegions].flatMap((region) =>
    [...prefixes].map(([name, prefix]) => ({ region, name, prefix })),
  );
  const found = await inTurns(
    places,
    async ({ region, name, prefix }) => [
      await flagCheck(access.dynamoDB(region), stage.tableName, { region, name, prefix }, now),
    ],
    ({ region, name }, error) =>
      error instanceof ResourceNotFoundException
        ? bad('flags', region, `${name}: there is no table here`)
        : unknown('flags', region, `${name}: cannot be read`, explainAwsError(error, region)),
  );
  return [...checks, ...found];
}

/** The prefixes that were set; an environment without one has its name. */
async function prefixesOf({ name, environments }: Stage, ssm: SSMClient): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  const path: string = environmentsPath(name);
  const names = environments.map((one) => [`${path}/${one}/prefix`, one] as [string, string]);
  // GetParameters takes ten names.
  for (let start = 0; start < names.length; start += 10) {
    const some = new Map(names.slice(start, start + 10));
    const { Parameters = [] } = await ssm.send(new GetParametersCommand({ Names: [...some.keys()] }));
    for (const { Name = '', Value } of Parameters) {
      const environment = some.get(Name);
      if (environment !== undefined && Value !== undefined) found.set(environment, Value);
    }
  }
  return found;
}

interface Place {
  readonly region: string;
  readonly name: string;
  readonly prefix: string;
}

async function flagCheck(
  client: DynamoDBClient,
  TableName: string,
  { region, name, prefix }: Place,
  now: number,
): Promise<Check> {
  const get = async (namespace: string, key: string): Promise<Attributes | undefined> => {
    const Key = { [tableSchema.partitionKey]: { S: namespace }, [tableSchema.sortKey]: { S: key } };
    return (await client.send(new GetItemCommand({ TableName, Key }))).Item as Attributes | undefined;
  };
  const marker = initedKey(prefix);
  const [inited, item] = await Promise.all([
    get(marker.namespace, marker.key),
    get(namespaces(prefix).snapshot, 'head'),
  ]);
  const advice = commandText('store', `show --table ${TableName} --prefix ${prefix} --region ${region}`);
  if (!inited) return bad('flags', region, `${name}: the flags have not arrived (prefix ${prefix})`, advice);
  const head = item && decodeHead(item);
  if (head === undefined || 'problem' in head) {
    return bad(
      'flags',
      region,
      `${name}: the snapshot is ${head === undefined ? 'missing' : `unreadable: ${head.problem}`}`,
      advice,
    );
  }
  const age = `${Math.max(0, Math.round((now - head.checkedAt) / 1_000))} s ago`;
  if (now - head.checkedAt > STALE_MS) return bad('flags', region, `${name}: last confirmed ${age}`, advice);
  if (head.owner === '') return bad('flags', region, `${name}: confirmed ${age}, and no relay writes now`, advice);
  return good('flags', region, `${name}: confirmed ${age}`);
}
