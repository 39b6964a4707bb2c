/** What the checks of the configuration have in common. */
import { describeReadHeaderProblem } from './header-rules.ts';
import { PREVIEW_COOKIES } from './preview-token.ts';

/** A value that would not work: its property, such as `origins.canary.port`, and a sentence about it. */
export interface ConfigProblem {
  readonly at: string;
  readonly message: string;
}

/** The problem or, of several, their number and each on a line of its own. */
export function inLines(problems: readonly Pick<ConfigProblem, 'message'>[]): string {
  const messages = problems.map(({ message }) => message);
  return messages.length === 1 ? messages.join() : [`${messages.length} problems:`, ...messages].join('\n  ');
}

/** What a value must be. Returns why it is not accepted; undefined if it is. */
export type Check = (value: unknown) => string | undefined;

export function problemsOf(at: string, value: unknown, check: Check): ConfigProblem[] {
  const wrong = value === undefined ? undefined : check(value);
  return wrong === undefined ? [] : [problem(at, value, wrong)];
}

export function problem(at: string, value: unknown, wrong: string): ConfigProblem {
  return { at, message: `${at}=${JSON.stringify(value)} is invalid: ${wrong}` };
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function isIntegerIn(value: unknown, min: number, max: number): boolean {
  return Number.isInteger(value) && (value as number) >= min && (value as number) <= max;
}

export function integer(min: number, max: number, unit = ' (s)'): Check {
  return (value) => (isIntegerIn(value, min, max) ? undefined : `expected an integer from ${min} to ${max}${unit}`);
}

export function pattern(allowed: RegExp, wanted: string): Check {
  return (value) => (typeof value === 'string' && allowed.test(value) ? undefined : wanted);
}

export function flag(value: unknown): string | undefined {
  return typeof value === 'boolean' ? undefined : 'expected true or false';
}

export function isHostName(value: unknown): value is string {
  return (
    typeof value === 'string' &&
    value.length <= 253 &&
    /^([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(value)
  );
}

export function originPath(value: unknown): string | undefined {
  return typeof value === 'string' &&
    value.length <= 255 &&
    /^\/(?:[\w\-./~!$&'()*+,;=:@]|%[0-9a-f]{2})*$/i.test(value) &&
    !value.endsWith('/')
    ? undefined
    : 'expected a URL-encoded path of at most 255 characters that starts with a slash and does not end with one';
}

/** A cookie of previews is a token, which the router takes out of requests. */
export function notOfPreviews(check: Check): Check {
  return (value) =>
    (PREVIEW_COOKIES as readonly unknown[]).includes(value)
      ? 'expected another name (preview links use this cookie)'
      : check(value);
}

/** The kinds of places in a request. */
export const PLACES = ['cookie', 'header', 'query'] as const;

/** What may name a place of each kind. `variantHeader` is the router's own. */
export function placeNames(variantHeader: unknown): Readonly<Record<(typeof PLACES)[number], Check>> {
  return {
    cookie: notOfPreviews(pattern(/^[\w!#$%&'*+.^`|~-]{1,64}$/, 'expected the name of a cookie')),
    header: (name) => describeReadHeaderProblem(name, variantHeader),
    query: pattern(/^[!-~]{1,128}$/, 'expected the name of a query parameter: 1 to 128 visible ASCII characters'),
  };
}

/** A cookie, a header or a query parameter by name, as far as `properties` name them. */
export function placeProblems(
  at: string,
  place: unknown,
  properties: readonly string[],
  variantHeader: unknown,
): ConfigProblem[] {
  const names = isObject(place) ? Object.keys(place) : [];
  const known = PLACES.filter((kind) => properties.includes(kind));
  const checks = placeNames(variantHeader);
  const kinds = known.filter((kind) => names.includes(kind));
  if (!isObject(place) || kinds.length !== 1 || names.some((name) => !properties.includes(name)))
    return [problem(at, place, `expected ${known.map((kind) => `{ ${kind}: name }`).join(' or ')}`)];
  const { includes } = place;
  return [
    ...kinds.flatMap((kind) => problemsOf(`${at}.${kind}`, place[kind], checks[kind])),
    ...problemsOf(`${at}.includes`, includes, pattern(/^[\s\S]{1,256}$/, 'expected a part of the value')),
  ];
}

/** An unknown property. */
export function unknownProblems(at: string, value: object, known: readonly string[]): ConfigProblem[] {
  const unknown = Object.keys(value).filter((name) => !known.includes(name));
  const path = (name: string) => (at === '' ? name : `${at}.${name}`);
  return unknown.map((name) => ({
    at: path(name),
    message: `${path(name)} is unknown: expected one of ${known.join(', ')}`,
  }));
}

/** Something that would do nothing, or something else than it says. */
export function remark(at: string, sentence: string): ConfigProblem {
  return { at, message: `${at}: ${sentence}` };
}

export const FLAG_KEY = pattern(/^[\w.-]{1,256}$/, 'expected a flag key: 1 to 256 characters from a-z A-Z 0-9 _ - .');

/** A name that is sent in headers. */
export const NAME = /^[\w.-]{1,64}$/;
