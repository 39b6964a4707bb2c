import { createCaller } from './caller.ts';

const { env } = process;

export const handler = createCaller({
  region: env.AWS_REGION ?? '',
  parameters: env.PARAMETERS ?? '',
  readerName: env.READER_NAME ?? '',
  namespace: env.METRICS_NAMESPACE ?? '',
  env,
});
