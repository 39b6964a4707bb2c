import type { Settings } from './config.ts';
import { startReader } from './reader.ts';

/** Replaced by the bundler: the configuration as a literal, and CommonJS's `exports`. */
declare const __EDGE_CONFIG__: Settings;
declare const __EDGE_EXPORTS__: Record<string, unknown>;

/** A reader with the bundled configuration. It starts reading when the module is loaded. */
__EDGE_EXPORTS__.reader = startReader(__EDGE_CONFIG__);
