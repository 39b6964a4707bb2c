/**
 * What is checked of rules at build, against trial: random small rules, and all requests of a few letters, as viewers would send them.
 * `SEED=<text>` makes others.
 */
import { isDeepStrictEqual } from 'node:util';
import type { CloudFrontRequest } from 'aws-lambda';
import { circleProblems } from '../../../lambda/edge-router/check-rules-circles.ts';
import { sizeProblems } from '../../../lambda/edge-router/check-rules-sizes.ts';
import type { Rule } from '../../../lambda/edge-router/index.ts';
import { readyRules } from '../../../lambda/edge-router/ready-rules.ts';
import { RandomChoices, randomFrom } from '../../support/random.ts';

const seed = process.env.SEED ?? 'trial';

/** Paths of at most so many letters. No rule names the letter x. */
const pagesUpTo = (length: number) =>
  Array.from({ length }).reduce<string[]>(
    (all) => ['/', ...all.flatMap((uri) => ['a', 'b', 'x'].map((letter) => uri + letter))],
    ['/'],
  );
const pages = pagesUpTo(4);
/** As long as two patterns together: `/a*a*` and `/ab**` and `/*bb` first match `/ababb`. */
const longPages = pagesUpTo(6);
const texts = ['p', 'q', 'r', 'pr', 'other', undefined];
const values = ['blue', 'pink', 'grey'];

interface Viewer {
  readonly method: string;
  /** Of the header x-c. */
  readonly text: string | undefined;
  /** Of the cookie c. */
  readonly kept: string | undefined;
  /** By flag. */
  readonly flags: Readonly<Record<string, string>>;
}

/** One of each kind of viewers that rules can tell apart. */
function viewersOf(rules: readonly Rule[]): Viewer[] {
  const said = JSON.stringify(rules);
  const keys = ['f', 'g'].filter((key) => rules.some(({ flagKey }) => flagKey === key));
  const flags = keys.reduce<Record<string, string>[]>(
    (all, key) => all.flatMap((one) => values.map((value) => ({ ...one, [key]: value }))),
    [{}],
  );
  return (said.includes('"method"') ? ['GET', 'POST', 'PUT', 'HEAD'] : ['GET']).flatMap((method) =>
    (said.includes('"x-c"') ? texts : [undefined]).flatMap((text) =>
      (said.includes('"cookie"') ? texts : [undefined]).flatMap((kept) =>
        flags.map((flags) => ({ method, text, kept, flags })),
      ),
    ),
  );
}

const requestOf = (uri: string, { method, text, kept }: Viewer): CloudFrontRequest => ({
  ...{ clientIp: '', method, uri, querystring: '' },
  headers: {
    ...(text !== undefined && { 'x-c': [{ key: 'X-C', value: text }] }),
    ...(kept !== undefined && { cookie: [{ key: 'Cookie', value: `c=${kept}` }] }),
  },
});

/** The rules that match, each with the name of the variation that counts, until one responds. */
function decided(rules: readonly Rule[], uri: string, viewer: Viewer) {
  const request = requestOf(uri, viewer);
  const found: { rule: number; name: string | undefined }[] = [];
  for (const [index, { matches, variations, otherwise, flagKey }] of ready(rules).entries()) {
    const rest = matches(request);
    if (rest === undefined) continue;
    const value = viewer.flags[flagKey] ?? '';
    const name = variations.has(value) ? value : otherwise;
    found.push({ rule: index, name });
    const response = variations.get(name ?? '')?.respond?.(request, rest);
    if (response) return { found, response };
  }
  return { found, response: undefined };
}

const known = new WeakMap<readonly Rule[], ReturnType<typeof readyRules>>();
function ready(rules: readonly Rule[]) {
  const made = known.get(rules) ?? readyRules(rules);
  known.set(rules, made);
  return made;
}

/** Fetch Standard, "HTTP-redirect fetch": whether a browser that asks for a page is redirected more often than it follows. */
function isEndless(
  rules: readonly Rule[],
  from: string,
  viewer: Viewer,
  known: Map<string, Asked | undefined>,
): boolean {
  let asked: Asked | undefined = { uri: from, method: viewer.method, kept: viewer.kept };
  for (let hops = 0; hops <= 20; hops += 1) {
    const key: string = `${asked.method} ${asked.uri} ${asked.kept}`;
    if (!known.has(key)) known.set(key, nextOf(rules, asked, viewer));
    asked = known.get(key);
    if (asked === undefined) return false;
  }
  return true;
}

interface Asked extends Pick<Viewer, 'method' | 'kept'> {
  readonly uri: string;
}

function nextOf(rules: readonly Rule[], { uri: from, method, kept }: Asked, viewer: Viewer): Asked | undefined {
  const { found, response } = decided(rules, from, { ...viewer, method, kept });
  const uri = response?.headers?.location?.[0]?.value;
  if (uri === undefined) return undefined;
  const isGet = response?.status === '303' ? method !== 'HEAD' : response?.status === '302' && method === 'POST';
  const { rule = 0, name = '' } = found.at(-1) ?? {};
  const set = rules[rule]?.variations[name]?.responseHeaders?.['set-cookie'];
  return { uri, method: isGet ? 'GET' : method, kept: set === undefined ? kept : keptOf(set) };
}

/** What sets the cookie c, and the value that browsers keep then. */
const SET_COOKIES: readonly (readonly [set: string, kept: string | undefined])[] = [
  ['c=p', 'p'],
  ['c=q; Path=/; Secure', 'q'],
  ['c=r; Max-Age=60; Expires=Thu, 01 Jan 1970 00:00:00 GMT', 'r'],
  ['c=; Max-Age=0', undefined],
  ['c=p; path=/; expires=Thu, 01 Jan 1970 00:00:00 GMT', undefined],
];
const keptOf = (set: string) => SET_COOKIES.find(([one]) => one === set)?.[1];

class RandomRules extends RandomChoices {
  private path(stars: number): string {
    const letters = this.times(this.whole(0, 2), () => this.pick(['a', 'b', 'a', 'b', '?']));
    for (let star = 0; star < stars; star += 1) letters.splice(this.whole(0, letters.length), 0, '*');
    return `/${letters.join('')}`;
  }

  private when(hasStar: boolean, share = 0.4, cookies = false) {
    return {
      path: this.times(this.whole(1, 2), () => this.path(hasStar ? this.pick([1, 1, 1, 2]) : 0)),
      ...(this.chance(share) && { header: { 'x-c': this.presence() } }),
      ...(cookies && this.chance(0.4) && { cookie: { c: this.presence() } }),
      ...(this.chance(0.2) && { method: this.pick([['GET', 'POST'], ['POST', 'PUT'], ['PUT', 'GET'], 'HEAD']) }),
    };
  }

  private presence() {
    const lists = [
      ['p', 'q'],
      ['q', 'r'],
      ['r', 'p'],
    ];
    return this.pick([...lists, ...lists, true, false, 'p*', '*r*']);
  }

  redirecting(): Rule[] {
    const cookies = this.chance(0.5);
    return this.times(this.whole(1, 4), () => {
      const hasStar = this.chance(0.7);
      const action = () => {
        const to = this.path(hasStar && this.chance(0.8) ? 1 : 0).replaceAll('?', 'b');
        const status = this.pick([302, 303, 307]);
        const [set] = this.pick(SET_COOKIES);
        const also = cookies && this.chance(0.5) && { responseHeaders: { 'set-cookie': set } };
        return this.pick([
          { redirect: { to }, ...also },
          { redirect: { to, status }, ...also },
          { answer: { status: 200 } },
          {},
        ]);
      };
      return this.rule(this.when(hasStar, 0.4, cookies), action);
    }) as unknown as Rule[];
  }

  /** Rules of a site, with the two of a circle among them and without. */
  site([one, to, two, back]: (typeof CIRCLES)[number] = this.pick(CIRCLES)): Record<'rules' | 'others', Rule[]> {
    const others = this.times(this.whole(18, 38), (index) => this.pick(OTHERS)(index)) as unknown as Rule[];
    const rules = [...others];
    for (const planted of [leads(one, to, 'g'), leads(two, back, 'h')])
      rules.splice(this.whole(0, rules.length), 0, planted as unknown as Rule);
    return { rules, others };
  }

  adding(): Rule[] {
    return this.times(this.whole(3, 4), (index) => {
      const action = (name: string) => ({
        requestHeaders: this.headers(`q${index}-${name}`),
        responseHeaders: this.headers(`s${index}-${name}`),
      });
      const answer = (name: string) => ({
        responseHeaders: this.headers(`s${index}-${name}`),
        answer: { status: 200, body: 'b'.repeat(this.pick([10, 22_000, 30_000])) },
      });
      return this.rule(this.when(this.chance(0.8), 0.8), (name) => (this.chance(0.25) ? answer(name) : action(name)));
    }) as unknown as Rule[];
  }

  private headers(name: string) {
    const count = this.whole(1, 4);
    return Object.fromEntries(this.times(count, (i) => [`x-${name}-${i}`, 'v'.repeat(this.whole(700, 1_700))]));
  }

  private rule(when: object, action: (name: string) => object) {
    const variations = { blue: action('blue'), ...(this.chance(0.5) && { pink: action('pink') }) };
    const otherwise = this.chance(0.4) && { otherwise: this.pick(Object.keys(variations)) };
    return { when, flagKey: this.pick(['f', 'g']), variations, ...otherwise };
  }
}

test(`redirects are refused if some viewer would be redirected more than 20 times, and only then (seed ${seed}) @heavy`, () => {
  const random = new RandomRules(randomFrom(seed));
  const seen = { refused: 0, accepted: 0 };
  for (let n = 0; n < (process.env.LONG ? 20_000 : 100); n += 1) {
    const rules = random.redirecting();
    const said = circleProblems(rules, {}).map(({ message }) => message);
    const viewers = viewersOf(rules);
    const endless = viewers.some((viewer) => {
      const next = new Map();
      return pages.some((page) => isEndless(rules, page, viewer, next));
    });
    // Of longer paths.
    const named = said.map((message) => /again and again, from (\S+) to/.exec(message)?.[1] ?? '');
    const isReal = (page: string) => viewers.some((viewer) => isEndless(rules, page, viewer, new Map()));
    expect({ rules, said: said.length > 0 }).toEqual({ rules, said: endless || named.some(isReal) });
    expect({ rules, said, real: named.every(isReal) }).toEqual({ rules, said, real: true });
    seen[endless ? 'refused' : 'accepted'] += 1;
  }
  expect(Math.min(seen.refused, seen.accepted)).toBeGreaterThan(15);
});

/** Redirects to longer and longer pages, with which other rules have to be compared, too. */
const LONG_WAYS = [
  [
    {
      when: {
        path: ['/?*b', '/*'],
        cookie: {
          c: ['p', 'q'],
        },
      },
      flagKey: 'g',
      variations: {
        blue: {
          answer: {
            status: 200,
          },
        },
      },
    },
    {
      when: {
        path: ['/b*', '/a?*'],
        header: {
          'x-c': '*r*',
        },
      },
      flagKey: 'g',
      variations: {
        blue: {
          redirect: {
            to: '/*bb',
            status: 303,
          },
          responseHeaders: {
            'set-cookie': 'c=r; Max-Age=60; Expires=Thu, 01 Jan 1970 00:00:00 GMT',
          },
        },
        pink: {},
      },
    },
    {
      when: {
        path: ['/ba', '/'],
      },
      flagKey: 'g',
      variations: {
        blue: {},
      },
      otherwise: 'blue',
    },
    {
      when: {
        path: ['/*ab', '/*aa'],
      },
      flagKey: 'f',
      variations: {
        blue: {},
        pink: {
          answer: {
            status: 200,
          },
        },
      },
    },
  ],
  [
    {
      when: {
        path: ['/a**b', '/*'],
        method: ['GET', 'POST'],
      },
      flagKey: 'f',
      variations: {
        blue: {
          answer: {
            status: 200,
          },
        },
        pink: {
          redirect: {
            to: '/*',
          },
          responseHeaders: {
            'set-cookie': 'c=p',
          },
        },
      },
    },
    {
      when: {
        path: ['/*b'],
        header: {
          'x-c': 'p*',
        },
        cookie: {
          c: ['q', 'r'],
        },
      },
      flagKey: 'f',
      variations: {
        blue: {
          redirect: {
            to: '/bb*',
            status: 302,
          },
        },
      },
    },
    {
      when: {
        path: ['/ab*'],
        header: {
          'x-c': true,
        },
        cookie: {
          c: ['r', 'p'],
        },
      },
      flagKey: 'g',
      variations: {
        blue: {
          redirect: {
            to: '/a',
            status: 303,
          },
        },
        pink: {
          redirect: {
            to: '/ab*',
          },
        },
      },
      otherwise: 'blue',
    },
    {
      when: {
        path: ['/*a', '/b*'],
      },
      flagKey: 'g',
      variations: {
        blue: {
          redirect: {
            to: '/*',
          },
          responseHeaders: {
            'set-cookie': 'c=p; path=/; expires=Thu, 01 Jan 1970 00:00:00 GMT',
          },
        },
        pink: {},
      },
      otherwise: 'blue',
    },
  ],
  [
    { when: { path: ['/*b'], cookie: { c: 'p*' } }, flagKey: 'f', variations: { blue: { answer: { status: 200 } } } },
    {
      when: { path: ['/**', '/ba**'], cookie: { c: ['p', 'q'] } },
      flagKey: 'f',
      variations: {
        blue: { redirect: { to: '/*b' }, responseHeaders: { 'set-cookie': 'c=; Max-Age=0' } },
        pink: { answer: { status: 200 } },
      },
    },
    {
      when: { path: ['/a*', '/b*'] },
      flagKey: 'g',
      variations: {
        blue: {
          redirect: { to: '/*' },
          responseHeaders: { 'set-cookie': 'c=r; Max-Age=60; Expires=Thu, 01 Jan 1970 00:00:00 GMT' },
        },
        pink: { redirect: { to: '/*ab' } },
      },
    },
    {
      when: { path: ['/a*', '/?*b'] },
      flagKey: 'g',
      variations: {
        blue: {
          redirect: { to: '/*ba', status: 302 },
          responseHeaders: { 'set-cookie': 'c=r; Max-Age=60; Expires=Thu, 01 Jan 1970 00:00:00 GMT' },
        },
      },
    },
  ],
] as unknown as Rule[][];

test.each([
  [0, '/b', '/bb'],
  [1, '/b', '/bb'],
  [2, '/ab', '/bab'],
] as const)(
  'redirects that go on for twenty pages are followed to their end beside other rules (set %i, from %s to %s) @heavy',
  (set, from, to) => {
    const rules = LONG_WAYS[set]!;
    expect(viewersOf(rules).some((viewer) => isEndless(rules, from, viewer, new Map()))).toBe(true);
    expect(circleProblems(rules, {}).map(({ message }) => message)).toEqual([
      expect.stringMatching(`again and again, from ${from} to ${to}`),
    ]);
  },
);

const leads = (when: object, to: string, flagKey: string, more: object = {}) => ({
  ...{ when, flagKey },
  variations: { on: { redirect: { to, ...more } }, off: {} },
});
const www = 'https://www.example.com';

/** Circles of two rules, on pages that no other rule names. */
const CIRCLES: (readonly [one: object, to: string, two: object, back: string])[] = [
  [{ path: '/zz-a/*' }, '/zz-b/*', { path: '/zz-b/*' }, '/zz-a/*'],
  [{ path: '/zz-a/*', query: { v: '1' } }, '/zz-b/*', { path: '/zz-b/*', query: { v: '1' } }, '/zz-a/*'],
  [
    { path: '/*/zz', header: { 'x-c': ['a', 'b'] } },
    '/zz/*',
    { path: '/zz/*', header: { 'x-c': ['b', 'c'] } },
    '/*/zz',
  ],
  [
    { host: 'zz.example.com', path: '/zz/*' },
    `${www}/zz/*`,
    { host: 'www.example.com', path: '/zz/*' },
    'https://zz.example.com/zz/*',
  ],
  [{ path: '/zz/*.html' }, '/zy/*.html', { path: '/zy/sale/*' }, '/zz/sale/*'],
];

/** Rules of a large site, whose redirects end. */
const OTHERS: ((n: number) => object)[] = [
  (n) =>
    leads({ path: [`/old-${n}/*`, `/legacy/${n}/*`], method: ['GET', 'HEAD'] }, `/new/section-${n}/*`, `m${n % 7}`),
  (n) => leads({ path: `/*/old-${n}/*` }, '/*/', `w${n % 5}`),
  (n) => leads({ host: [`h${n}.example.com`, `*.h${n}.example.com`], path: '/*' }, `${www}/h${n}/*`, `q${n % 4}`),
  (n) =>
    leads({ header: { 'accept-language': `l${n % 6}*` }, path: ['/', `/start-${n}`, '/home'] }, `/l${n % 6}/`, `l${n}`),
  (n) => leads({ query: { [`u${n}`]: true }, path: '/*' }, '/*', `y${n}`, { query: 'drop' }),
  (n) => ({
    when: { path: [`/api-${n}/*`, `*/x${n}.html`], cookie: { [`k${n}`]: ['a*', '*b'] } },
    ...{ flagKey: `a${n}`, variations: { on: { answer: { status: 200 } }, off: {} }, otherwise: 'off' },
  }),
];

test(`one circle among 20 to 40 rules of a site is refused, and the others are accepted (seed ${seed}) @heavy`, () => {
  const random = new RandomRules(randomFrom(seed));
  const site = { domainNames: ['www.example.com', 'example.com', 'zz.example.com'] };
  for (let n = 0; n < (process.env.LONG ? 200 : 8); n += 1) {
    const { rules, others } = random.site(CIRCLES[n % CIRCLES.length]);
    const found = circleProblems(rules, site).map(({ message }) => message);
    expect({ rules, found }).toEqual({ rules, found: [expect.stringMatching(/again and again, .*z[zy]/)] });
    expect({ others, found: circleProblems(others, site) }).toEqual({ others, found: [] });
  }
});

const characters = (headers: Readonly<Record<string, string>> = {}) =>
  Object.entries(headers).reduce((sum, [name, value]) => sum + name.length + value.length, 0);
const bytes = (headers: Readonly<Record<string, string>> = {}) =>
  Object.entries(headers).reduce(
    (sum, [name, value]) => sum + JSON.stringify({ [name]: [{ key: name, value }] }).length,
    0,
  );
/** `f=blue` with the longest reason; each list of headers has an id. */
const decision = 1 + 1 + 4 + 50;
const id = 10;

/** The largest headers of requests to origins, of responses, and of answers with their bodies, that any request gets. */
function largestOf(rules: readonly Rule[], among: readonly string[]) {
  const most = { requests: 0, responses: 0, answers: 0 };
  for (const viewer of viewersOf(rules))
    for (const uri of among) {
      const { found, response } = decided(rules, uri, viewer);
      const actions = found.flatMap(({ rule, name }) => rules[rule]?.variations[name ?? ''] ?? []);
      const decisions = new Set(found.map(({ rule }) => rules[rule]?.flagKey)).size * decision;
      const total = (size: (action: (typeof actions)[number]) => number) =>
        actions.reduce((sum, action) => sum + size(action), decisions);
      most.responses = Math.max(
        most.responses,
        total(({ responseHeaders }) => characters(responseHeaders)),
      );
      if (response)
        most.answers = Math.max(
          most.answers,
          total(({ responseHeaders }) => bytes(responseHeaders)) + (response.body?.length ?? 0) + 1_024,
        );
      else
        most.requests = Math.max(
          most.requests,
          total(
            ({ requestHeaders, responseHeaders }) =>
              characters(requestHeaders) + (requestHeaders ? id : 0) + (responseHeaders ? id : 0),
          ),
        );
    }
  return most;
}

test(`the largest headers are those that some request gets, and refused if they are too large (seed ${seed}) @heavy`, () => {
  const random = new RandomRules(randomFrom(seed));
  const seen = { refused: 0, accepted: 0 };
  for (let n = 0; n < (process.env.LONG ? 3_000 : 50); n += 1) {
    const rules = random.adding();
    const said = sizeProblems(rules).map(({ message }) => message);
    const numberIn = (pattern: RegExp) =>
      Math.max(0, ...said.map((message) => Number(pattern.exec(message)?.[1] ?? 0)));
    const numbers = {
      requests: numberIn(/requests to origins get (\d+)/),
      responses: numberIn(/responses get (\d+)/),
      answers: numberIn(/has (\d+) bytes/),
    };
    const over = (size: number, limit: number) => (size > limit ? size : 0);
    const tried = (among: readonly string[]) => {
      const { requests, responses, answers } = largestOf(rules, among);
      return { requests: over(requests, 10_240), responses: over(responses, 10_240), answers: over(answers, 40_960) };
    };
    const found = tried(pages);
    // Few sets need longer paths, of which there are many.
    expect({ rules, ...numbers }).toEqual({ rules, ...(isDeepStrictEqual(found, numbers) ? found : tried(longPages)) });
    seen[said.length > 0 ? 'refused' : 'accepted'] += 1;
  }
  expect(Math.min(seen.refused, seen.accepted)).toBeGreaterThan(5);
});
