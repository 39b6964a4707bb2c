/** How items are compiled for evaluation, whole or in steps. */
import {
  compileFlag,
  compileFlagInSteps,
  compileSegment,
  compileSegmentInSteps,
  type Dialect,
  type Flag,
  type Segment,
} from '../../lib/evaluation/index.ts';
import type { Item, Kind } from '../../lib/flag-table/index.ts';

export interface CompiledItem {
  readonly features: Flag;
  readonly segments: Segment;
}

export const compilers: {
  readonly [K in Kind]: {
    whole(data: unknown, dialect: Dialect): CompiledItem[K];
    inSteps(data: unknown, dialect: Dialect): Generator<void, CompiledItem[K]>;
  };
} = {
  features: { whole: compileFlag, inSteps: compileFlagInSteps },
  segments: { whole: compileSegment, inSteps: compileSegmentInSteps },
};

/** Characters of JSON that are compiled in one turn: a few milliseconds, even if they are full of patterns. */
export const LITTLE = 4 * 1024;

/** Whether it is compiled in slices. */
export function isLong({ deleted, json }: Item): boolean {
  return !deleted && (json.length > LITTLE || json.includes('"matches"'));
}

/**
 * What arrives while others are compiled is compiled too, but waiting callers must continue at some point. In the last round an item is
 * compiled to its end although a newer version of it has come.
 */
export const MOST_ROUNDS = 3;

/** Of a pattern or of an error's message, which can be of any length. */
export const SHOWN_CHARACTERS = 300;
