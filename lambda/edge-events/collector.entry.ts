import { createCollector } from './collector.ts';

const { env } = process;

export const handler = createCollector({
  region: env.HOME_REGION ?? '',
  parameters: env.PARAMETERS ?? '',
  senderName: env.SENDER_NAME ?? '',
  env,
});
