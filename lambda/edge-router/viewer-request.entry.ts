import { createReport, type ReaderStatus, type Settings, startReader } from '../edge-reader/index.ts';
import type { ViewerRequestConfig } from './config.ts';
import { createParts } from './parts.ts';
import { createRouter } from './viewer-request.ts';

/** Replaced by the bundler: the configuration as a literal, and CommonJS's `exports`. */
declare const __EDGE_CONFIG__: ViewerRequestConfig & { readonly reader: Settings };
declare const __EDGE_EXPORTS__: Record<string, unknown>;
/** Whether the configuration has rules or attributes. */
declare const __EDGE_PARTS__: boolean;

// At module load, so that connecting and the first read happen while Lambda initialises.
const reader = startReader(__EDGE_CONFIG__.reader);
const { metricsNamespace: namespace, rules = [], flagKey } = __EDGE_CONFIG__;
const flags = [...rules.map((rule) => rule.flagKey), ...(flagKey === undefined ? [] : [flagKey])];
const report = namespace ? createReport({ namespace, flags: [...new Set(flags)] }, reader.status) : undefined;

const parts = __EDGE_PARTS__ ? createParts(__EDGE_CONFIG__) : undefined;
__EDGE_EXPORTS__.handler = createRouter(__EDGE_CONFIG__, parts, reader, report);

/** Not called by CloudFront: lets `npm start` and tests inspect the reader. */
__EDGE_EXPORTS__.status = async (): Promise<ReaderStatus> => {
  await reader.ready();
  return reader.status();
};
