/** Redirects that lead back to each other, checked at build: a browser would follow them until it gives up, and show an error. */
import type { CloudFrontRequest } from 'aws-lambda';
import { agree, type Choice, canHold, choicesOf, isMatched, METHODS, patternsOf } from './check-rules-together.ts';
import { type ConfigProblem, problem } from './check-values.ts';
import type { ReadyRule } from './engine.ts';
import { DEFAULT_COOKIE_NAME, setHeader } from './headers.ts';
import { readyRules } from './ready-rules.ts';
import type { Presence, Redirect, Rule, When } from './rules.ts';

/** Fetch Standard, "HTTP-redirect fetch": browsers follow no more. */
const MOST_REDIRECTS = 20;

/** How many patterns pages are compared with, about a second: enough for any site, and bounded for what is none. */
const MOST_COMPARISONS = 5_000_000;

/** The conditions of a rule and of one that redirected before, in such comparisons. */
const CONDITIONS = 100;

/** What is known of a request. */
interface Page {
  /** Undefined: any of the site's. */
  readonly host: string | undefined;
  readonly uri: string;
  /** What targets wrote into the query. */
  readonly query: string;
  /** Whether the viewer's own query is behind it. */
  readonly isQueryKept: boolean;
  readonly methods: readonly string[];
}

interface Hop {
  readonly choice: Choice & { readonly action: { readonly redirect: Redirect } };
  readonly from: Page;
  /** As the viewer gets it. */
  readonly location: string;
}

interface SiteNames {
  readonly cookieName?: string;
  readonly domainNames?: readonly string[];
}

/**
 * Every circle of redirects of valid rules, once. Sample pages, which match the paths that rules name, are followed as viewers would
 * be redirected, for each value that flags may have. Cookies and headers stay the same from page to page, and so does a flag's value.
 */
export function circleProblems(rules: readonly Rule[], site: SiteNames): ConfigProblem[] {
  const circles: Hop[][] = [];
  const found = (circle: readonly Hop[]) => {
    const own = namesOf(circle);
    if (circles.some((known) => [...namesOf(known)].every((name) => own.has(name)))) return;
    const first = Math.min(...circle.map(({ choice }) => choice.rule));
    const start = circle.findIndex(({ choice }) => choice.rule === first);
    circles.push([...circle.slice(start), ...circle.slice(0, start)]);
  };
  const follow = createFollow(rules, site, found);
  for (const page of samples(rules)) if (!follow(page)) break;
  return circles.map(describe);
}

function namesOf(circle: readonly Hop[]): ReadonlySet<string> {
  return new Set(circle.map(({ choice }) => nameOf(choice)));
}

function nameOf({ rule, name }: Choice): string {
  return `rules[${rule}].variations.${name}.redirect`;
}

function describe(circle: readonly Hop[]): ConfigProblem {
  const [first] = circle as [Hop, ...Hop[]];
  const way = circle.slice(0, 4).map(({ location, choice }) => `${location} (${nameOf(choice)})`);
  const isInsecure = circle.some(({ location }) => location.startsWith('http://'));
  return problem(
    `${nameOf(first.choice)}.to`,
    first.choice.action.redirect.to,
    `viewers would be redirected again and again, from ${addressOf(first.from)} to ${way.join(', to ')}${isInsecure ? ', and by CloudFront from http:// to https://' : ''}: expected a page from which no redirect leads back. ${isInsecure ? 'Write https://, or narrow when' : 'Narrow when, or change to'}`,
  );
}

function addressOf({ host, uri, query }: Page): string {
  return `${host === undefined ? '' : `https://${host}`}${uri}${query && `?${query}`}`;
}

/** Follows all redirects from a page, and tells which ones lead in a circle. Returns false when it has compared as much as it may. */
function createFollow(
  rules: readonly Rule[],
  { cookieName = DEFAULT_COOKIE_NAME, domainNames = [] }: SiteNames,
  found: (circle: readonly Hop[]) => void,
): (page: Page) => boolean {
  // The other conditions are compared as patterns, since a sample has no cookies and headers.
  const ready = readyRules(
    rules.map((rule) => ({ ...rule, when: rule.when?.path === undefined ? {} : { path: rule.when.path } })),
  );
  const choices = choicesOf(rules);
  const changed = new Set([cookieName, ...cookiesOf(rules)]);
  // A pattern for every host says nothing of this site's.
  const hosts = [...domainNames, ...rules.flatMap(({ when }) => patternsOf(when?.host) ?? [])].filter(
    (one) => !isMatched(one, '\u0001'),
  );
  const patterns = rules.reduce((all, { when }) => all + (patternsOf(when?.path) ?? ['*']).length, 0);
  let comparisons = 0;

  const follow = (page: Page, hops: readonly Hop[]): void => {
    comparisons += patterns;
    for (const [index, rule] of rules.entries()) {
      const rest = ready[index]?.matches(requestOf(page));
      if (rest === undefined) continue;
      comparisons += CONDITIONS * (1 + hops.length);
      if (comparisons > MOST_COMPARISONS) return;
      const here = narrowed(page, rule.when, rules, hops, changed);
      if (here === undefined) continue;
      const open = (choices[index] ?? []).filter((one) => hops.every(({ choice }) => agree(rules, choice, one)));
      const ended = open.map((choice) => {
        const hop = redirected(choice, ready[index], here, rest);
        if (hop) goOn(hop, hops);
        return hop !== undefined || choice.action.answer !== undefined;
      });
      // No later rule is tried for this page.
      if (ended.length > 0 && ended.every(Boolean) && isSure(rule.when, page)) return;
    }
  };

  function goOn(hop: Hop, hops: readonly Hop[]): void {
    const all = [...hops, hop];
    const next = nextOf(hop);
    const again = all.findIndex(({ from }) => isSame(from, next));
    if (again >= 0) found(all.slice(again));
    else if (all.length >= MOST_REDIRECTS) found(firstRound(all, nameOf(hop.choice)));
    else if (next.host === undefined || next.host === hop.from.host || isMatched(hosts, next.host)) follow(next, all);
  }

  return (page) => {
    follow(page, []);
    return comparisons <= MOST_COMPARISONS;
  };
}

/** Of redirects to another page each time, those until a variation, the last one's, redirects for the second time. */
function firstRound(hops: readonly Hop[], name: string): readonly Hop[] {
  const [first, second] = hops.flatMap(({ choice }, index) => (nameOf(choice) === name ? [index] : []));
  return second === undefined ? hops : hops.slice(first, second);
}

function isSame(one: Page, two: Page): boolean {
  return one.host === two.host && one.uri === two.uri && one.query === two.query && one.isQueryKept === two.isQueryKept;
}

function requestOf({ host, uri, query }: Page): CloudFrontRequest {
  const headers: CloudFrontRequest['headers'] = {};
  if (host !== undefined) setHeader(headers, 'host', host);
  return { clientIp: '', method: 'GET', uri, querystring: query, headers };
}

/** Of a choice that redirects this page. */
function redirected(choice: Choice, ready: ReadyRule | undefined, from: Page, rest: string): Hop | undefined {
  const { redirect } = choice.action;
  const answer = ready?.variations.get(choice.name ?? '')?.respond?.(requestOf(from), rest);
  const location = answer?.headers?.location?.[0]?.value;
  return redirect && location !== undefined
    ? { choice: { ...choice, action: { redirect } }, from, location }
    : undefined;
}

/** Fetch Standard, "HTTP-redirect fetch": after 301 and 302, a POST becomes a GET; after 303, everything but HEAD. */
function nextOf({ choice, from, location }: Hop): Page {
  const { status = 302, query: kept = 'keep' } = choice.action.redirect;
  const [, host = from.host, uri = '/', query = ''] = /^(?:https?:\/\/([^/]+))?(\/[^?]*)\??(.*)$/.exec(location) ?? [];
  const becomesGet = (method: string) => (status === 303 ? method !== 'HEAD' : status < 303 && method === 'POST');
  return {
    ...{ host, uri, query },
    isQueryKept: from.isQueryKept && kept === 'keep',
    methods: [...new Set(from.methods.map((method) => (becomesGet(method) ? 'GET' : method)))],
  };
}

/** The page with what a rule's conditions say of it besides its path; undefined if the rule is not for it, or may not be. */
function narrowed(
  page: Page,
  when: When = {},
  rules: readonly Rule[],
  hops: readonly Hop[],
  changed: ReadonlySet<string>,
): Page | undefined {
  const methods =
    when.method === undefined ? page.methods : page.methods.filter((one) => [when.method].flat().includes(one));
  if (methods.length === 0) return undefined;
  if (page.host !== undefined && when.host !== undefined && !isMatched(when.host, page.host)) return undefined;
  const before = hops.map(({ choice }) => rules[choice.rule]?.when ?? {});
  // A cookie that answers set may have become another one.
  if (hops.length > 0 && Object.keys(when.cookie ?? {}).some((name) => changed.has(name))) return undefined;
  if (!before.every(({ header, cookie }) => canHold(header, when.header) && canHold(cookie, when.cookie)))
    return undefined;
  const written = new URLSearchParams(page.query);
  const fits = Object.entries(when.query ?? {}).every(([name, wanted]) => {
    const value = written.get(name);
    if (value !== null || !page.isQueryKept) return holds(wanted, value ?? undefined);
    return before.every(({ query }) => canHold(query, { [name]: wanted }));
  });
  const host = page.host ?? (when.host === undefined ? undefined : sampleOf(patternsOf(when.host)?.[0] ?? ''));
  return fits ? { ...page, host, methods } : undefined;
}

function holds(wanted: Presence, value: string | undefined): boolean {
  if (typeof wanted === 'boolean') return (value !== undefined) === wanted;
  return value !== undefined && isMatched(wanted, value);
}

/** Whether a rule that may be for a page certainly is. */
function isSure({ host, method, header, cookie, query }: When = {}, page: Page): boolean {
  return (host === undefined || page.host !== undefined) && !method && !header && !cookie && !query;
}

/** The names of all cookies that rules set. */
function cookiesOf(rules: readonly Rule[]): string[] {
  const actions = rules.flatMap(({ variations }) => Object.values(variations));
  return actions.flatMap(({ responseHeaders }) => responseHeaders?.['set-cookie']?.split('=', 1)[0]?.trim() ?? []);
}

/** Pages that match what a rule with redirects names, and those that redirects lead to, on each host that the rule names. */
function* samples(rules: readonly Rule[]): Generator<Page> {
  const redirectsOf = ({ variations }: Rule) => Object.values(variations).flatMap(({ redirect }) => redirect ?? []);
  const targets = rules.flatMap(redirectsOf).flatMap(({ to }) => /^(?:https?:\/\/[^/]+)?(\/[^?]*)/.exec(to)?.[1] ?? []);
  for (const rule of rules) {
    if (redirectsOf(rule).length === 0) continue;
    const hosts = [undefined, ...(patternsOf(rule.when?.host) ?? []).map((one) => sampleOf(one))];
    for (const path of new Set([...(patternsOf(rule.when?.path) ?? ['*']), ...targets]))
      for (const rest of ['x', ''])
        for (const host of hosts) {
          const uri = sampleOf(path, rest);
          yield { host, uri: uri.startsWith('/') ? uri : `/${uri}`, query: '', isQueryKept: true, methods: METHODS };
        }
  }
}

/** What its wildcards stand for is `rest`. */
function sampleOf(pattern: string, rest = 'x'): string {
  return pattern.replaceAll('*', rest).replaceAll('?', 'x');
}
