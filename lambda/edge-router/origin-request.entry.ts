import type { OriginRequestConfig } from './config.ts';
import { createOriginRequestHandler } from './origin-request.ts';

/** Replaced by the bundler: the configuration as a literal, and CommonJS's `exports`. */
declare const __EDGE_CONFIG__: OriginRequestConfig;
declare const __EDGE_EXPORTS__: Record<string, unknown>;

__EDGE_EXPORTS__.handler = createOriginRequestHandler(__EDGE_CONFIG__);
