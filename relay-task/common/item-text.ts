/**
 * The text of flags and segments in the form in which ld-relay writes them, which SDKs of every language can read: some refuse
 * an item, or a whole flag set, for a missing field. Works on text, so that numbers keep their bytes.
 */
import { type Field, type Shape, shapes } from '../../lib/evaluation/index.ts';
import type { Kind } from '../../lib/flag-table/index.ts';
import { isObject } from './json.ts';
import { OPEN_BRACE, OPEN_BRACKET } from './json-codes.ts';
import {
  eachElement,
  eachMember,
  membersInSlices,
  membersOf,
  readElementsInSlices,
  readMembersInSlices,
  skipSpace,
  skipValue,
  skipValueInSlices,
} from './json-text.ts';
import { byCodeUnits, sortInSlices } from './sliced-sort.ts';
import { resultOf } from './slices.ts';

const fieldsOf: Readonly<Record<Kind, readonly Field[]>> = { features: shapes.flag, segments: shapes.segment };

/**
 * The normal form: the known fields in ld-relay's order, each with its default if it is absent or null, then the unknown
 * fields by name. The same for any order of fields; the inside of variations and of unknown fields stays as it is.
 * `text` must be valid: see `describeFlagProblem`.
 */
export function normalText(kind: Kind, text: string): string {
  return resultOf(normalTextInSlices(kind, text));
}

/** Of `clientSideAvailability`. */
const ENVIRONMENT = 'usingEnvironmentId';

/** In characters: less is read in one go, since each step costs about as much as a small part. */
const LITTLE = 4 * 1024;

/** The same, with a yield after each element of a long list, and within long values. */
export function* normalTextInSlices(kind: Kind, text: string): Generator<void, string> {
  const fields = fieldsOf[kind];
  const members = yield* readMembers(text, skipSpace(text, 0), fields);
  const availability = members.get('clientSideAvailability') ?? 'null';
  // The older field mirrors the newer one.
  if (availability.startsWith('{'))
    members.set('clientSide', (yield* membersInSlices(availability, [ENVIRONMENT])).get(ENVIRONMENT) ?? 'false');
  return text.length > LITTLE ? yield* normalObjectInSlices(members, fields) : normalObject(members, fields);
}

interface Part {
  readonly normal: string;
  /** Where it ends in the text. */
  readonly end: number;
}

function* readPart(text: string, from: number, shape: Shape | undefined): Generator<void, Part> {
  const end = yield* skipValueInSlices(text, from);
  if (end - from <= LITTLE) return readLittle(text, from, shape);
  const first = text.charCodeAt(from);
  if (shape?.is === 'object' && first === OPEN_BRACE) {
    const members = yield* readMembers(text, from, shape.fields);
    return { normal: yield* normalObjectInSlices(members, shape.fields), end };
  }
  if (shape?.is !== 'list' || shape.of.is !== 'object' || first !== OPEN_BRACKET)
    return { normal: text.slice(from, end), end };
  const parts: string[] = [];
  yield* readElementsInSlices(text, from, function* (at) {
    const part = yield* readPart(text, at, shape.of);
    parts.push(part.normal);
    yield;
    return part.end;
  });
  return { normal: `[${parts.join(',')}]`, end };
}

function* readMembers(text: string, from: number, fields: readonly Field[]): Generator<void, Map<string, string>> {
  const members = new Map<string, string>();
  yield* readMembersInSlices(text, from, function* (name, at) {
    const part = yield* readPart(text, at, fields.find((field) => field.name === name)?.shape);
    members.set(name, part.normal);
    return part.end;
  });
  return members;
}

function readLittle(text: string, from: number, shape: Shape | undefined): Part {
  const first = text.charCodeAt(from);
  if (shape?.is === 'object' && first === OPEN_BRACE) {
    const members = new Map<string, string>();
    const end = eachMember(text, from, (name, at) => {
      const part = readLittle(text, at, shape.fields.find((field) => field.name === name)?.shape);
      members.set(name, part.normal);
      return part.end;
    });
    return { normal: normalObject(members, shape.fields), end };
  }
  if (shape?.is === 'list' && shape.of.is === 'object' && first === OPEN_BRACKET) {
    const parts: string[] = [];
    const end = eachElement(text, from, (at) => {
      const part = readLittle(text, at, shape.of);
      parts.push(part.normal);
      return part.end;
    });
    return { normal: `[${parts.join(',')}]`, end };
  }
  const end = skipValue(text, from);
  return { normal: text.slice(from, end), end };
}

/** Undefined for a key that an item can have. */
export function describeKeyProblem(key: string): string | undefined {
  if (key === '') return 'key must not be empty';
  // In UTF-8, as in stores, two such keys would be one.
  return key.isWellFormed() ? undefined : 'key must be well-formed text, but contains half of a surrogate pair';
}

/**
 * `text` itself, unless a field is missing: then its normal form. `data` is what it parses to. Yields after each element of its
 * lists.
 */
export function* completeTextInSlices(kind: Kind, data: unknown, text: string): Generator<void, string> {
  return (yield* hasAll(data, fieldsOf[kind])) ? text : yield* normalTextInSlices(kind, text);
}

/** Whether no field is missing that ld-relay would write, and none is null that ld-relay would leave out. */
export function isComplete(kind: Kind, data: unknown): boolean {
  return resultOf(hasAll(data, fieldsOf[kind]));
}

function* hasAll(data: unknown, fields: readonly Field[]): Generator<void, boolean> {
  if (!isObject(data)) return false;
  for (const { name, shape, fallback } of fields) {
    const value = Object.hasOwn(data, name) ? data[name] : undefined;
    if (value === undefined || value === null) {
      if (value !== fallback) return false;
    } else if (shape.is === 'object') {
      if (!(yield* hasAll(value, shape.fields))) return false;
    } else if (shape.is === 'list' && shape.of.is === 'object' && Array.isArray(value)) {
      for (const part of value) {
        if (!(yield* hasAll(part, shape.of.fields))) return false;
        yield;
      }
    }
  }
  return true;
}

function normalObject(members: Map<string, string>, fields: readonly Field[]): string {
  const parts = takeKnown(members, fields);
  for (const name of [...members.keys()].sort()) parts.push(`${JSON.stringify(name)}:${members.get(name)}`);
  return `{${parts.join(',')}}`;
}

/** Characters joined between two yields. */
const JOINED_AT_ONCE = 16 * 1024;

/** The same for a large object, with a yield after each part of its unknown fields. */
function* normalObjectInSlices(members: Map<string, string>, fields: readonly Field[]): Generator<void, string> {
  const rollout = members.get('rollout') ?? '';
  const hasRollout = rollout.length > LITTLE_ROLLOUT && fields.some(({ name }) => name === 'rollout');
  if (hasRollout && (yield* isIdle(rollout))) members.delete('rollout');
  let parts = takeKnown(members, fields);
  const joined: string[] = [];
  let characters = 0;
  for (const name of yield* sortInSlices([...members.keys()], byCodeUnits)) {
    const part = `${JSON.stringify(name)}:${members.get(name)}`;
    parts.push(part);
    characters += part.length;
    if (characters < JOINED_AT_ONCE) continue;
    joined.push(parts.join(','));
    parts = [];
    characters = 0;
    yield;
  }
  if (parts.length > 0) joined.push(parts.join(','));
  return `{${joined.join(',')}}`;
}

/** Known fields as they are written. Leaves the others. */
function takeKnown(members: Map<string, string>, fields: readonly Field[]): string[] {
  const parts: string[] = [];
  for (const { name, fallback, omit } of fields) {
    const found = members.get(name) ?? 'null';
    members.delete(name);
    const part = found === 'null' ? JSON.stringify(fallback) : found;
    if (part === undefined || isOmitted(name, part, omit)) continue;
    parts.push(`"${name}":${part}`);
  }
  return parts;
}

/** In characters. Larger ones are looked at in slices, before. Twice as many, since the normal form of a little text may be a bit longer. */
const LITTLE_ROLLOUT = 2 * LITTLE;

/** A rollout without variations has no effect, and ld-relay omits it. */
function isOmitted(name: string, part: string, omit: unknown): boolean {
  if (name !== 'rollout') return omit !== undefined && part === JSON.stringify(omit);
  return part.length <= LITTLE_ROLLOUT && mayBeIdle(part) && NONE.test(membersOf(part).get('variations') ?? '');
}

const NONE = /^\[\s*\]$/;
const mayBeIdle = (rollout: string) => rollout.startsWith('{') && rollout.includes('"variations":[');

function* isIdle(rollout: string): Generator<void, boolean> {
  if (!mayBeIdle(rollout)) return false;
  return NONE.test((yield* membersInSlices(rollout, ['variations'])).get('variations') ?? '');
}
