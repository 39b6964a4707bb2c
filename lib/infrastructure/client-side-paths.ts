/**
 * The requests of browser and mobile SDKs, as load balancer path patterns: all that a public load balancer accepts. Source: `docs/endpoints.md`.
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
  // Both, with LaunchDarkly's newer protocol.
  '/sdk/poll/eval',
  '/sdk/poll/eval/*',
  '/sdk/stream/eval',
  '/sdk/stream/eval/*',
  // OpenFeature's providers in browsers and mobile apps.
  '/ofrep/*',
];

/** Server-side paths that match the patterns above: evaluation by SDK key, which `/sdk/evalx/*` would accept. */
export const serverSidePaths: readonly string[] = [
  '/sdk/evalx/contexts/*',
  '/sdk/evalx/users/*',
  '/sdk/evalx/context',
  '/sdk/evalx/user',
];

/** A listener rule accepts five values. AWS: Application Load Balancer quotas, condition values per rule. */
export const VALUES_PER_RULE = 5;

export function inGroups<T>(values: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(values.length / size) }, (_, index) =>
    values.slice(index * size, (index + 1) * size),
  );
}
