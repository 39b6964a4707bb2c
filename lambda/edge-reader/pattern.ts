/**
 * Regular expressions with the answers of `RegExp`, in bounded time: texts come from strangers, and the backtracking engine takes
 * seconds for `(a+)+$` and 30 characters.
 */
import { setFlagsFromString } from 'node:v8';
import { createContext, Script } from 'node:vm';
import { createNodeDialect, type TextPattern } from '../../lib/evaluation/index.ts';

/** Some milliseconds of backtracking. */
const MAX_STEPS = 1_000_000;
/**
 * How long a search may take that only a clock can bound. A function of 128 MB computes for a fraction of it, and a viewer function may
 * run for 5 s.
 */
const MAX_MS = 1_000;

/** Undefined: the pattern is invalid. `test` throws an Error if it takes too long. */
export function compilePattern(source: string, maxMs = MAX_MS): TextPattern | undefined {
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
      bounded ??= linear(source) ?? withinTime(pattern, maxMs);
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
  setFlagsFromString('--enable-experimental-regexp-engine');
  try {
    return new RegExp(source, 'l');
  } catch {
    return undefined;
  }
}

let box: { test?(): boolean } | undefined;
let script: Script | undefined;

function withinTime(pattern: RegExp, timeout: number): TextPattern {
  return {
    test(text) {
      box ??= createContext({}) as { test?(): boolean };
      script ??= new Script('test()');
      box.test = () => pattern.test(text);
      return script.runInContext(box, { timeout });
    },
  };
}

/** LaunchDarkly's Node SDK, with patterns that strangers cannot stop it with. */
export const edgeDialect = createNodeDialect((source) => compilePattern(source));
