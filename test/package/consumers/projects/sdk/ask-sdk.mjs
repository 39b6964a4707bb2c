import { init } from '@launchdarkly/node-server-sdk';

const uri = process.env.RELAY_URI;
const client = init('sdk-shop', { baseUri: uri, streamUri: uri, sendEvents: false });
await client.waitForInitialization({ timeout: 60 });

export async function handler({ questions }) {
  const answers = [];
  for (const { flag, context, fallback } of questions) {
    answers.push(await client.variationDetail(flag, context, fallback));
  }
  client.close();
  return answers;
}
