/**
 * Regular expressions with the answers of `RegExp`, in bounded time: anybody can send the texts, and the backtracking engine takes
 * seconds for `(a+)+$` and 30 characters.
 */
import { createContext, runInContext } from 'node:vm';
import { createNodeDialect, type TextPattern } from '../../lib/evaluation/index.ts';

/** Some milliseconds of backtracking. */
const MAX_STEPS = 1_000_000;
/**
 * How long all searches together may take that only a clock can bound, in ms. A function of 128 MB computes for a fraction of it, and a viewer
 * function may run for 5,000.
 */
const MAX_MS = 1_000;
/** The time that a search took is given back over this many times as long, so such searches take at most 2 of any 5 s. */
const GIVEN_BACK = 5;

/** When all of the time is given back, in ms of `performance.now()`. All patterns share it, since requests ask for several flags. */
let wholeAt = 0;

/**
 * Gives the request that begins the whole time for patterns that only a clock can bound, whatever texts came with those before it: for
 * functions that work on one request at a time.
 */
export function beginRequest(): void {
  wholeAt = 0;
}

/** Undefined: the pattern is invalid. `test` throws an Error if it takes too long, or if others took the time. */
export function compilePattern(source: string): TextPattern | undefined {
  let pattern: RegExp;
  try {
    pattern = new RegExp(source);
  } catch {
    return undefined;
  }
  // Each repetition multiplies the ways in which a text can match by its length; repeated groups may raise them to its power. Each
  // alternative may double them.
  const repetitions = source.match(/[*+{]/g)?.length ?? 0;
  const choices = source.match(/\||[^(]\?/g)?.length ?? 0;
  if (repetitions + choices === 0) return pattern;
  const nested = /\)[*+{]/.test(source);
  let bounded: TextPattern | undefined;
  return {
    test(text) {
      if (!nested && 2 ** choices * text.length ** (repetitions + 1) <= MAX_STEPS) return pattern.test(text);
      bounded ??= linear(source) ?? withinTime(pattern);
      return bounded.test(text);
    },
  };
}

/**
 * By V8's second engine, whose time is linear in the text. It refuses look-ahead, back-references and large counts; with look-behind
 * it gives wrong answers in Node.js 22. The flag only allows to ask for it, and must stay on while it is used.
 */
function linear(source: string): RegExp | undefined {
  if (/\(\?<[=!]/.test(source)) return undefined;
  // Loaded here: it takes a millisecond of a cold start, and few flags need it. Before Node.js 20.16 it cannot be, and the clock decides.
  process.getBuiltinModule?.('node:v8').setFlagsFromString('--enable-experimental-regexp-engine');
  try {
    return new RegExp(source, 'l');
  } catch {
    return undefined;
  }
}

let box: { test?(): boolean } | undefined;

function withinTime(pattern: RegExp): TextPattern {
  return {
    test(text) {
      box ??= createContext({}) as { test?(): boolean };
      box.test = () => pattern.test(text);
      const at = performance.now();
      wholeAt = Math.max(at, wholeAt);
      // Half of what is left, so that a hostile text leaves some to other patterns and texts.
      const timeout = (MAX_MS - (wholeAt - at) / GIVEN_BACK) >> 1;
      if (timeout < 1) throw new Error('no time');
      try {
        return runInContext('test()', box, { timeout });
      } finally {
        wholeAt += (performance.now() - at) * GIVEN_BACK;
      }
    },
  };
}

/** LaunchDarkly's Node SDK, with bounded patterns. */
export const edgeDialect = createNodeDialect(compilePattern);
