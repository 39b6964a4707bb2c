/** The file of `EDGE_RULES`: the settings of a stage's router, as JSON. */
import { readFileSync } from 'node:fs';
import { inLines } from '../../lambda/edge-router/check-config.ts';
import { nearest } from '../../relay-task/common/edit-distance.ts';
import { describeJsonProblem } from '../../relay-task/upstream/json-problem.ts';
import { type LocalSiteSettings, siteProblems } from './edge-site.ts';
import { listed, SAMPLE_ORIGINS } from './routing.ts';

/** Settings of `edge` that the local edge has, by their names in a stage file. */
export type LocalRouterSettings = Omit<LocalSiteSettings, 'origins' | 'defaultVariant' | 'otherOrigins' | 'behaviors'>;

const KNOWN: Readonly<Record<Exclude<keyof LocalRouterSettings, 'flagKey'>, true>> = {
  rules: true,
  attributes: true,
  contexts: true,
  viewer: true,
  bootstrapFile: true,
  preview: true,
  shadow: true,
  behavior: true,
  variantHeader: true,
  cookieName: true,
  cookieMaxAgeSeconds: true,
  cookieDomain: true,
  cookiePath: true,
  cookieSameSite: true,
  cookieHttpOnly: true,
};

/**
 * Reads and checks a file: a list of rules, or an object of settings. Throws an Error that says what is wrong, where in the file if
 * it is not JSON, and each problem on a line of its own. `flagKey` is left out if nobody has chosen it and rules cover every request.
 */
export function readEdgeFile(
  file: string,
  {
    flagKey,
    chosen,
    origins = SAMPLE_ORIGINS,
  }: { readonly flagKey: string | undefined; readonly chosen: boolean; readonly origins?: readonly string[] },
): LocalRouterSettings {
  const read = parsed(file, origins);
  const router: LocalRouterSettings = Array.isArray(read) ? { rules: read } : (read as LocalRouterSettings);
  const problemsWith = (settings: LocalRouterSettings) => siteProblems({ ...settings, origins: anywhere });
  const anywhere = Object.fromEntries(origins.map((name) => [name, 'http://127.0.0.1']));
  const whole = { ...router, ...(flagKey !== undefined && { flagKey }) };
  const problems = problemsWith(whole);
  if (problems.length === 0) return whole;
  const isFlagIdle = problems.every(({ at }) => at === 'flagKey') && problemsWith(router).length === 0;
  if (isFlagIdle && !chosen) return router;
  throw new Error(`${inLines(problems)}${isFlagIdle ? ' (EDGE_FLAG=none leaves it out)' : ''}`);
}

/** A list, or an object of known settings. */
function parsed(file: string, origins: readonly string[]): object {
  const text = readFileSync(file, 'utf8').replace(/^\uFEFF/, '');
  const place = describeJsonProblem(text);
  if (place) throw new Error(`line ${place.line}, column ${place.column}: ${place.message}`);
  const value: unknown = JSON.parse(text);
  if (typeof value !== 'object' || value === null)
    throw new Error('expected a JSON list of rules, or an object with rules and other settings of edge');
  if (Array.isArray(value)) return value;
  const known = Object.keys(KNOWN);
  const unknown = Object.keys(value).filter((name) => !Object.hasOwn(KNOWN, name));
  if (unknown.length > 0) throw new Error(inLines(unknown.map((name) => describeUnknown(name, known, origins))));
  return value;
}

function describeUnknown(at: string, known: readonly string[], origins: readonly string[]) {
  const near = nearest(at, known);
  const expected = near ? `did you mean ${near}?` : `expected one of ${known.join(', ')}`;
  const fixed = ['origins', 'defaultVariant', 'otherOrigins', 'behaviors'].includes(at);
  return {
    at,
    message: fixed
      ? `${at} cannot be set here: the local edge has one behavior, with the origins ${listed(origins)}`
      : `${at} is unknown: ${expected}`,
  };
}
