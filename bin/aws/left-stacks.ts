/** Stacks of a stage that its file no longer asks for: no deployment deletes them, and a relay in them goes on running. */
import { DescribeTableCommand, type DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { EDGE_EXECUTION_REGIONS, EDGE_REGION } from '../../lib/infrastructure/regions.ts';
import type { Stage } from '../../lib/infrastructure/stages.ts';
import { type Check, inTurns, unknown } from '../checks/check.ts';
import type { Aws } from './ask.ts';
import { explainAwsError } from './explain.ts';
import { stacksIn } from './stacks.ts';

export interface StackPlace {
  readonly stackName: string;
  readonly region: string;
}

export interface LeftStack extends StackPlace {
  /** `CREATE_COMPLETE`, … */
  readonly status: string;
}

/** Undefined while there is nothing to do. */
export function leftAdvice({ status }: LeftStack): string | undefined {
  if (status === 'DELETE_IN_PROGRESS') return undefined;
  return 'put its part back into the stage file, or follow "Taking parts away" in docs/deploying.md';
}

/** A stack of its own for a network was once made, and may still hold it. */
const part = /^(data|edge|edge-functions|observability|(relay|region)(-[a-z]{2}(-[a-z]+)+-\d)?)$/;

/** Whether a stack is one of this stage, and not of another one whose name begins alike. */
export function isStackOf(stage: string, stackName: string): boolean {
  const prefix = `edge-flag-relay-${stage}-`;
  return stackName.startsWith(prefix) && part.test(stackName.slice(prefix.length));
}

/**
 * Looks in all regions of the stage and of its table as it is deployed, and where it may have watched edge functions. `checks`: where that was
 * not possible. The account may be barred from regions of the last kind, and then has no stacks there.
 */
export async function findLeftStacks(
  stage: Stage,
  { aws, dynamoDB }: { readonly aws: Aws; dynamoDB(region: string): DynamoDBClient },
  wanted: readonly StackPlace[],
): Promise<{ readonly left: readonly LeftStack[]; readonly checks: readonly Check[] }> {
  const { homeRegion, replicaRegions } = stage;
  const edge = /^(cn|us-gov)-/.test(homeRegion) ? [] : [EDGE_REGION];
  const replicas = await deployedReplicas(dynamoDB(homeRegion), stage.tableName);
  const regions = new Set([homeRegion, ...replicaRegions, ...edge, ...wanted.map(({ region }) => region), ...replicas]);
  const others = edge.length > 0 ? EDGE_EXECUTION_REGIONS.filter((region) => !regions.has(region)) : [];
  const known = new Set(wanted.map(({ stackName, region }) => `${region} ${stackName}`));
  const left: LeftStack[] = [];
  const look = async (region: string) => {
    for (const { name: stackName, status } of await stacksIn(aws, region)) {
      if (isStackOf(stage.name, stackName) && !known.has(`${region} ${stackName}`)) {
        left.push({ stackName, region, status });
      }
    }
    return [];
  };
  await Promise.all(others.map((region) => look(region).catch(() => [])));
  const checks = await inTurns(regions, look, (region, error) =>
    unknown(
      'stack',
      region,
      `cannot tell whether ${region} has stacks that left the stage`,
      explainAwsError(error, region),
    ),
  );
  return { left: left.sort((a, b) => (a.stackName < b.stackName ? -1 : 1)), checks };
}

async function deployedReplicas(client: DynamoDBClient, TableName: string): Promise<string[]> {
  // The table's own check says why it cannot be described.
  const { Table } = await client.send(new DescribeTableCommand({ TableName })).catch(() => ({ Table: undefined }));
  return (Table?.Replicas ?? []).flatMap(({ RegionName }) => RegionName ?? []);
}
