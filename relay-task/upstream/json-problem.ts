interface TextProblem {
  readonly message: string;
  /** From 1. */
  readonly line: number;
  /** From 1. */
  readonly column: number;
}

/** One token and the white space before it (RFC 8259, sections 2 to 7): a mark, a string, or a number or word. Set `lastIndex` first. */
export const JSON_TOKEN =
  /[ \t\n\r]*(?:([{}[\],:])|("[ !#-[\]-\uffff]*(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[ !#-[\]-\uffff]*)*")|(-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null))/y;
const SPACE = /[ \t\n\r]*/y;

/**
 * Finds the first syntax error in JSON and what was expected there; undefined when the text is valid. The messages of
 * `JSON.parse` differ between versions of Node and often lack the position.
 */
export function describeJsonProblem(text: string): TextProblem | undefined {
  const open: string[] = [];
  let expected = 'a value';
  let at = 0;
  for (;;) {
    SPACE.lastIndex = at;
    SPACE.exec(text);
    const start = SPACE.lastIndex;
    if (start === text.length && expected === 'nothing more') return undefined;
    JSON_TOKEN.lastIndex = at;
    const [, mark, string, scalar] = JSON_TOKEN.exec(text) ?? [];
    const next = step(expected, mark ?? (string && 'string') ?? (scalar && 'scalar') ?? '', open);
    if (next === undefined) return placeOf(text, start, expected);
    expected = next;
    at = JSON_TOKEN.lastIndex;
  }
}

const KEY = 'a key in double quotes';
const FIRST_KEY = `${KEY} or }`;
const FIRST_VALUE = 'a value or ]';

/** What is expected after a token, or undefined when the token is not allowed here. */
function step(expected: string, token: string, open: string[]): string | undefined {
  const inObject = open.at(-1) === '{';
  const afterValue = () => (open.length === 0 ? 'nothing more' : open.at(-1) === '{' ? 'a comma or }' : 'a comma or ]');
  const close = () => {
    open.pop();
    return afterValue();
  };
  if (expected === 'a value' || expected === FIRST_VALUE) {
    if (token === ']' && expected === FIRST_VALUE) return close();
    if (token === 'string' || token === 'scalar') return afterValue();
    if (token !== '{' && token !== '[') return undefined;
    open.push(token);
    return token === '{' ? FIRST_KEY : FIRST_VALUE;
  }
  if (expected === KEY || expected === FIRST_KEY) {
    if (token === '}' && expected === FIRST_KEY) return close();
    return token === 'string' ? 'a colon' : undefined;
  }
  if (expected === 'a colon') return token === ':' ? 'a value' : undefined;
  if (expected === 'nothing more') return undefined;
  if (token === ',') return inObject ? KEY : 'a value';
  return token === (inObject ? '}' : ']') ? close() : undefined;
}

function placeOf(text: string, at: number, expected: string): TextProblem {
  const before = text.slice(0, at).split('\n');
  const found =
    at === text.length ? 'the end of the text' : JSON.stringify(/^\S{1,20}/u.exec(text.slice(at))?.[0] ?? '');
  const column = (before.at(-1)?.length ?? 0) + 1;
  return { message: `expected ${expected}, found ${found}`, line: before.length, column };
}
