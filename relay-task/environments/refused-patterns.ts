/** Regular expressions that RE2 refuses: they match nothing, and are named in log and status. */
import { createGoDialect } from '../../lib/evaluation/index.ts';
import { KINDS, type Kind } from '../../lib/flag-table/index.ts';
import { compileRe2 } from '../common/re2.ts';
import type { RefusedPattern } from '../ports.ts';
import { SHOWN_CHARACTERS } from './compilers.ts';

/** Refused patterns that are kept for the status. */
const MOST_PATTERNS_OF_ITEM = 10;
const MOST_PATTERNS = 100;

/** An item's first refused patterns, and how many there are. */
interface Refusals {
  readonly first: string[];
  count: number;
}

export const noRefusals = (): Refusals => ({ first: [], count: 0 });

/** `onRefused` gets the first pattern of an item and the number of the others. */
export function createRefusedPatterns(onRefused: (pattern: RefusedPattern, more: number) => void) {
  const refused = { features: new Map<string, readonly string[]>(), segments: new Map<string, readonly string[]>() };
  let keptPatterns = 0;
  let refusals = noRefusals();
  return {
    /** Items are compiled with it: clients get the answers that LaunchDarkly's own service would give them. */
    dialect: createGoDialect((source) => {
      const pattern = compileRe2(source);
      if (pattern === undefined) {
        refusals.count += 1;
        if (refusals.first.length < MOST_PATTERNS_OF_ITEM) refusals.first.push(source.slice(0, SHOWN_CHARACTERS));
      }
      return pattern;
    }),
    /** The refusals of the item that is compiled from now on. Called after each pause, since other items are compiled in it. */
    collectIn(own: Refusals): void {
      refusals = own;
    },
    /** The item whose refusals were collected last is in force. */
    inForce(kind: Kind, key: string): void {
      const [pattern] = refusals.first;
      if (pattern === undefined) return;
      const kept = refusals.first.slice(0, MOST_PATTERNS - keptPatterns);
      if (kept.length > 0) refused[kind].set(key, kept);
      keptPatterns += kept.length;
      onRefused({ kind, key, pattern }, refusals.count - 1);
    },
    /** The item was replaced. */
    forget(kind: Kind, key: string): void {
      keptPatterns -= refused[kind].get(key)?.length ?? 0;
      refused[kind].delete(key);
    },
    list: (): readonly RefusedPattern[] =>
      KINDS.flatMap((kind) =>
        [...refused[kind]].flatMap(([key, patterns]) => patterns.map((pattern) => ({ kind, key, pattern }))),
      ),
  };
}
