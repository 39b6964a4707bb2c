import { App, CfnOutput, Stack } from 'aws-cdk-lib';
import { Peer, Vpc } from 'aws-cdk-lib/aws-ec2';
import { Runtime } from 'aws-cdk-lib/aws-lambda';
import { NodejsFunction } from 'aws-cdk-lib/aws-lambda-nodejs';
import { FlagTable, RelayService } from 'edge-flag-relay/constructs';

const app = new App();
// The region is a literal: replicas and the choice of writer depend on it.
const stack = new Stack(app, 'Flags', { env: { region: 'eu-west-1' } });
const vpc = new Vpc(stack, 'Vpc', { maxAzs: 3, natGateways: 1 });

const flagTable = new FlagTable(stack, 'FlagTable', { tableName: 'flags', replicaRegions: ['us-east-1'] });

// It takes the SDK keys of its environments from SSM, under /edge-flag-relay/prod/environments/.
const relay = new RelayService(stack, 'Relay', { stage: 'prod', vpc, flagTable, expectedStreams: 1_000 });
relay.connections.allowDefaultPortFrom(Peer.ipv4(vpc.vpcCidrBlock));

// A function that reads the flags of one environment, without the relay.
const shop = new NodejsFunction(stack, 'Shop', {
  entry: `${import.meta.dirname}/../lambda/handler.ts`,
  runtime: Runtime.NODEJS_24_X,
  environment: { FLAG_TABLE: flagTable.tableName, FLAG_PREFIX: 'production' },
});
flagTable.grantRead(shop, { prefix: 'production' });

new CfnOutput(stack, 'ShopFunction', { value: shop.functionName });
app.synth();
