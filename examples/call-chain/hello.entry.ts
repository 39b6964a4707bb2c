import { createHello } from './hello.ts';
import { startService } from './settings.ts';

export const handler = createHello({ chain: startService(), worldUrl: process.env.WORLD_URL ?? '' });
