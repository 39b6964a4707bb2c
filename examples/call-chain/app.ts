/**
 * `npx cdk deploy --app 'npx tsx examples/call-chain/app.ts' -c table=edge-flag-relay-dev -c region=eu-west-1 -c prefix=test`: deploys the services to
 * your account, next to an existing flag table.
 */
import { App } from 'aws-cdk-lib';
import { FlagTable } from 'edge-flag-relay/constructs';
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
