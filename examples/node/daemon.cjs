const { init } = require('@launchdarkly/node-server-sdk');
const { DynamoDBFeatureStore } = require('@launchdarkly/node-server-sdk-dynamodb');

const relay = process.env.RELAY_URL ?? 'http://127.0.0.1:8030';
const client = init(process.env.LD_SDK_KEY ?? 'sdk-local', {
  useLdd: true,
  // The table's region and the credentials come from where the AWS SDK looks for them.
  featureStore: DynamoDBFeatureStore(process.env.FLAG_TABLE ?? 'edge-flag-relay-local', {
    prefix: process.env.FLAG_PREFIX ?? 'local',
  }),
  // For events, which the relay sends to LaunchDarkly. The SDK warns if one of the three is missing.
  streamUri: relay,
  baseUri: relay,
  eventsUri: relay,
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
