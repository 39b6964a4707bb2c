import type { Settings } from './config.ts';
import { startReader } from './reader.ts';

/** Put here when the function is bundled: its configuration as a literal, and CommonJS's `exports`. */
declare const __EDGE_CONFIG__: Settings;
declare const __EDGE_EXPORTS__: Record<string, unknown>;

/** The reader of the baked configuration, reading from the moment that the module is loaded. */
__EDGE_EXPORTS__.reader = startReader(__EDGE_CONFIG__);
