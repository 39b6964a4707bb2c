import { AspectPriority, Aspects, type IAspect, Stack, type Stage } from 'aws-cdk-lib';
import { CfnLogGroup } from 'aws-cdk-lib/aws-logs';
import { CfnTopic } from 'aws-cdk-lib/aws-sns';
import type { IConstruct } from 'constructs';

/** ARNs of KMS keys, by region: a key cannot leave its region. */
export type KeysByRegion = Readonly<Record<string, string>>;

/**
 * Encrypts every log group and topic of a stage with the key of its region. The table, whose replicas have a key each, the cache, the logs of
 * edge functions and readers of SSM parameters get theirs where they are made. What cannot have one: the bucket of access logs, since load
 * balancers write only to buckets with Amazon S3's own keys.
 */
export function useCustomerKeys(stage: Stage, keys: KeysByRegion): void {
  Aspects.of(stage).add(new CustomerKeys(keys), { priority: AspectPriority.MUTATING });
}

class CustomerKeys implements IAspect {
  private readonly keys: KeysByRegion;

  constructor(keys: KeysByRegion) {
    this.keys = keys;
  }

  visit(node: IConstruct): void {
    if (!(node instanceof CfnLogGroup || node instanceof CfnTopic)) return;
    const key = this.keys[Stack.of(node).region];
    if (key === undefined) return;
    if (node instanceof CfnLogGroup) node.kmsKeyId = key;
    else node.kmsMasterKeyId = key;
  }
}
