import type { FileRemark } from './file-entry.ts';
import { JSON_TOKEN } from './json-problem.ts';

/** A file with more has one mistake many times. */
const MOST_REMARKS = 20;

/** How many tokens are read between two yields. */
const TOKENS_AT_ONCE = 200;

/** An object with the keys that were read, or a list with the number of elements before. */
interface Open {
  readonly keys: Set<string> | undefined;
  /** The key or number of the part that is being read. */
  at: string | number;
}

/**
 * Keys that are more than once in the same object of valid JSON, in their order. SDKs and `JSON.parse` use the last one and say nothing;
 * YAML refuses such a file. Yields often.
 */
export function* duplicatesIn(json: string): Generator<void, FileRemark[]> {
  const remarks: FileRemark[] = [];
  const way: Open[] = [];
  let line = 1;
  let wantsKey = false;
  let at = 0;
  for (let tokens = 1; remarks.length < MOST_REMARKS; tokens += 1) {
    if (tokens % TOKENS_AT_ONCE === 0) yield;
    JSON_TOKEN.lastIndex = at;
    const [all = '', mark, text] = JSON_TOKEN.exec(json) ?? [];
    if (all === '') break;
    // Strings have no line breaks, so only the white space before a token does.
    for (let space = at; json.charCodeAt(space) <= 32; space += 1) if (json[space] === '\n') line += 1;
    at += all.length;
    const last = way.at(-1);
    if (mark === '{' || mark === '[') {
      way.push({ keys: mark === '{' ? new Set() : undefined, at: mark === '{' ? '' : 0 });
      wantsKey = mark === '{';
    } else if (mark === '}' || mark === ']') {
      way.pop();
      wantsKey = false;
    } else if (mark === ',' && last) {
      if (last.keys === undefined) last.at = Number(last.at) + 1;
      wantsKey = last.keys !== undefined;
    } else if (text !== undefined && wantsKey && last?.keys) {
      wantsKey = false;
      const key = text.includes('\\') ? (JSON.parse(text) as string) : text.slice(1, -1);
      last.at = key;
      if (last.keys.has(key)) {
        remarks.push(remarkOn(way, line));
      }
      last.keys.add(key);
    }
  }
  return remarks;
}

/** `flags.a.rules[0].id`, or below a flag or segment: its key, and `rules[0].id`. */
function remarkOn(way: readonly Open[], line: number): FileRemark {
  const path = way.map(({ at }) => at);
  const [section, key, ...rest] = path;
  const kind = section === 'flags' ? 'features' : section === 'segments' ? 'segments' : undefined;
  const reason = `line ${line} has this key again: the last one counts; keep one`;
  if (kind === undefined || typeof key !== 'string') return { at: pathOf(path), reason };
  return { kind, key, at: pathOf(rest), reason };
}

function pathOf(parts: readonly (string | number)[]): string {
  const text = parts.map((part) => (typeof part === 'number' ? `[${part}]` : `.${part}`)).join('');
  return text.replace(/^\./, '');
}
