import type { SSMClient } from '@aws-sdk/client-ssm';
import type { Stage } from '../../lib/infrastructure/stages.ts';
import { withHashTag } from '../../relay-task/common/hash-tag.ts';
import { createDescriptions, type Remarks } from '../../relay-task/environments/ssm-descriptions.ts';
import { createSsmMemory } from '../../relay-task/environments/ssm-memory.ts';
import { createSsmReader } from '../../relay-task/environments/ssm-reader.ts';
import type { EnvironmentDescription } from '../../relay-task/ports.ts';

export interface RelayView {
  readonly descriptions: readonly EnvironmentDescription[];
  readonly remarks: ReadonlyMap<string, Remarks>;
  /** Parameters that the relay ignores. */
  readonly unknown: readonly string[];
  /** Of any parameter. */
  readonly arn: string | undefined;
}

const graceMs = 86_400_000;
const timings = { requestTimeoutMs: 10_000, retryBaseMs: 250, retryCapMs: 5_000, retries: 3, spacingMs: 50 };

/** What a relay that starts now would make of the keys, by the relay's own code. Rejects when SSM cannot be read. */
export async function readAsRelay(
  client: SSMClient,
  path: string,
  { tableName, redis }: Pick<Stage, 'tableName' | 'redis'>,
): Promise<RelayView> {
  const reader = createSsmReader({ client, path, timings });
  const memory = createSsmMemory({ graceMs, settleMs: 0 });
  const listed = await reader.list();
  const decrypted = await reader.decrypt(memory.wanted(listed));
  memory.apply(listed, { decrypted, controls: new Map() }, Date.now());
  const { describe } = createDescriptions({
    ...{ defaults: { tableName }, graceMs, confirmMs: 0 },
    tablesSeparate: redis === undefined,
    ...(isCluster(redis) && { prefixInStores: withHashTag }),
  });
  const { descriptions, remarks } = describe(memory.environments(), { now: Date.now(), partial: false });
  return { descriptions, remarks, unknown: memory.takeUnknown(), arn: listed[0]?.arn };
}

/** ElastiCache Serverless always is one. */
export function isCluster(redis: Stage['redis']): boolean {
  return redis !== undefined && ('serverless' in redis || redis.cluster === true);
}
