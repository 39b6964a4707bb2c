import { createCanaryReader } from './reader.ts';

const { env } = process;

export const handler = createCanaryReader({
  relayUrl: env.RELAY_URL,
  serverName: env.RELAY_SERVER_NAME,
  tableName: env.TABLE_NAME ?? '',
  // The same variable that the AWS SDKs read; unset in Lambda.
  endpoint: env.AWS_ENDPOINT_URL_DYNAMODB,
  replicas: JSON.parse(env.REPLICAS ?? '{"default":[]}'),
});
