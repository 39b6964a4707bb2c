/** Flags at the edge, in one import: `createReader(config)`. */
import { parseReaderConfig, type ReaderConfig } from './config.ts';
import { type Reader, startReader } from './reader.ts';
import type { Surroundings } from './surroundings.ts';

export type { Detail, FlagsState, Reason } from '../../lib/evaluation/index.ts';
export type { ReaderConfig, Settings } from './config.ts';
export type { ReaderStatus } from './freshness.ts';
export type { AllFlagsStateOptions, Reader } from './reader.ts';
export type { Surroundings } from './surroundings.ts';
export { startReader };

/**
 * A reader that starts reading at once. Throws one Error that lists everything wrong with the config. Bundles for the
 * edge use `startReader` instead: their config was parsed when they were built.
 */
export function createReader(config: ReaderConfig, surroundings?: Partial<Surroundings>): Reader {
  return startReader(parseReaderConfig(config), surroundings);
}
