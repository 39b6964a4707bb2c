/** The edge reader's public API: `createReader(config)`. */
import { createChanges } from './changes.ts';
import { parseReaderConfig, type ReaderConfig } from './config.ts';
import type { Exposures } from './exposures.ts';
import { type HeldFlags, withBootstrap, withOverrides } from './held-flags.ts';
import { type ReaderHooks, withHooks } from './hooks.ts';
import { beginRequest } from './pattern.ts';
import { startReader, type WatchedReader } from './reader.ts';
import type { Surroundings } from './surroundings.ts';

export type { Detail, FlagsState, Reason } from '../../lib/evaluation/index.ts';
export { type Changes, createChanges } from './changes.ts';
export type { ReaderConfig, Settings } from './config.ts';
export type { ContextAttributes, EvaluationContext, LegacyUser, MultiContext, SingleContext } from './context.ts';
export { createExposures, type Exposures, type ExposuresOptions } from './exposures.ts';
export { EXPOSURES_MARK } from './exposures-line.ts';
export type { Data, OnData, ReaderStatus } from './freshness.ts';
export { createHeartbeats, type Heartbeats, type HeartbeatsOptions } from './heartbeats.ts';
export {
  createOfflineReader,
  type HeldFlags,
  jsonForHtml,
  secureModeHash,
  withBootstrap,
  withOverrides,
} from './held-flags.ts';
export type { Decision, ReaderHooks } from './hooks.ts';
export type {
  AllFlagsStateOptions,
  Observation,
  Observe,
  Reader,
  StartedReader,
  StartOptions,
  WatchedReader,
} from './reader.ts';
export {
  createReport,
  type Decided,
  type Report,
  type ReportOptions,
  type ReportOutput,
  reportUnits,
} from './report.ts';
export type { Logger } from './state-log.ts';
export type { Surroundings } from './surroundings.ts';
export { beginRequest, parseReaderConfig, startReader };

/** `now`, `random` and `env` are for tests. */
export interface ReaderOptions extends ReaderHooks, Partial<Surroundings> {
  /** Flags with the values that they always have, for tests. */
  readonly overrides?: Readonly<Record<string, unknown>> | undefined;
  /** Flags to answer from until the table has been read. */
  readonly bootstrap?: HeldFlags | undefined;
  /** Reports evaluations to LaunchDarkly: `createExposures()`. Answers of `overrides` and `bootstrap` are not reported. */
  readonly exposures?: Pick<Exposures, 'evaluated'> | undefined;
}

/**
 * A reader that starts reading at once. Throws one Error that lists every problem in the config. Edge bundles
 * use `startReader` instead: their config was parsed at build time.
 */
export function createReader(config: ReaderConfig, more: ReaderOptions = {}): WatchedReader {
  const { overrides, bootstrap, exposures, onDecision, onChange, logger, now, ...others } = more;
  const unknown = Object.keys(others).filter((name) => !['random', 'env'].includes(name));
  const known = 'overrides, bootstrap, exposures, onDecision, onChange, logger';
  if (unknown.length > 0) throw new Error(`edge reader: ${unknown.join(', ')} is not an option: expected ${known}`);
  const lacking = LEVELS.filter((level) => logger && typeof logger[level] !== 'function');
  if (lacking.length > 0) throw new Error(`edge reader: logger lacks ${lacking.join(', ')}`);
  if (exposures && typeof exposures.evaluated !== 'function')
    throw new Error('edge reader: exposures lacks evaluated: expected createExposures()');
  const { onData, ...changes } = createChanges();
  const started = startReader(parseReaderConfig(config), { ...more, onData });
  let reader: WatchedReader = { ...(exposures ? started.observed(exposures.evaluated) : started), ...changes };
  if (bootstrap) reader = withBootstrap(reader, bootstrap);
  if (overrides) reader = withOverrides(reader, overrides);
  return withHooks(reader, { ...(onDecision && { onDecision }), ...(onChange && { onChange }), logger }, now);
}

const LEVELS = ['error', 'warn', 'info', 'debug'] as const;
