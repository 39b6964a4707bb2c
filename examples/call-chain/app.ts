/**
 * `npx cdk deploy --app 'npx tsx examples/call-chain/app.ts' -c table=edge-flag-relay-dev -c region=eu-west-1 -c prefix=test`: the services in your
 * account, beside a flag table that exists.
 */
import { App } from 'aws-cdk-lib';
import { FlagTable } from '../../lib/infrastructure/flag-table.ts';
import { CallChainStack } from './stack.ts';

const app = new App();
const given = (name: string): string => {
  const value: unknown = app.node.tryGetContext(name);
  if (typeof value !== 'string') throw new Error(`-c ${name}=… is missing: expected table, region and prefix`);
  return value;
};
const region = given('region');
new CallChainStack(app, 'edge-flag-relay-call-chain', {
  env: { region },
  flagTable: FlagTable.fromExisting(given('table'), { homeRegion: region, replicaRegions: [] }),
  prefix: given('prefix'),
});
