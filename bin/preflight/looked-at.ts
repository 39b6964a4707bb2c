import type { Stage } from '../../lib/infrastructure/stages.ts';
import type { StackTemplate } from '../../lib/infrastructure/template.ts';
import type { Aws } from '../aws/ask.ts';
import type { DeployedStack, StackResource } from '../aws/stacks.ts';
import { type Check, unknown } from '../checks/check.ts';

/** What preflight looks at: a stage, what a deployment would make of it, and what there is. */
export interface LookedAt {
  readonly stage: Stage;
  readonly aws: Aws;
  /** Its stacks as the next deployment would make them, in that order. Empty if synthesis failed, which is reported. */
  readonly wanted: readonly StackTemplate[];
  /** By name, those that exist; what could not be described is left out. */
  readonly deployed: ReadonlyMap<string, DeployedStack>;
  /** What the stage's stacks have made: `eu-west-1 AWS::Lambda::Function edge-flag-relay-prod-viewer-request`. */
  readonly owned: ReadonlySet<string>;
  /** The same by the names of the stacks. */
  readonly resources: ReadonlyMap<string, readonly StackResource[]>;
  /** Regions with stacks whose resources could not be listed, or all: what seems to have no owner there may be theirs. */
  readonly unseen: ReadonlySet<string> | 'all';
}

/** Whether what `owned` lacks may still belong to the stage: advice must not be to delete it then. */
export function mayOwn({ unseen }: Pick<LookedAt, 'unseen'>, ...regions: readonly string[]): boolean {
  return unseen === 'all' || regions.some((region) => unseen.has(region));
}

/** In place of a problem. `what`: that something exists. */
export function ownerUnknown(name: string, value: string, what: string): Check {
  const advice = 'leave it alone until preflight can describe all stacks of the stage';
  return unknown(name, value, `${what}, and it is not known whether a stack of the stage owns it`, advice);
}

export function ownedName(region: string, type: string, id: string): string {
  return `${region} ${type} ${id}`;
}
