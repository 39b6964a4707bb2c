/** A JSON text is taken apart before it is parsed, if that would take too long for one turn of the event loop. */
import { OPEN_BRACE, OPEN_BRACKET } from './json-codes.ts';
import { describeExcessInSlices, describeTooMany, LONGEST_MEMBER, TOO_LONG } from './json-shape.ts';
import {
  detach,
  nameAmong,
  passMembers,
  readElementsInSlices,
  skipSpaceInSlices,
  skipValueInSlices,
  unquote,
} from './json-text.ts';
import { parseTextInSlices } from './sliced-text.ts';

/** In values: what a part of a text, its name and its entry in a map take. */
const PART_VALUES = 4;
/** Besides the parts. */
const MOST_FRAME_VALUES = 10_000;

/** What `describeExcessInSlices` says of a text. */
export class JsonExcessError extends Error {}

/** A text of which the largest parts were taken out. */
export interface TakenApart {
  /** The value of the text with null in the place of each part. */
  readonly frame: unknown;
  /**
   * The texts of the parts by the name of their object and their own, or their index in an array. Of equal names the last counts, as in
   * `JSON.parse`.
   */
  readonly parts: ReadonlyMap<string, ReadonlyMap<string, string>>;
}

/**
 * The parts are the members of the objects, and the elements of the arrays, `names` within the object at `path`; it yields after each,
 * and within all that is long. The text is JSON exactly if the frame and all parts are: throws the SyntaxError of `JSON.parse` for the
 * frame and for parts that others of the same name replace, and does not parse the parts that it gives. Their texts do not keep the whole alive. Throws JsonExcessError for what `describeExcessInSlices` says of
 * the frame, or for too many parts; without `mostValues` there may be any number.
 */
export function* takeApart(
  text: string,
  path: readonly string[],
  names: readonly string[],
  mostValues = Number.POSITIVE_INFINITY,
): Generator<void, TakenApart> {
  const parts = new Map<string, Map<string, string>>();
  const frame: string[] = [];
  /** Where the part begins that is not in the frame yet. */
  let rest = 0;
  let taken = 0;
  /** Members of the frame that are not parts. */
  let left = 0;
  const mostLeft = () => (mostValues === Number.POSITIVE_INFINITY ? mostValues : taken + MOST_FRAME_VALUES);

  function* takePart(from: number, add: (part: string) => void): Generator<void, number> {
    taken += 1;
    if (taken * PART_VALUES > mostValues) throw new JsonExcessError(describeTooMany(mostValues));
    const to = yield* skipValueInSlices(text, from);
    if (to === from) throw new SyntaxError(`Unexpected token at ${from} of JSON`);
    frame.push(text.slice(rest, from), 'null');
    rest = to;
    add(detach(text.slice(from, to)));
    yield;
    return to;
  }
  function pass(start: number, depth: number): Generator<void, number> {
    const isDeep = depth === path.length;
    const wanted = isDeep ? names : path.slice(depth, depth + 1);
    return passMembers(text, start, ({ nameFrom, nameEnd, from }) => {
      left += 1;
      if (left > mostLeft()) throw new JsonExcessError(describeTooMany(mostLeft()));
      const first = text.charCodeAt(from);
      const isList = first === OPEN_BRACKET && isDeep;
      const name = isList || first === OPEN_BRACE ? nameAmong(wanted, text, nameFrom, nameEnd) : undefined;
      if (name === undefined) return skipValueInSlices(text, from);
      if (!isDeep) return pass(from, depth + 1);
      return isList ? takeElements(from, name) : takeMembers(from, name);
    });
  }
  function* takeMembers(start: number, of: string): Generator<void, number> {
    const members = new Map<string, string>();
    yield* replace(parts, of, members);
    return yield* passMembers(text, start, function* ({ nameFrom, nameEnd, from }) {
      if (nameEnd - nameFrom > LONGEST_MEMBER) throw new JsonExcessError(TOO_LONG);
      const name = detach(unquote(text.slice(nameFrom, nameEnd)));
      const earlier = members.get(name);
      const to = yield* takePart(from, (part) => members.set(name, part));
      if (earlier !== undefined) yield* parseTextInSlices(earlier);
      return to;
    });
  }
  function* takeElements(start: number, of: string): Generator<void, number> {
    const elements = new Map<string, string>();
    yield* replace(parts, of, elements);
    return yield* readElementsInSlices(text, start, (from) =>
      takePart(from, (part) => elements.set(String(elements.size), part)),
    );
  }

  const start = yield* skipSpaceInSlices(text, 0);
  if (text.charCodeAt(start) === OPEN_BRACE) yield* pass(start, 0);
  const outer = frame.join('') + text.slice(rest);
  const excess = yield* describeExcessInSlices(outer, mostLeft());
  if (excess !== undefined) throw new JsonExcessError(excess);
  return { frame: yield* parseTextInSlices(outer), parts };
}

/** Nobody gets the parts that were there before, so they are parsed here: a text with an invalid one is invalid. */
function* replace(parts: Map<string, Map<string, string>>, of: string, by: Map<string, string>): Generator<void, void> {
  for (const earlier of parts.get(of)?.values() ?? []) yield* parseTextInSlices(earlier);
  parts.set(of, by);
}
