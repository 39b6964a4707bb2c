import { RE2JS, RE2JSSyntaxException } from 're2js';
import type { Pattern } from '../../lib/evaluation/index.ts';

/** Compiles a pattern as Go's `regexp` package does, for searches in time linear in the text; undefined if it refuses the pattern. */
export function compileRe2(source: string): Pattern | undefined {
  try {
    return RE2JS.compile(source);
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
