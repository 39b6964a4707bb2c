/** The flags that a router uses until it has read the table, chosen when it is built. */
import { compileFlag, compileSegment } from '../../lib/evaluation/index.ts';
import type { HeldFlags } from '../edge-reader/index.ts';
import { isObject } from './check-values.ts';

/**
 * Of an environment as `GET /sdk/latest-all` gives it, the flags with these keys and all that they depend on. Throws an Error whose message lacks a
 * subject if it is not such an environment.
 */
export function bootstrapOf(environment: unknown, flagKeys: readonly string[]): HeldFlags {
  const { flags, segments = {} } = Object(environment) as Record<string, unknown>;
  if (!isObject(flags) || !isObject(segments))
    throw new Error('expected {"flags": {…}, "segments": {…}}, as GET /sdk/latest-all of the relay gives them');
  const kept = { flags: new Map<string, unknown>(), segments: new Map<string, unknown>() };
  const keep = (kind: 'flags' | 'segments', key: string): void => {
    const from = kind === 'flags' ? flags : segments;
    const data = Object.hasOwn(from, key) ? from[key] : undefined;
    if (data === undefined || kept[kind].has(key)) return;
    kept[kind].set(key, data);
    const uses = kind === 'flags' ? compileFlag(structuredClone(data)) : compileSegment(structuredClone(data));
    if ('prerequisiteKeys' in uses) for (const needed of uses.prerequisiteKeys) keep('flags', needed);
    for (const needed of uses.segmentKeys) keep('segments', needed);
  };
  for (const key of flagKeys) {
    if (!Object.hasOwn(flags, key) || !isObject(flags[key]))
      throw new Error(`it has no flag ${key}; it has ${shortened(Object.keys(flags))}`);
    keep('flags', key);
  }
  return { flags: Object.fromEntries(kept.flags), segments: Object.fromEntries(kept.segments) };
}

function shortened(names: readonly string[]): string {
  if (names.length === 0) return 'none';
  return names.length > 5 ? `${names.slice(0, 5).join(', ')} and ${names.length - 5} others` : names.join(', ');
}
