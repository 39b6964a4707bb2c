import type { ViewerResponseConfig } from './config.ts';
import { createViewerResponseHandler } from './viewer-response.ts';

/** Replaced by the bundler: the configuration as a literal, and CommonJS's `exports`. */
declare const __EDGE_CONFIG__: ViewerResponseConfig;
declare const __EDGE_EXPORTS__: Record<string, unknown>;

__EDGE_EXPORTS__.handler = createViewerResponseHandler(__EDGE_CONFIG__);
