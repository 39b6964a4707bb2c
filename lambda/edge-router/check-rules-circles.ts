/** Redirects that lead back to each other, checked at build: a browser would follow them until it gives up, and show an error. */
import type { CloudFrontRequest } from 'aws-lambda';
import { costOf, examplesOf, isMatched, type Piece, piecesOf, type Steps, spend } from './check-patterns.ts';
import { areSame, type Cookies, cookieSet, isAsWanted, onHost } from './check-rules-cookies.ts';
import {
  also,
  anyRequest,
  butNot,
  type Choice,
  type Conditions,
  choicesOf,
  conditionOf,
  conditionsOf,
  type Known,
  METHODS,
  patternsOf,
  placeOf,
  valuesOf,
} from './check-rules-together.ts';
import { type ConfigProblem, problem, remark } from './check-values.ts';
import type { ReadyRule } from './engine.ts';
import { DEFAULT_COOKIE_NAME, setHeader } from './headers.ts';
import { readyRules } from './ready-rules.ts';
import type { Redirect, Rule } from './rules.ts';

/** Fetch Standard, "HTTP-redirect fetch": browsers follow no more. */
const MOST_REDIRECTS = 20;

/** The most comparisons, which take about a second: enough for any real site, and a bound for anything else. */
const MOST_STEPS = { pages: 2_000_000, samples: 1_000_000, hosts: 300_000 };

/** What a part of the work may use of what is left, so that there is some for each: a page or a rule, and a round of pages. */
const SHARES = { one: 1 / 20, cut: 1 / 2, cutOfRound: 1 / 6, pattern: 1 / 4, round: 1 / 2 };

/** The most pages that are followed again because the steps were too few, in the end and after each round. */
const MOST_CUT = 1_000;
const MOST_CUT_OF_ROUND = 4;

/** For a rule that may be for a page, with its conditions; and for the answer of each of its variations. */
const RULE_STEPS = 100;
const VARIATION_STEPS = 20;

/** Who has as many to remove does not read of more. */
const MOST_CIRCLES = 10;

/** Of patterns for one page of a rule that is redirected to from another one; and of patterns for hosts. */
const MOST_PIECES = 20;

/** For each rule. */
const MOST_HOSTS = 100;

/** A page as a browser asks for it. */
interface Page {
  /** Undefined: one that no rule names. */
  readonly host: string | undefined;
  readonly uri: string;
  /** What targets wrote into the query. */
  readonly query: string;
  /** Whether the viewer's own query follows it. */
  readonly isQueryKept: boolean;
  /** The method, by that of the viewer's first request. */
  readonly methods: ReadonlyMap<string, string>;
}

/** On the way: a page, and what is known of viewers who get there. */
interface Stop {
  readonly page: Page;
  readonly known: Known;
  readonly cookies: Cookies;
}

interface Hop {
  readonly choice: Choice & { readonly action: { readonly redirect: Redirect } };
  readonly from: Page;
  /** Of viewers there. */
  readonly cookies: Cookies;
  /** As the viewer gets it. */
  readonly location: string;
}

interface SiteNames {
  readonly cookieName?: string;
  readonly domainNames?: readonly string[];
}

/**
 * Circles of redirects of valid rules, each once, at most ten, and rules of which no page could be followed. Sample pages, which match the
 * paths that rules name, are followed as viewers would be redirected, for each value that flags may have. Headers stay the same from page to
 * page, cookies that no answer sets, and a flag's value.
 */
export function circleProblems(rules: readonly Rule[], site: SiteNames): ConfigProblem[] {
  const steps = { left: MOST_STEPS.pages };
  const circles = createCircles();
  const follow = createFollow(rules, site, circles);
  const open = new Set(rules.filter((rule) => redirectsOf(rule).length > 0));
  const cut: SamplePage[] = [];
  const followed = (sample: SamplePage, all: Steps, share: number) => {
    const isDone = withPart(all, share, (part) => {
      follow(sample.page, part);
      return part.left >= 0;
    });
    if (isDone) open.delete(sample.rule);
    else if (cut.length < MOST_CUT) cut.push(sample);
  };
  const goThrough = (pages: Iterator<SamplePage>, all: Steps) => {
    while (!circles.isFull() && spend(all)) {
      const { done, value } = pages.next();
      if (done) return;
      followed(value, all, SHARES.one);
    }
  };
  /** Those for which the steps were too few, with more: long ways often have no end. */
  const goThroughCut = (share: number, most = cut.length) => {
    for (const sample of cut.splice(0, most)) if (!circles.isFull()) followed(sample, steps, share);
  };
  /** One of each rule, with as many steps each. */
  const goThroughFirst = (pages: Iterator<SamplePage>) => {
    const count = open.size;
    withPart(steps, SHARES.round, (part) => {
      for (let seen = 0; seen < count && !circles.isFull(); seen += 1) {
        const { done, value } = pages.next();
        if (!done) followed(value, part, 1 / (count - seen));
      }
    });
    goThroughCut(SHARES.one);
  };

  const rounds: Iterator<SamplePage>[] = [];
  for (const pages of roundsOf(rules, site)) {
    if (rounds.length === 0) goThroughFirst(pages);
    withPart(steps, SHARES.round, (part) => goThrough(pages, part));
    goThroughCut(SHARES.cutOfRound, MOST_CUT_OF_ROUND);
    rounds.push(pages);
  }
  goThroughCut(SHARES.cut);
  for (const pages of rounds) goThrough(pages, steps);
  const left = circles.isFull() ? [] : rules.flatMap((rule, index) => (open.has(rule) ? [`rules[${index}]`] : []));
  return [...circles.all().map(describe), ...(left.length > 0 ? [tooMuch(left)] : [])];
}

/** Does work with a share of the steps, and takes back what is left of it. */
function withPart<T>(steps: Steps, share: number, work: (part: Steps) => T): T {
  const part = { left: Math.floor(Math.max(0, steps.left) * share) };
  steps.left -= part.left;
  const result = work(part);
  steps.left += part.left;
  return result;
}

function tooMuch(rules: readonly string[]): ConfigProblem {
  const named = rules.slice(0, 5).join(', ');
  const others = rules.length > 5 ? ` and ${rules.length - 5} others` : '';
  return remark(
    'rules',
    `there is too much to follow, so that it is unknown whether redirects of ${named}${others} lead back to where they began: expected fewer paths, hosts and variations that redirect, or narrower when`,
  );
}

/** The circles that were found, of which none contains another one. */
interface Circles {
  found(circle: readonly Hop[]): void;
  /** Whether these hops contain one of them. */
  isFound(hops: readonly Hop[], steps: Steps): boolean;
  isFull(): boolean;
  all(): readonly (readonly Hop[])[];
}

function createCircles(): Circles {
  let circles: { readonly hops: readonly Hop[]; readonly names: ReadonlySet<string> }[] = [];
  const namesOf = (hops: readonly Hop[]) => new Set(hops.map(({ choice }) => nameOf(choice)));
  const isIn = (names: ReadonlySet<string>, others: ReadonlySet<string>) =>
    [...names].every((name) => others.has(name));
  return {
    found(circle) {
      const names = namesOf(circle);
      const first = Math.min(...circle.map(({ choice }) => choice.rule));
      const start = circle.findIndex(({ choice }) => choice.rule === first);
      const others = circles.filter((known) => !isIn(names, known.names));
      circles = [...others, { hops: [...circle.slice(start), ...circle.slice(0, start)], names }];
    },
    isFound(hops, steps) {
      if (circles.length === 0) return false;
      spend(steps, hops.length * (1 + circles.length));
      const names = namesOf(hops);
      return circles.some((known) => isIn(known.names, names));
    },
    isFull: () => circles.length >= MOST_CIRCLES,
    all: () => circles.map(({ hops }) => hops),
  };
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

/** Follows all redirects from a page, as far as the steps go, except those of circles that were found. */
function createFollow(
  rules: readonly Rule[],
  { cookieName = DEFAULT_COOKIE_NAME, domainNames = [] }: SiteNames,
  circles: Circles,
): (page: Page, steps: Steps) => void {
  // The other conditions are compared as patterns, since a sample has no cookies and headers.
  const ready = readyRules(
    rules.map((rule) => ({ ...rule, when: rule.when?.path === undefined ? {} : { path: rule.when.path } })),
  );
  const all = choicesOf(rules);
  const values = valuesOf(rules);
  const paths = rules.map(({ when }) => patternsOf(when?.path) ?? ['*']);
  const hosts = siteHosts(rules, domainNames);
  const wantedCookies = new Set(rules.flatMap(({ when }) => Object.keys(when?.cookie ?? {})));

  const follow = (stop: Stop, hops: readonly Hop[], steps: Steps): void => {
    const { page } = stop;
    let { known } = stop;
    // Cookies that answers of rules without an end may set.
    const others = new Set<string>();
    for (const [index, rule] of rules.entries()) {
      if (
        !spend(
          steps,
          paths[index]?.reduce((sum, path) => sum + costOf(path, page.uri), 0),
        )
      )
        return;
      const rest = ready[index]?.matches(requestOf(page));
      if (rest === undefined || !isHost(patternsOf(rule.when?.host), page.host, steps)) continue;
      const choices = all[index] ?? [];
      const cost = RULE_STEPS * (1 + hops.length) + page.query.length + VARIATION_STEPS * choices.length;
      if (!spend(steps, cost)) return;

      const ends = choices.flatMap((choice) => endOf(choice, ready[index], stop, rest));
      const conditions = ends.length > 0 ? viewerConditions(rule, stop, steps) : [];
      if (conditions === 'none') continue;
      // Whether viewers get further cannot be said.
      if (conditions === 'unknown') return;
      const matched = also(known, conditions, steps);
      if (!matched) continue;
      for (const { choice, hop } of ends) {
        const viewers = hop && also(matched, [conditionOf(rule, [choice], values)], steps);
        // Without steps, viewers of whom there may be none.
        if (!spend(steps, VARIATION_STEPS + hops.length)) return;
        if (!viewers) continue;
        goOn({ page: nextOf(hop), known: viewers, cookies: cookiesAfter(hop, viewers, others) }, [...hops, hop], steps);
        // Such as the one that was just found.
        if (circles.isFull() || circles.isFound(hops, steps)) return;
      }
      for (const { action } of choices) {
        const set = action.redirect || action.answer ? undefined : cookieSet(action.responseHeaders, page);
        if (set) others.add(set[0]);
      }
      if (ends.length === 0) continue;
      // No later rule is tried for the others.
      const ended = conditionOf(
        rule,
        ends.map(({ choice }) => choice),
        values,
      );
      const further = butNot(known, [[...conditions, ended]], steps);
      if (!further) return;
      known = further;
    }
  };

  /** Of viewers who were led on. `others` may have been set as well, before the redirect's own. */
  function cookiesAfter(
    { choice, from, cookies, location }: Hop,
    viewers: Known,
    others: ReadonlySet<string>,
  ): Cookies {
    const after = new Map(cookies);
    // The router sets its own to viewers who have none.
    const own = viewers.places.get(placeOf('cookie', cookieName))?.absent === false ? [] : [cookieName];
    for (const name of [...others, ...own]) if (wantedCookies.has(name)) after.set(name, { value: undefined });
    const set = cookieSet(choice.action.responseHeaders, from);
    if (set && wantedCookies.has(set[0])) after.set(...set);
    const { host } = nextOf({ choice, from, cookies, location });
    return host === from.host ? after : onHost(after, host);
  }

  function goOn(stop: Stop, hops: readonly Hop[], steps: Steps): void {
    const { page, known, cookies } = stop;
    const hop = hops.at(-1);
    if (!hop || circles.isFound(hops, steps)) return;
    const again = hops.findIndex((one) => isSame(one.from, page, known) && areSame(one.cookies, cookies));
    if (again >= 0) circles.found(hops.slice(again));
    else if (hops.length > MOST_REDIRECTS) {
      const round = firstRound(hops);
      if (round) circles.found(round);
    } else if (page.host === undefined || page.host === hop.from.host || isHost(hosts, page.host, steps))
      follow(stop, hops, steps);
  }

  return (page, steps) => follow({ page, known: anyRequest(values), cookies: new Map() }, [], steps);
}

/** A choice that ends what happens to this page, and where it leads. Not a redirect to the same page, which is left out. */
function endOf(
  choice: Choice,
  ready: ReadyRule | undefined,
  stop: Stop,
  rest: string,
): { readonly choice: Choice; readonly hop: Hop | undefined }[] {
  if (choice.action.answer) return [{ choice, hop: undefined }];
  const hop = redirected(choice, ready, stop, rest);
  return hop ? [{ choice, hop }] : [];
}

/**
 * Of redirects to another page each time, those until a variation, the last one's, redirects for the second time; all, if it does not. Undefined
 * if its pages get shorter, so that they end.
 */
function firstRound(hops: readonly Hop[]): readonly Hop[] | undefined {
  const last = hops.at(-1);
  const rounds = hops.flatMap((hop, index) => (last && nameOf(hop.choice) === nameOf(last.choice) ? [index] : []));
  const lengthAt = (index = 0) => (hops[index]?.from.uri.length ?? 0) + (hops[index]?.from.query.length ?? 0);
  const [first, second] = rounds;
  if (second === undefined) return hops;
  return lengthAt(rounds.at(-2)) > lengthAt(rounds.at(-1)) ? undefined : hops.slice(first, second);
}

function isSame(one: Page, two: Page, known: Known): boolean {
  const methods = known.places.get('method')?.patterns ?? METHODS;
  return (
    one.host === two.host &&
    one.uri === two.uri &&
    one.query === two.query &&
    one.isQueryKept === two.isQueryKept &&
    methods.every((method) => one.methods.get(method) === two.methods.get(method))
  );
}

function requestOf({ host, uri, query }: Page): CloudFrontRequest {
  const headers: CloudFrontRequest['headers'] = {};
  if (host !== undefined) setHeader(headers, 'host', host);
  return { clientIp: '', method: 'GET', uri, querystring: query, headers };
}

/** Of a choice that redirects this page. */
function redirected(
  choice: Choice,
  ready: ReadyRule | undefined,
  { page: from, cookies }: Stop,
  rest: string,
): Hop | undefined {
  const { redirect } = choice.action;
  const answer = ready?.variations.get(choice.name ?? '')?.respond?.(requestOf(from), rest);
  const location = answer?.headers?.location?.[0]?.value;
  return redirect && location !== undefined
    ? { choice: { ...choice, action: { ...choice.action, redirect } }, from, cookies, location }
    : undefined;
}

/** Fetch Standard, "HTTP-redirect fetch": after 301 and 302, a POST becomes a GET; after 303, everything but HEAD. */
function nextOf({ choice, from, location }: Hop): Page {
  const { status = 302, query: kept = 'keep' } = choice.action.redirect;
  const [, host = from.host, uri = '/', query = ''] = /^(?:https?:\/\/([^/]+))?(\/[^?]*)\??(.*)$/.exec(location) ?? [];
  const becomesGet = (method: string) => (status === 303 ? method !== 'HEAD' : status < 303 && method === 'POST');
  return {
    host,
    uri,
    query,
    isQueryKept: from.isQueryKept && kept === 'keep',
    methods: new Map([...from.methods].map(([first, method]) => [first, becomesGet(method) ? 'GET' : method])),
  };
}

/**
 * What viewers of a page that a rule's path and host match must be, besides, for the rule to match. `none`: no viewer can be; `unknown`: it is
 * for what answers may have changed.
 */
function viewerConditions({ when }: Rule, { page, cookies }: Stop, steps: Steps): Conditions | 'none' | 'unknown' {
  const { method, header, cookie, query } = when ?? {};
  const written = new URLSearchParams(page.query);
  const found: Conditions[number][] = [...conditionsOf({ ...(header && { header }) })];
  const firsts = [...page.methods].filter(([, now]) => method === undefined || [method].flat().includes(now));
  if (firsts.length === 0) return 'none';
  if (method !== undefined) found.push(['method', firsts.map(([first]) => first)]);
  for (const [name, wanted] of Object.entries(query ?? {})) {
    const value = written.get(name);
    const isThere = value !== null;
    if (!isThere && page.isQueryKept) found.push([placeOf('query', name), wanted]);
    else if (typeof wanted === 'boolean' ? wanted !== isThere : !isThere || !isMatched([wanted].flat(), value, steps))
      return 'none';
  }
  let isKnown = true;
  for (const [name, wanted] of Object.entries(cookie ?? {})) {
    const kept = cookies.get(name);
    const fulfils = kept && isAsWanted(kept, wanted, steps);
    if (fulfils === false) return 'none';
    if (!kept) found.push([placeOf('cookie', name), wanted]);
    else if (fulfils === undefined) isKnown = false;
  }
  return isKnown ? found : 'unknown';
}

/** Whether a host, or one that no rule names, matches a pattern. */
function isHost(patterns: readonly string[] | undefined, host: string | undefined, steps: Steps): boolean {
  return patterns === undefined || isMatched(patterns, host ?? '\u0001', steps);
}

/** Paths of a rule that redirects them. */
interface Sample {
  readonly rule: Rule;
  /** A pattern. */
  readonly path: string;
  /** What the rule's `*` stands for in it. */
  readonly rest: string;
}

interface SamplePage {
  readonly rule: Rule;
  readonly page: Page;
}

/**
 * Rounds of pages that rules redirect: of every path that they name, and then of those that redirects lead to, such as `/b/x.html` if
 * `/a/*.html` leads to `/b/*.html` and `/b/*` leads on. A viewer who goes round in a circle is on such a page after one round. In each of
 * them, one page of every rule comes first.
 */
function* roundsOf(rules: readonly Rule[], { domainNames = [] }: SiteNames): Generator<Iterator<SamplePage>> {
  const steps = { left: MOST_STEPS.samples };
  const redirecting = rules.filter((rule) => redirectsOf(rule).length > 0);
  const letter = letterOutside(
    rules.flatMap((rule) => [...(patternsOf(rule.when?.path) ?? []), ...targetsOf(rule, '*')]),
  );
  const hosts = hostsOf(rules, domainNames, { left: MOST_STEPS.hosts });
  const methods = new Map(METHODS.map((method) => [method, method]));
  const known = new Set<string>();

  function within(path: string, all: Steps): Sample[] {
    const found: Sample[] = [];
    for (const [index, rule] of redirecting.entries())
      for (const pattern of patternsOf(rule.when?.path) ?? ['/*'])
        for (const piece of withPart(all, SHARES.pattern, (part) => firstPieces(path, pattern, part))) {
          const key = JSON.stringify([index, piece.pattern, piece.rest]);
          if (!known.has(key)) found.push({ rule, path: piece.pattern, rest: piece.rest });
          known.add(key);
        }
    return found;
  }

  function* pagesOf({ rule, path }: Sample): Generator<SamplePage> {
    const uris = examplesOf(path, letter).filter((uri) => !DOTS.test(uri));
    const own = hosts(rule);
    for (let sum = 0; sum < uris.length + own.length - 1; sum += 1)
      for (const [index, uri] of uris.slice(0, sum + 1).entries())
        if (sum - index < own.length)
          yield { rule, page: { host: own[sum - index], uri, query: '', isQueryKept: true, methods } };
  }

  let open = within('/*', steps);
  const rounds = Math.min(MOST_REDIRECTS, redirecting.length + 2);
  for (let round = 0; open.length > 0 && round < rounds && steps.left >= 0; round += 1) {
    const samples = new Map<Rule, Sample[]>();
    for (const sample of open) samples.set(sample.rule, [...(samples.get(sample.rule) ?? []), sample]);
    yield inTurn([...samples.values()].map((own) => inTurn(own.map(pagesOf))));
    const targets = open.flatMap(({ rule, rest }) => targetsOf(rule, rest));
    open = withPart(steps, SHARES.round, (part) =>
      targets.flatMap((path, index) => withPart(part, 1 / (targets.length - index), (own) => within(path, own))),
    );
  }
}

/** One value of each, then the next one of each, and so on. */
function* inTurn<T>(all: readonly Iterator<T>[]): Generator<T> {
  let open = all;
  while (open.length > 0) {
    const further: Iterator<T>[] = [];
    for (const one of open) {
      const { done, value } = one.next();
      if (done) continue;
      yield value;
      further.push(one);
    }
    open = further;
  }
}

/** What browsers leave out of a path. */
const DOTS = /\/(?:\.|%2e){1,2}(?:\/|$)/i;

function redirectsOf({ variations }: Rule): Redirect[] {
  return Object.values(variations).flatMap(({ redirect }) => redirect ?? []);
}

/** The paths to which a rule redirects, where its `*` stands for `rest`. */
function targetsOf(rule: Rule, rest: string): string[] {
  return redirectsOf(rule).flatMap(({ to }) => {
    const path = /^(?:https?:\/\/[^/]+)?(\/[^?]*)/.exec(to)?.[1];
    return path === undefined ? [] : [path.replace('*', () => rest).replace(/^\/{2,}/, '/')];
  });
}

/** Patterns for the hosts that are known to belong to this site. A pattern for every host does not tell which they are. */
function siteHosts(rules: readonly Rule[], domainNames: readonly string[]): string[] {
  return [...domainNames, ...rules.flatMap(({ when }) => patternsOf(when?.host) ?? [])].filter((one) =>
    /[^*?]/.test(one),
  );
}

/** By rule: the hosts that it matches and that make a difference to rules, up to a limit. */
function hostsOf(
  rules: readonly Rule[],
  domainNames: readonly string[],
  steps: Steps,
): (rule: Rule) => readonly (string | undefined)[] {
  const patterns = [...new Set(rules.flatMap(({ when }) => patternsOf(when?.host) ?? []))];
  const letter = letterOutside([...patterns, ...domainNames]);
  const ours = siteHosts(rules, domainNames);
  const named = rules.flatMap(redirectsOf).flatMap(({ to }) => /^https?:\/\/([^/]+)/.exec(to)?.[1] ?? []);
  const others = [...domainNames, ...named.filter((host) => isHost(ours, host, steps)), ...patterns];
  const examples = (all: readonly string[]) => all.flatMap((one) => examplesOf(one, letter).slice(0, 1));
  const all = patterns.length === 0 ? [undefined] : [undefined, ...new Set(examples(others))].slice(0, MOST_HOSTS);
  const byRule = new Map<Rule, readonly (string | undefined)[]>();
  const makeHosts = (own: readonly string[]) => {
    const both = own
      .filter((one) => /[*?]/.test(one))
      .flatMap((one) => withPart(steps, SHARES.one, (part) => others.flatMap((two) => firstPieces(one, two, part))))
      .map(({ pattern }) => pattern);
    const hosts = new Set<string | undefined>(examples([...own, ...both]));
    if (isHost(own, undefined, steps)) hosts.add(undefined);
    return [...hosts].slice(0, MOST_HOSTS);
  };
  return (rule) => {
    const own = patternsOf(rule.when?.host);
    const hosts = byRule.get(rule) ?? (own ? makeHosts(own) : all);
    byRule.set(rule, hosts);
    return hosts;
  };
}

function firstPieces(one: string, two: string, steps: Steps): Piece[] {
  const pieces: Piece[] = [];
  for (const piece of piecesOf(one, two, steps)) {
    pieces.push(piece);
    if (pieces.length >= MOST_PIECES) break;
  }
  return pieces;
}

/** One that none of the texts has, or one that neither patterns nor targets can have. */
function letterOutside(texts: readonly string[]): string {
  return [...'xyzwvuqkj0'].find((letter) => texts.every((text) => !text.includes(letter))) ?? '|';
}
