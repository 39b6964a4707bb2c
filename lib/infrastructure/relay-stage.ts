import { Stack, Stage, Tags } from 'aws-cdk-lib';
import type { Construct } from 'constructs';
import { FlagTable } from './flag-table.ts';
import type { StageSettings } from './stages.ts';

/** One deployment of everything. So far: the flag table's stack, in the home region. */
export class RelayStage extends Stage {
  readonly flagTable: FlagTable;

  constructor(scope: Construct, id: string, settings: StageSettings) {
    super(scope, id, { env: { account: settings.account, region: settings.homeRegion } });
    const tags = { application: 'edge-flag-relay', stage: id };
    const data = new Stack(this, 'Data', {
      stackName: `edge-flag-relay-${id}-data`,
      description: 'edge-flag-relay: the flag table and its replicas',
      terminationProtection: settings.production,
      tags,
    });
    this.flagTable = new FlagTable(data, 'FlagTable', {
      tableName: settings.tableName,
      replicaRegions: settings.replicaRegions,
      retain: settings.production,
    });
    for (const [key, value] of Object.entries(tags)) Tags.of(this).add(key, value);
  }
}
