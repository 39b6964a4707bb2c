import { createSender } from './sender.ts';

const { env } = process;

export const handler = createSender({ url: env.RELAY_URL ?? '', serverName: env.RELAY_SERVER_NAME });
