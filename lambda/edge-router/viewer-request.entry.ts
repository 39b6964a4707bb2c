import { createReport, type ReaderStatus, type Settings, startReader } from '../edge-reader/index.ts';
import type { ViewerRequestConfig } from './config.ts';
import { createViewerRequestHandler } from './viewer-request.ts';

/** Replaced by the bundler: the configuration as a literal, and CommonJS's `exports`. */
declare const __EDGE_CONFIG__: ViewerRequestConfig & { readonly reader: Settings };
declare const __EDGE_EXPORTS__: Record<string, unknown>;

// At module load, so that connecting and the first read happen while Lambda initialises.
const reader = startReader(__EDGE_CONFIG__.reader);
const { metricsNamespace: namespace, flagKey } = __EDGE_CONFIG__;
const report = namespace ? createReport({ namespace, flags: [flagKey] }, reader.status) : undefined;

__EDGE_EXPORTS__.handler = createViewerRequestHandler(__EDGE_CONFIG__, reader, report);

/** Not called by CloudFront: lets `npm start` and tests inspect the reader. */
__EDGE_EXPORTS__.status = async (): Promise<ReaderStatus> => {
  await reader.ready();
  return reader.status();
};
