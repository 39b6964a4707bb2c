import { nearest } from '../../relay-task/common/edit-distance.ts';
import type { LocalRouterSettings } from './edge-file.ts';
import type { KnownFlags } from './known-flags.ts';

/** Flags and values that rules name and that do not exist: one sentence for each. */
export function describeUnknownFlags({ rules = [] }: LocalRouterSettings, flags: KnownFlags): string[] {
  const valuesOf = (key: string) =>
    Object.hasOwn(flags, key) ? (flags[key]?.variations ?? []).map((value) => String(value)) : undefined;
  const missing = (at: string, key: string, then: string) => {
    const near = nearest(key, Object.keys(flags));
    return `${at}=${key}: there is no such flag${near ? `; did you mean ${near}?` : '.'} ${then}`;
  };
  return rules.flatMap((rule, index) => {
    const at = `rules[${index}]`;
    const { otherwise } = rule;
    const then = `Until there is one, ${otherwise === undefined ? 'the rule does nothing' : `the variation ${otherwise} counts`}`;
    const values = valuesOf(rule.flagKey);
    if (!values) return [missing(`${at}.flagKey`, rule.flagKey, then)];
    return Object.keys(rule.variations)
      .filter((name) => !values.includes(name) && name !== otherwise)
      .map((name) => `${at}.variations.${name}: ${rule.flagKey} has no such value; it has ${values.join(', ')}`);
  });
}
