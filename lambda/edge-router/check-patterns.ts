/** What patterns with `*` and `?` have in common, in a number of steps that is bounded. */
import { compileWildcards } from './wildcards.ts';

/** How much a check may still do. Below zero, what it has not looked at is unknown. */
export interface Steps {
  left: number;
}

/** Returns false once more was asked for than there was. */
export function spend(steps: Steps, count = 1): boolean {
  steps.left -= count;
  return steps.left >= 0;
}

/** Whether a text matches both patterns; true if that is unknown. */
export function overlap(one: string, two: string, steps: Steps): boolean {
  const start = agreeing(one, two, 1);
  const end = start < 0 ? 0 : agreeing(one, two, -1);
  if (!spend(steps, 1 + ((Math.abs(start) + Math.abs(end)) >> 4))) return true;
  if (start < 0 || end < 0) return false;
  // What is between the ends of one pattern fits into a star of the other, and the other way round.
  if (one.includes('*') && two.includes('*')) return true;
  return tableOf(one, two, steps)?.[0] !== 0;
}

const hulls = new WeakMap<readonly string[], string>();

/** A pattern for all texts that match one of these: what they begin and end with. */
export function hullOf(patterns: readonly string[]): string {
  const hull = hulls.get(patterns) ?? makeHull(patterns);
  hulls.set(patterns, hull);
  return hull;
}

function makeHull(patterns: readonly string[]): string {
  const [first = '', ...others] = patterns;
  if (others.length === 0) return first;
  const start = others.reduce(
    (common, one) => common.slice(0, sameFor(common, one, 1)),
    first.split(/[*?]/, 1)[0] ?? '',
  );
  const end = others.reduce((common, one) => {
    const same = sameFor(common, one, -1);
    return same === 0 ? '' : common.slice(-same);
  }, first.split(/[*?]/).at(-1) ?? '');
  const shortest = Math.min(...patterns.map(({ length }) => length));
  return start.length + end.length > shortest ? `${start}*` : `${start}*${end}`;
}

function sameFor(one: string, two: string, direction: 1 | -1): number {
  for (let i = 0; i < one.length; i += 1)
    if (one.at(direction > 0 ? i : -1 - i) !== two.at(direction > 0 ? i : -1 - i)) return i;
  return one.length;
}

/** How many characters from one end go together, up to the first `*`; negative if the next ones do not. */
function agreeing(one: string, two: string, direction: 1 | -1): number {
  for (let i = 0; ; i += 1) {
    const a = one[direction > 0 ? i : one.length - 1 - i];
    const b = two[direction > 0 ? i : two.length - 1 - i];
    if (a === '*' || b === '*') return i;
    if (a === b && a === undefined) return i;
    if (a !== b && unified(a, b) === undefined) return -1 - i;
  }
}

/** The character that both stand for. */
function unified(a: string | undefined, b: string | undefined): string | undefined {
  return a === b || b === '?' ? a : a === '?' ? b : undefined;
}

/** For each pair of places in two patterns, row by row: whether a text matches what is left of both. Undefined: unknown. */
function tableOf(one: string, two: string, steps: Steps): Uint8Array | undefined {
  const width = two.length + 1;
  if (!spend(steps, (one.length + 1) * width)) return undefined;
  const table = new Uint8Array((one.length + 1) * width);
  const at = (i: number, j: number) => (i <= one.length && j <= two.length ? (table[i * width + j] ?? 0) : 0);
  for (let i = one.length; i >= 0; i -= 1)
    for (let j = two.length; j >= 0; j -= 1) {
      const [a, b] = [one[i], two[j]];
      const left =
        a === '*' || b === '*'
          ? (a === '*' ? at(i + 1, j) : at(i, j + 1)) || (a === '*' ? at(i, j + 1) : at(i + 1, j))
          : a === undefined || b === undefined
            ? a === b
            : unified(a, b) !== undefined && at(i + 1, j + 1);
      table[i * width + j] = left ? 1 : 0;
    }
  return table;
}

/** A pattern for some of the texts that match two patterns, and what the last `*` of the second one stands for in it. */
export interface Piece {
  readonly pattern: string;
  readonly rest: string;
}

/** Pieces that together stand for all texts which match both patterns. There may be very many; none follows once no steps are left. */
export function* piecesOf(one: string, two: string, steps: Steps): Generator<Piece> {
  if (!overlap(one, two, steps)) return;
  const table = tableOf(one, two, steps);
  if (!table) return;
  const lastStar = two.lastIndexOf('*');
  const known = new Set<string>();
  const open = [{ i: 0, j: 0, pattern: '', rest: '' }];
  for (let from = open.pop(); from; from = open.pop()) {
    if (!spend(steps, 4)) return;
    const { i, j } = from;
    const go = (toI: number, toJ: number, text: string) => {
      if (toI > one.length || toJ > two.length || !table[toI * (two.length + 1) + toJ]) return;
      const rest = j === lastStar ? added(from.rest, text) : from.rest;
      open.push({ i: toI, j: toJ, pattern: added(from.pattern, text), rest });
    };
    const [a, b] = [one[i], two[j]];
    if (a === undefined && b === undefined) {
      const key = JSON.stringify([from.pattern, from.rest]);
      if (!known.has(key)) yield { pattern: from.pattern, rest: from.rest };
      known.add(key);
    } else if (a === '*' && b === '*') {
      go(i, j + 1, '*');
      go(i + 1, j, '*');
    } else if (a === '*') {
      if (b !== undefined) go(i, j + 1, b);
      go(i + 1, j, '');
    } else if (b === '*') {
      if (a !== undefined) go(i + 1, j, a);
      go(i, j + 1, '');
    } else go(i + 1, j + 1, unified(a, b) ?? '');
  }
}

function added(pattern: string, text: string): string {
  return text === '*' && pattern.endsWith('*') ? pattern : pattern + text;
}

/** For the stars of a pattern: how many letters they stand for in its examples. */
const LENGTHS = [1, 0, 2, 3];
const SOME = 5;

/**
 * Texts that match a pattern, in which `letter` stands for what its wildcards may be. If no other pattern has that letter, and a text matches
 * this pattern and none of the others, so does the example of the same length.
 */
export function examplesOf(pattern: string, letter: string): readonly string[] {
  const [first = '', ...others] = pattern.replaceAll('?', letter).split('*');
  const texts = (lengths: readonly number[]) =>
    first + others.map((text, index) => letter.repeat(lengths[index % lengths.length] ?? 0) + text).join('');
  const lengths =
    others.length === 2 ? LENGTHS.flatMap((one) => LENGTHS.map((two) => [one, two])) : LENGTHS.map((one) => [one]);
  return [...new Set([...lengths, [SOME]].map(texts))];
}

/** Whether the text matches one of the patterns. False as well if that is unknown. */
export function isMatched(patterns: readonly string[], text: string, steps: Steps): boolean {
  return patterns.some(
    (pattern) => spend(steps, costOf(pattern, text)) && compileWildcards(pattern)(text) !== undefined,
  );
}

/** What is between two stars is looked for at each place of the text. */
export function costOf(pattern: string, text: string): number {
  const inside = pattern.lastIndexOf('*') - pattern.indexOf('*');
  return 1 + Math.ceil((inside * text.length) / 16);
}
