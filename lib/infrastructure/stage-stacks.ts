import type { Stack, Stage } from 'aws-cdk-lib';
import type { EdgeStack } from './edge-stack.ts';
import type { IFlagTable } from './flag-table.ts';
import type { RegionStack } from './region-stack.ts';
import type { RelayStack } from './relay-stack.ts';
import type { Stage as StageConfig } from './stage.ts';

/** A stage's stacks, except the one that monitors the others. */
export interface StageStacks extends Stage {
  readonly config: StageConfig;
  readonly flagTable: IFlagTable;
  /** The stack of the table; absent when the stage uses an existing one. */
  readonly data?: Stack;
  /** The home region first. */
  readonly relays: readonly RelayStack[];
  readonly edge?: EdgeStack;
  /** By region: home, replicas and other regions with edge logs. */
  readonly regions: ReadonlyMap<string, RegionStack>;
}
