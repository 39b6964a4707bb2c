/** The edge reader's public API: `createReader(config)`. */
import { parseReaderConfig, type ReaderConfig } from './config.ts';
import { type ReaderHooks, withHooks } from './hooks.ts';
import { type Reader, startReader } from './reader.ts';
import type { Surroundings } from './surroundings.ts';

export type { Detail, FlagsState, Reason } from '../../lib/evaluation/index.ts';
export type { ReaderConfig, Settings } from './config.ts';
export type { ReaderStatus } from './freshness.ts';
export type { Decision, ReaderHooks } from './hooks.ts';
export type { AllFlagsStateOptions, Reader } from './reader.ts';
export { createReport, type Decided, type Report, type ReportOptions, reportUnits } from './report.ts';
export type { Surroundings } from './surroundings.ts';
export { startReader };

/**
 * A reader that starts reading at once. Throws one Error that lists every problem in the config. Edge bundles
 * use `startReader` instead: their config was parsed at build time.
 */
export function createReader(config: ReaderConfig, more: ReaderHooks & Partial<Surroundings> = {}): Reader {
  return withHooks(startReader(parseReaderConfig(config), more), more, more.now);
}
