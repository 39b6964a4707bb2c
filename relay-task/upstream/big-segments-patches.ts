import { isObject } from '../common/json.ts';
import { parseInSlices } from '../common/sliced-json.ts';
import { parseTextInSlices } from '../common/sliced-text.ts';
import { inSlices } from '../common/slices.ts';
import type { BigSegmentPatch, MemberChanges } from '../ports.ts';

/**
 * Parses a list of patches, from the stream. Throws an Error that names the invalid patch and field. Lists and versions may be absent or
 * null. A patch without changes only moves the cursor. Yields after each patch, and within long texts.
 */
export function readPatches(text: string): Generator<void, BigSegmentPatch[]> {
  return patchesIn(parseTextInSlices(text));
}

/** The same, from a poll, for up to `mostValues` values of JSON. Rejects instead. */
export function parsePatchesInSlices(bytes: Buffer, mostValues?: number): Promise<BigSegmentPatch[]> {
  return inSlices(patchesIn(parseInSlices(bytes, { mostValues })));
}

function* patchesIn(parsing: Generator<void, unknown>): Generator<void, BigSegmentPatch[]> {
  let parsed: unknown;
  try {
    parsed = yield* parsing;
  } catch {
    throw new Error('Big Segments patches must be JSON, and fit into memory');
  }
  if (!Array.isArray(parsed)) throw new Error('Big Segments patches must be a list');
  const patches: BigSegmentPatch[] = [];
  for (const [index, patch] of parsed.entries()) {
    patches.push(parsePatch(patch, index));
    yield;
  }
  return patches;
}

function parsePatch(patch: unknown, index: number): BigSegmentPatch {
  const fail = (what: string): never => {
    throw new Error(`Big Segments patch ${index}: ${what}`);
  };
  if (!isObject(patch)) return fail('must be an object');
  const text = (name: string): string => {
    const value = patch[name] ?? '';
    return typeof value === 'string' && value.isWellFormed() ? value : fail(`"${name}" must be well-formed text`);
  };
  const changes = objectOf(patch.changes) ?? fail('"changes" must be an object');
  const members = (list: 'included' | 'excluded'): MemberChanges => {
    const both = objectOf(changes[list]) ?? fail(`"${list}" must be an object`);
    const hashes = (name: 'add' | 'remove'): string[] => {
      const found = both[name] ?? [];
      const isHash = (hash: unknown) => typeof hash === 'string' && hash !== '' && hash.isWellFormed();
      return Array.isArray(found) && found.every(isHash) ? found : fail(`"${list}.${name}" must be a list of hashes`);
    };
    return { add: hashes('add'), remove: hashes('remove') };
  };
  const included = members('included');
  const excluded = members('excluded');
  const segmentRef = text('segmentId');
  const changed = [included, excluded].some(({ add, remove }) => add.length + remove.length > 0);
  if (changed && segmentRef === '') fail('"segmentId" must name a segment and its generation');
  return { segmentRef, previousVersion: text('previousVersion'), version: text('version'), included, excluded };
}

/** Treats absent and null as an empty object. */
function objectOf(value: unknown): Record<string, unknown> | undefined {
  return isObject(value ?? {}) ? ((value ?? {}) as Record<string, unknown>) : undefined;
}
