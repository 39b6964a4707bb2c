import {
  createExposures,
  createHeartbeats,
  createReport,
  type Reader,
  type ReaderStatus,
  type Report,
  type Settings,
  startReader,
  withBootstrap,
} from '../edge-reader/index.ts';
import { flagKeysOf, type ViewerRequestConfig } from './config.ts';
import { createShownExposures } from './exposure-rules.ts';
import { createParts } from './parts.ts';
import { createHandlerForTesters } from './testers.ts';
import { createRouter, type ViewerRequestOptions } from './viewer-request.ts';

/** Replaced by the bundler: the configuration as a literal, and CommonJS's `exports`. */
declare const __EDGE_CONFIG__: ViewerRequestConfig & { readonly reader: Settings };
declare const __EDGE_EXPORTS__: Record<string, unknown>;
/** Whether the configuration has rules or attributes. */
declare const __EDGE_PARTS__: boolean;
/** Whether there is a bootstrap, and its JSON: text, so that it costs nothing until it is needed. */
declare const __EDGE_HAS_BOOTSTRAP__: boolean;
declare const __EDGE_BOOTSTRAP__: string;
/** Whether the configuration has previews or shadow traffic. */
declare const __EDGE_TESTERS__: boolean;
/** Whether the configuration has exposures: a literal, so that a bundle without them has no code for them. */
declare const __EDGE_EXPOSURES__: boolean;
/** Whether the configuration has a heartbeat flag and metrics. */
declare const __EDGE_HEARTBEAT__: boolean;

// At module load, so that connecting and the first read happen while Lambda initialises.
const heartbeats = __EDGE_HEARTBEAT__
  ? createHeartbeats({
      flagKey: __EDGE_CONFIG__.heartbeatFlag as string,
      refreshMs: __EDGE_CONFIG__.reader.refreshMs,
      status: () => started.status(),
    })
  : undefined;
const started = startReader(__EDGE_CONFIG__.reader, heartbeats);
const exposures = __EDGE_EXPOSURES__
  ? createShownExposures(createExposures(__EDGE_CONFIG__.exposures).evaluated)
  : undefined;
// Answers of the bootstrap do not count.
const table: Reader = exposures ? started.observed(exposures.observe) : started;
const reader = __EDGE_HAS_BOOTSTRAP__ ? withBootstrap(table, () => JSON.parse(__EDGE_BOOTSTRAP__)) : table;
const { metricsNamespace: namespace } = __EDGE_CONFIG__;
const report = namespace
  ? createReport({ namespace, flags: flagKeysOf(__EDGE_CONFIG__) }, reader.status, heartbeats)
  : undefined;

const parts = __EDGE_PARTS__ ? createParts(__EDGE_CONFIG__) : undefined;
const make = (counted: Pick<Report, 'decided'> | undefined, options: ViewerRequestOptions) =>
  createRouter(__EDGE_CONFIG__, parts, reader, counted, { ...options, exposures });
__EDGE_EXPORTS__.handler = __EDGE_TESTERS__ ? createHandlerForTesters(__EDGE_CONFIG__, report, make) : make(report, {});

/** Not called by CloudFront: lets `npm start` and tests inspect the reader. */
__EDGE_EXPORTS__.status = async (): Promise<ReaderStatus> => {
  await reader.ready();
  return reader.status();
};
