/**
 * What the router does with a request, by flags: types, and what the functions must agree on. `check-rules.ts` defines what
 * is accepted.
 */
import { createHash } from 'node:crypto';

/**
 * A flag, the requests that it applies to, and what each of its variations does. Rules are tried in order. The first origin, the first
 * path, and the first answer or redirect are used, while headers of several rules accumulate.
 */
export interface Rule {
  /** All conditions must match. Default: every request. */
  readonly when?: When;
  readonly flagKey: string;
  /** By the flag's value: a string, or `true`, `false` or a number in quotes. */
  readonly variations: Readonly<Record<string, Action>>;
  /** The variation of requests for which the flag cannot be evaluated, or has a value without a variation. Default: nothing is done. */
  readonly otherwise?: string;
}

/** `*` stands for any text, `?` for one character; of several patterns one must match. */
export type Patterns = string | readonly string[];

/** For a header, cookie or query parameter, `true` and `false` test whether it is present. */
export type Presence = Patterns | boolean;

/** The request as the viewer sent it. */
export interface When {
  /** Case-sensitive, percent-encoded, without the query. */
  readonly path?: Patterns;
  /** In lower case, with the port if there is one. */
  readonly host?: Patterns;
  readonly method?: Patterns;
  /** By name, in lower case. */
  readonly header?: Readonly<Record<string, Presence>>;
  readonly cookie?: Readonly<Record<string, Presence>>;
  /** Decoded. */
  readonly query?: Readonly<Record<string, Presence>>;
}

export type Action = PassOn | ToRedirect | ToAnswer;

interface ToViewer {
  /** In lower case. They replace those of the origin, except `set-cookie`, which is added. */
  readonly responseHeaders?: Headers;
}

/** The request goes to an origin. Without properties, nothing changes. */
export interface PassOn extends ToViewer {
  /** One of the origins. */
  readonly origin?: string;
  /** The path for the origin and the cache. `*` stands for the same text as in a redirect. */
  readonly rewrite?: string;
  /** Names of your own, in lower case. Viewers cannot send them. */
  readonly requestHeaders?: Headers;
  readonly redirect?: never;
  readonly answer?: never;
}

type NoneOf<T> = { readonly [Name in Exclude<keyof T, keyof ToViewer>]?: never };

/** The viewer is sent elsewhere. */
export type ToRedirect = ToViewer & NoneOf<Omit<PassOn, 'redirect'>> & { readonly redirect: Redirect };

/** The viewer is answered without an origin. */
export type ToAnswer = ToViewer & NoneOf<Omit<PassOn, 'answer'>> & { readonly answer: Answer };

export interface Redirect {
  /**
   * A path, or an address with https:// or http://. `*` stands for what the last `*` of the rule's path matched; in a rule without a
   * path, for the whole path without its first slash.
   */
  readonly to: string;
  /** Default 302. Browsers keep 301 and 308, whatever the flag says later. */
  readonly status?: 301 | 302 | 303 | 307 | 308;
  /** What happens to the query. Default `keep`. */
  readonly query?: 'keep' | 'drop';
}

/** At most 40 KB with its headers. Its type is text/plain, unless `responseHeaders` name another. */
export interface Answer {
  /** 200 to 599. */
  readonly status: number;
  readonly body?: string;
}

/** Where a value of the request is found. */
export type From = { readonly cookie: string } | { readonly header: string } | { readonly query: string };

/** Attributes by name. Those that a request lacks, and those of more than 1,024 characters, are left out. */
export type Attributes = Readonly<Record<string, From>>;

/** A context besides the viewer. It is left out if the request has no key for it. */
export interface OtherContext {
  readonly key: From;
  readonly attributes?: Attributes;
}

/** What flags can see of a request besides the viewer's own attributes. */
export interface ContextSettings {
  /** Further attributes of the viewer. */
  readonly attributes?: Attributes;
  /** Further contexts by kind. */
  readonly contexts?: Readonly<Record<string, OtherContext>>;
}

/** The keys of all flags that decide. */
export function flagKeysOf({
  rules = [],
  flagKey,
}: {
  readonly rules?: readonly Rule[] | undefined;
  readonly flagKey?: string | undefined;
}): string[] {
  return [...new Set([...rules.map((rule) => rule.flagKey), ...(flagKey === undefined ? [] : [flagKey])])];
}

/** Values by name. */
export type Headers = Readonly<Record<string, string>>;

/**
 * Names the headers of an action, in the cache key too. It is made of the headers themselves, so that answers that were cached for an
 * earlier configuration are not used for another one.
 */
export function idOf(headers: Headers): string {
  return createHash('sha256').update(JSON.stringify(headers)).digest('hex').slice(0, 8);
}

/** All headers of one kind, by id: for the configurations of origin-request and viewer-response. */
export function headersById(
  rules: readonly Rule[],
  kind: 'requestHeaders' | 'responseHeaders',
): Readonly<Record<string, Headers>> {
  const actions = rules.flatMap(({ variations }) => Object.values(variations));
  const all = actions.flatMap(({ [kind]: headers }) => (headers ? [headers] : []));
  return Object.fromEntries(all.map((headers) => [idOf(headers), headers]));
}
