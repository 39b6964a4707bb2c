/**
 * The exact texts of the parts of a JSON value, so that what is passed on keeps its numbers, key order and fields nobody
 * here knows. Both functions rely on the text being valid: whoever calls has had `JSON.parse` accept it.
 */

/** The text of each element of an array. */
export function elementsOf(array: string): string[] {
  const elements: string[] = [];
  let at = skipSpace(array, skipSpace(array, 0) + 1);
  while (array[at] !== ']') {
    const end = skipValue(array, at);
    elements.push(array.slice(at, end));
    at = skipSpace(array, end);
    if (array[at] === ',') at = skipSpace(array, at + 1);
  }
  return elements;
}

/** The text of each member of an object, by unescaped name; of equal names the last counts, as in `JSON.parse`. */
export function membersOf(object: string): Map<string, string> {
  const members = new Map<string, string>();
  let at = skipSpace(object, skipSpace(object, 0) + 1);
  while (object[at] !== '}') {
    const nameEnd = skipString(object, at);
    const start = skipSpace(object, skipSpace(object, nameEnd) + 1);
    const end = skipValue(object, start);
    members.set(JSON.parse(object.slice(at, nameEnd)) as string, object.slice(start, end));
    at = skipSpace(object, end);
    if (object[at] === ',') at = skipSpace(object, at + 1);
  }
  return members;
}

function skipSpace(text: string, at: number): number {
  let next = at;
  while (text.charCodeAt(next) <= 32) next += 1;
  return next;
}

/** From the opening quote to behind the closing one. */
function skipString(text: string, at: number): number {
  for (let quote = text.indexOf('"', at + 1); ; quote = text.indexOf('"', quote + 1)) {
    let before = quote - 1;
    while (text[before] === '\\') before -= 1;
    if ((quote - before) % 2 === 1) return quote + 1;
  }
}

/** Without recursion: how deep a value nests is up to whoever sent it. */
function skipValue(text: string, start: number): number {
  let depth = 0;
  let at = start;
  do {
    const character = text[at];
    if (character === '"') at = skipString(text, at);
    else if (character === '{' || character === '[') {
      depth += 1;
      at += 1;
    } else if (character === '}' || character === ']') {
      depth -= 1;
      at += 1;
    } else if (depth > 0) at += 1;
    else at = skipScalar(text, at);
  } while (depth > 0);
  return at;
}

/** A number, `true`, `false` or `null`. */
function skipScalar(text: string, start: number): number {
  let at = start;
  while (/[\w+.-]/.test(text[at] ?? '')) at += 1;
  return at;
}
