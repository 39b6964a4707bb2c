import type { Stage } from '../../lib/infrastructure/stages.ts';
import type { StackTemplate } from '../../lib/infrastructure/template.ts';
import type { Aws } from '../aws/ask.ts';
import type { DeployedStack } from '../aws/stacks.ts';

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
}

export function ownedName(region: string, type: string, id: string): string {
  return `${region} ${type} ${id}`;
}
