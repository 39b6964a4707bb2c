import type * as lambda from 'aws-cdk-lib/aws-lambda';
import { Construct } from 'constructs';
import { bundledOnce } from '../bundle-cache.ts';
import { type OwnFunctionProps, ownFunction } from '../own-function.ts';
import { buildCanary, type CanaryEntry } from './canary-bundle.ts';

export interface CanaryFunctionProps extends Omit<OwnFunctionProps, 'functionName' | 'directory'> {
  readonly stage: string;
}

const IDS: Readonly<Record<CanaryEntry, string>> = { caller: 'Caller', reader: 'Reader', edge: 'Edge' };

/** A function of the synthetic checks. */
export function canaryFunction(
  parent: Construct,
  kind: CanaryEntry,
  { stage, ...props }: CanaryFunctionProps,
): lambda.Function {
  return ownFunction(new Construct(parent, IDS[kind]), {
    ...props,
    functionName: `edge-flag-relay-${stage}-canary-${kind}`,
    directory: bundledOnce(`canary ${kind}`, (outdir) => buildCanary(kind, outdir)),
    description: `edge-flag-relay: synthetic check of stage ${stage}, ${kind}`,
    retryAttempts: 0,
  });
}
