import { fileURLToPath } from 'node:url';
import { App, Stack } from 'aws-cdk-lib';
import { EdgeFlagFunction, FlagTable, nearestReplicas } from 'edge-flag-relay/constructs';

const app = new App();
const stack = new Stack(app, 'Site', { env: { region: 'us-east-1' } });
const flagTable = new FlagTable(stack, 'FlagTable', { tableName: 'flags', replicaRegions: ['eu-west-1'] });
new EdgeFlagFunction(stack, 'Checkout', {
  functionName: 'shop-checkout',
  code: {
    entryFile: fileURLToPath(new URL('checkout.js', import.meta.url)),
    eventType: 'origin-request',
    config: {
      reader: {
        tableName: 'flags',
        prefix: 'production',
        replicas: nearestReplicas('us-east-1', ['eu-west-1']),
        // The test's machine may be slow.
        coldDeadlineMs: 30_000,
        // Without it, the region's own DynamoDB is asked.
        endpoint: process.env.FLAGS_ENDPOINT,
      },
    },
  },
  flagTable,
  prefix: 'production',
});
app.synth();
