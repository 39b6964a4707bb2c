/**
 * The text of flags and segments in the form in which ld-relay writes them, which SDKs of every language can read: some refuse
 * an item, or a whole flag set, for a missing field. Works on text, so that numbers keep their bytes.
 */
import { type Field, type Shape, shapes } from '../../lib/evaluation/index.ts';
import type { Kind } from '../../lib/flag-table/index.ts';
import { isObject } from './json.ts';
import { elementsOf, membersOf } from './json-text.ts';

const fieldsOf: Readonly<Record<Kind, readonly Field[]>> = { features: shapes.flag, segments: shapes.segment };

/**
 * The normal form: the known fields in ld-relay's order, each with its default if it is absent or null, then the unknown
 * fields by name. The same for any order of fields; the inside of variations and of unknown fields stays as it is.
 * `text` must be valid: see `describeFlagProblem`.
 */
export function normalText(kind: Kind, text: string): string {
  const members = membersOf(text);
  const availability = members.get('clientSideAvailability') ?? 'null';
  // The older field mirrors the newer one.
  if (availability.startsWith('{')) {
    members.set('clientSide', membersOf(availability).get('usingEnvironmentId') ?? 'false');
  }
  return normalObject(members, fieldsOf[kind]);
}

/** `text` itself, unless a field is missing: then its normal form. `data` is what it parses to. */
export function completeText(kind: Kind, data: unknown, text: string): string {
  return isComplete(kind, data) ? text : normalText(kind, text);
}

/** Whether no field is missing that ld-relay would write, and none is null that ld-relay would leave out. */
export function isComplete(kind: Kind, data: unknown): boolean {
  return hasAll(data, fieldsOf[kind]);
}

function hasAll(data: unknown, fields: readonly Field[]): boolean {
  if (!isObject(data)) return false;
  for (const { name, shape, fallback } of fields) {
    const value = Object.hasOwn(data, name) ? data[name] : undefined;
    if (value === undefined || value === null) {
      if (value !== fallback) return false;
    } else if (shape.is === 'object') {
      if (!hasAll(value, shape.fields)) return false;
    } else if (shape.is === 'list' && shape.of.is === 'object' && Array.isArray(value)) {
      const { fields: inner } = shape.of;
      if (!value.every((part) => hasAll(part, inner))) return false;
    }
  }
  return true;
}

function normalObject(members: Map<string, string>, fields: readonly Field[]): string {
  const parts: string[] = [];
  for (const { name, shape, fallback, omit } of fields) {
    const found = members.get(name) ?? 'null';
    members.delete(name);
    const part = found === 'null' ? JSON.stringify(fallback) : normalValue(found, shape);
    if (part === undefined || part === JSON.stringify(omit) || (name === 'rollout' && isEmptyRollout(part))) continue;
    parts.push(`"${name}":${part}`);
  }
  for (const name of [...members.keys()].sort()) parts.push(`${JSON.stringify(name)}:${members.get(name)}`);
  return `{${parts.join(',')}}`;
}

function normalValue(text: string, shape: Shape): string {
  if (shape.is === 'object' && text.startsWith('{')) return normalObject(membersOf(text), shape.fields);
  if (shape.is !== 'list' || shape.of.is !== 'object' || !text.startsWith('[')) return text;
  const { of } = shape;
  return `[${elementsOf(text)
    .map((element) => normalValue(element, of))
    .join(',')}]`;
}

/** A rollout without variations has no effect, and ld-relay omits it. */
function isEmptyRollout(text: string): boolean {
  return text.startsWith('{') && /^\[\s*\]$/.test(membersOf(text).get('variations') ?? '');
}
