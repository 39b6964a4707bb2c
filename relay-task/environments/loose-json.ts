import type { JsonObject } from '../common/json.ts';

/** A member as Go, for which LaunchDarkly writes, reads it: by its exact name, else by its name in any case. */
export function member(object: JsonObject, name: string): unknown {
  if (Object.hasOwn(object, name)) return object[name];
  const wanted = name.toLowerCase();
  const found = Object.keys(object).find((key) => key.toLowerCase() === wanted);
  return found === undefined ? undefined : object[found];
}
