import { nearest } from '../../relay-task/common/edit-distance.ts';
import type { LocalRouterSettings } from './edge-file.ts';

/** Of flags as `GET /sdk/latest-all` gives them. */
export type KnownFlags = Readonly<Record<string, { readonly variations?: readonly unknown[] }>>;

/** Flags, values and origins that a router names and that do not exist: one sentence for each. */
export function describeUnknownFlags(
  { rules = [], flagKey }: LocalRouterSettings,
  flags: KnownFlags,
  origins: readonly string[],
): string[] {
  const valuesOf = (key: string) =>
    Object.hasOwn(flags, key) ? (flags[key]?.variations ?? []).map((value) => String(value)) : undefined;
  const missing = (at: string, key: string, then: string) => {
    const near = nearest(key, Object.keys(flags));
    return `${at}=${key}: there is no such flag${near ? `; did you mean ${near}?` : '.'} ${then}`;
  };
  const said = rules.flatMap((rule, index) => {
    const at = `rules[${index}]`;
    const { otherwise } = rule;
    const then = `Until there is one, ${otherwise === undefined ? 'the rule does nothing' : `the variation ${otherwise} counts`}`;
    const values = valuesOf(rule.flagKey);
    if (!values) return [missing(`${at}.flagKey`, rule.flagKey, then)];
    return Object.keys(rule.variations)
      .filter((name) => !values.includes(name) && name !== otherwise)
      .map((name) => `${at}.variations.${name}: ${rule.flagKey} has no such value; it has ${values.join(', ')}`);
  });
  if (flagKey === undefined) return said;
  const values = valuesOf(flagKey);
  if (!values) return [...said, missing('EDGE_FLAG', flagKey, `Until there is one, viewers go to ${origins[0]}`)];
  if (values.some((value) => origins.includes(value))) return said;
  return [
    ...said,
    `EDGE_FLAG=${flagKey}: no value of it names an origin; it has ${values.join(', ')}, and the origins are ${origins.join(' and ')}`,
  ];
}
