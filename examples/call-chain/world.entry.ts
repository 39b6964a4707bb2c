import { startService } from './settings.ts';
import { createWorld, versions } from './world.ts';

export const handler = createWorld({ chain: startService(), versions });
