import { RE2JS, RE2JSSyntaxException } from 're2js';
import type { Pattern } from '../../lib/evaluation/index.ts';

/**
 * Steps that one search may take in the worst case: for each character of the text, each instruction of the pattern's program may be
 * looked at. So a search takes less than 25 ms.
 */
const MAX_SEARCH_STEPS = 2 ** 21;
/** A step of a large program takes longer, because its states do not fit into the library's cache. */
const ORDINARY = { instructions: 500, stepNs: 5, characters: 10_000 };
const LARGE_STEP_NS = 11;

/**
 * Compiles a pattern as Go's `regexp` package does, for searches in time linear in the text; undefined if it refuses the pattern.
 * A text that is too long for the pattern does not match: above 100,000 characters for a pattern of 20 instructions, 10,000 for one
 * of 500, such as a list of 50 words, and 200 for a list of a thousand words.
 */
export function compileRe2(source: string): Pattern | undefined {
  try {
    const pattern = RE2JS.compile(source);
    const size = pattern.programSize();
    const isOrdinary = size <= ORDINARY.instructions;
    const mostCharacters = Math.max(isOrdinary ? ORDINARY.characters : 0, MAX_SEARCH_STEPS / size);
    return {
      perCharacter: size * (isOrdinary ? ORDINARY.stepNs : LARGE_STEP_NS),
      test: (text) => text.length <= mostCharacters && pattern.test(text),
    };
  } catch (error) {
    // Go allows two groups of one name. Groups are not used by name here.
    const isNamedTwice = error instanceof RE2JSSyntaxException && error.error === 'duplicate capture group name';
    const nameless = isNamedTwice ? withoutNames(source) : source;
    return nameless === source ? undefined : compileRe2(nameless);
  }
}

/** Quoted text, escapes and classes stay as they are. */
const PARTS = /\\Q.*?(?:\\E|$)|\\.|\[\^?\]?(?:\\.|\[:\^?\w+:\]|[^\]\\])*\]|\(\?P?<\w+>/gs;

function withoutNames(source: string): string {
  return source.replace(PARTS, (part) => (part.startsWith('(?') ? '(' : part));
}
