/**
 * What browser and mobile SDKs ask for, as a load balancer's path patterns: all that a public load balancer lets
 * through. Source: `docs/endpoints.md`.
 */
export const clientSidePaths: readonly string[] = [
  // Mobile: streams, evaluation, events.
  '/meval',
  '/meval/*',
  '/mping',
  '/msdk/*',
  '/mobile',
  '/mobile/*',
  // Browsers: streams, evaluation, goals, events.
  '/eval/*',
  '/ping/*',
  '/sdk/evalx/*',
  '/sdk/goals/*',
  '/events/bulk/*',
  '/events/diagnostic/*',
  '/a/*',
  // Both, by LaunchDarkly's newer protocol.
  '/sdk/poll/eval',
  '/sdk/poll/eval/*',
  '/sdk/stream/eval',
  '/sdk/stream/eval/*',
];

/** What lies below those and yet belongs to servers: evaluation by SDK key, which `/sdk/evalx/*` would let through. */
export const serverSidePaths: readonly string[] = [
  '/sdk/evalx/contexts/*',
  '/sdk/evalx/users/*',
  '/sdk/evalx/context',
  '/sdk/evalx/user',
];

/** A listener rule takes five values. AWS: Application Load Balancer quotas, condition values per rule. */
export const VALUES_PER_RULE = 5;

export function inGroups<T>(values: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(values.length / size) }, (_, index) =>
    values.slice(index * size, (index + 1) * size),
  );
}
