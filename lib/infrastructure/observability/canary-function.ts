import type * as lambda from 'aws-cdk-lib/aws-lambda';
import { Construct } from 'constructs';
import { bundleDirectory } from '../own-bundles.ts';
import { type OwnFunctionProps, ownFunction } from '../own-function.ts';
import type { CanaryEntry } from './canary-bundle.ts';

export interface CanaryFunctionProps extends Omit<OwnFunctionProps, 'functionName' | 'directory'> {
  readonly stage: string;
  /** @default CloudFormation's names */
  readonly functionNamePrefix?: string | undefined;
}

const IDS: Readonly<Record<CanaryEntry, string>> = { caller: 'Caller', reader: 'Reader', edge: 'Edge' };

/** What the names of a stage's checks start with. */
export function canaryPrefix(stage: string): string {
  return `edge-flag-relay-${stage}-canary`;
}

/** A function of the synthetic checks. */
export function canaryFunction(
  parent: Construct,
  kind: CanaryEntry,
  { stage, functionNamePrefix, ...props }: CanaryFunctionProps,
): lambda.Function {
  return ownFunction(new Construct(parent, IDS[kind]), {
    ...props,
    ...(functionNamePrefix !== undefined && { functionName: `${functionNamePrefix}-${kind}` }),
    directory: bundleDirectory(`canary-${kind}`),
    description: `edge-flag-relay: synthetic check of stage ${stage}, ${kind}`,
    retryAttempts: 0,
  });
}
