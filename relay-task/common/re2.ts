import { RE2JS, RE2JSSyntaxException } from 're2js';
import type { Pattern } from '../../lib/evaluation/index.ts';

/**
 * Steps that one search may take in the worst case: for each character of the text, each instruction of the pattern's program may be
 * looked at, which takes about 20 ns. So a search takes less than 50 ms.
 */
const MAX_SEARCH_STEPS = 2 ** 21;
/** However large a pattern is: patterns are the customer's own, only the text is anybody's. */
const ALWAYS_SEARCHED_CHARACTERS = 1_000;

/**
 * Compiles a pattern as Go's `regexp` package does, for searches in time linear in the text; undefined if it refuses the pattern.
 * A text that is too long for the pattern does not match: above 100,000 characters for an ordinary pattern of 20 instructions,
 * 2,000 for one of a thousand, such as a list of a hundred words.
 */
export function compileRe2(source: string): Pattern | undefined {
  try {
    const pattern = RE2JS.compile(source);
    const mostCharacters = Math.max(ALWAYS_SEARCHED_CHARACTERS, MAX_SEARCH_STEPS / pattern.programSize());
    return { test: (text) => text.length <= mostCharacters && pattern.test(text) };
  } catch (error) {
    // Go allows two groups of one name. Nobody asks for groups by name here.
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
