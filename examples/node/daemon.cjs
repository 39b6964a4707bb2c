const { init } = require('@launchdarkly/node-server-sdk');
const { DynamoDBFeatureStore } = require('@launchdarkly/node-server-sdk-dynamodb');

const client = init(process.env.LD_SDK_KEY ?? 'sdk-local', {
  useLdd: true,
  // The table's region and the credentials come from where the AWS SDK looks for them.
  featureStore: DynamoDBFeatureStore(process.env.FLAG_TABLE ?? 'edge-flag-relay-local', {
    prefix: process.env.FLAG_PREFIX ?? 'local',
  }),
  // Events go to the relay, which sends them to LaunchDarkly.
  eventsUri: process.env.RELAY_URL ?? 'http://127.0.0.1:8030',
});

async function main() {
  await client.waitForInitialization({ timeout: 10 });
  const context = { kind: 'user', key: 'tester' };
  const { value, reason } = await client.variationDetail('canary-checkout', context, 'stable');
  console.log(`canary-checkout: ${value} (${reason.kind})`);
  await client.flush();
  client.close();
}
main();
