import type { JsonObject } from '../common/json.ts';

/** What LaunchDarkly sends has a few dozen. */
const MOST_NAMES = 1_000;
/** Those with more: looking for a name takes milliseconds, and one object is asked for many. */
const vast = new WeakSet<JsonObject>();

/** A member as Go, for which LaunchDarkly writes, reads it: by its exact name, else by its name in any case, among 1,000 at most. */
export function member(object: JsonObject, name: string): unknown {
  if (Object.hasOwn(object, name)) return object[name];
  if (vast.has(object)) return undefined;
  const names = Object.keys(object);
  if (names.length > MOST_NAMES) vast.add(object);
  const wanted = name.toLowerCase();
  const found = vast.has(object) ? undefined : names.find((key) => key.toLowerCase() === wanted);
  return found === undefined ? undefined : object[found];
}
