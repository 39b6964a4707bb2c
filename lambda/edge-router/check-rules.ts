/**
 * What rules may say, checked at build. Source: Amazon CloudFront Developer Guide, "Restrictions on all edge functions", "Quotas",
 * "Generate HTTP responses in request triggers".
 */
import { isDeepStrictEqual } from 'node:util';
import { circleProblems } from './check-rules-circles.ts';
import { HEADER_CHARACTERS, sizeProblems } from './check-rules-sizes.ts';
import { covers, METHODS, patternsOf } from './check-rules-together.ts';
import {
  type Check,
  type ConfigProblem,
  FLAG_KEY,
  isIntegerIn,
  isObject,
  NAME,
  PLACES,
  pattern,
  placeNames,
  placeProblems,
  problem,
  problemsOf,
  remark,
  unknownProblems,
} from './check-values.ts';
import { describeAddedHeaderProblem, describeResponseHeaderProblem, isHeaderValue } from './header-rules.ts';
import { DEFAULT_VARIANT_HEADER } from './headers.ts';
import type { ContextSettings, Rule, When } from './rules.ts';

export { coversPattern, patternsOf } from './check-rules-together.ts';

const LIMITS = {
  rules: 100,
  variations: 100,
  patterns: 50,
  names: 50,
  attributes: 50,
  /** "Quotas on headers": custom headers. */
  headers: 30,
} as const;

/** What the rules refer to. */
interface Site {
  /** Names of origins. */
  readonly origins: readonly string[];
  readonly variantHeader: string;
  /** Headers that origins get anyhow. */
  readonly originHeaders: ReadonlySet<string>;
}

interface RulesConfig extends ContextSettings {
  readonly rules?: readonly Rule[];
  readonly flagKey?: string;
  readonly variantHeader?: string;
  readonly origins?: Readonly<Record<string, unknown>>;
  readonly cookieName?: string;
  /** Of a stage: by which redirects are known to stay on the site. */
  readonly domainNames?: readonly string[];
}

/** Every problem of `rules`. `origins` are the names that they may choose. */
export function rulesProblems(config: RulesConfig, origins: readonly string[]): ConfigProblem[] {
  const rules: unknown = config.rules;
  if (rules === undefined) return [];
  if (!Array.isArray(rules)) return [problem('rules', rules, 'expected a list of rules')];
  if (rules.length > LIMITS.rules)
    return [remark('rules', `${rules.length} are too many: expected at most ${LIMITS.rules}`)];
  const originHeaders = Object.values(config.origins ?? {}).flatMap((origin) =>
    isObject(origin) && isObject(origin.headers) ? Object.keys(origin.headers) : [],
  );
  const { variantHeader = DEFAULT_VARIANT_HEADER } = config;
  const site = { origins, variantHeader, originHeaders: new Set(originHeaders) };
  const problems = rules.flatMap((rule, index) => ruleProblems(`rules[${index}]`, rule, site));
  // What follows relies on valid rules.
  if (problems.length > 0) return problems;
  return [
    ...sizeProblems(rules, variantHeader),
    ...circleProblems(rules, config),
    ...orderProblems(rules, config.flagKey),
  ];
}

/** `attributes` and `contexts`. */
export function contextProblems({
  attributes,
  contexts,
  variantHeader,
}: ContextSettings & Pick<RulesConfig, 'variantHeader'>): ConfigProblem[] {
  const own = attributesProblems('attributes', attributes, variantHeader);
  if (contexts === undefined) return own;
  if (!isObject(contexts)) return [problem('contexts', contexts, 'expected an object of contexts by kind')];
  return [
    ...own,
    ...Object.entries(contexts).flatMap(([kind, context]) => {
      const at = `contexts.${kind}`;
      if (!NAME.test(kind) || ['kind', 'multi', 'user'].includes(kind))
        return [
          remark(at, 'is not a valid kind: expected 1 to 64 characters from a-z A-Z 0-9 _ - . (user is the viewer)'),
        ];
      if (!isObject(context) || context.key === undefined)
        return [problem(at, context, 'expected { key: { cookie: name } } or another place for the key')];
      return [
        ...unknownProblems(at, context, ['key', 'attributes']),
        ...placeProblems(`${at}.key`, context.key, PLACES, variantHeader),
        ...attributesProblems(`${at}.attributes`, context.attributes, variantHeader),
      ];
    }),
  ];
}

function attributesProblems(at: string, attributes: unknown, variantHeader: unknown): ConfigProblem[] {
  if (attributes === undefined) return [];
  if (!isObject(attributes)) return [problem(at, attributes, 'expected an object of places by attribute')];
  const names = Object.keys(attributes);
  if (names.length > LIMITS.attributes)
    return [remark(at, `${names.length} are too many: expected at most ${LIMITS.attributes}`)];
  return names.flatMap((name) => {
    if (!NAME.test(name) || ['key', 'kind', 'anonymous', '_meta'].includes(name))
      return [
        remark(
          `${at}.${name}`,
          'is not a valid name: expected 1 to 64 characters from a-z A-Z 0-9 _ - . (not key, kind, anonymous, _meta)',
        ),
      ];
    return placeProblems(`${at}.${name}`, attributes[name], PLACES, variantHeader);
  });
}

function ruleProblems(at: string, rule: unknown, site: Site): ConfigProblem[] {
  if (!isObject(rule)) return [problem(at, rule, 'expected an object')];
  const { when, flagKey, variations, otherwise } = rule;
  const problems = [
    ...unknownProblems(at, rule, ['when', 'flagKey', 'variations', 'otherwise']),
    ...whenProblems(`${at}.when`, when, site),
    ...problemsOf(`${at}.flagKey`, flagKey ?? null, FLAG_KEY),
  ];
  const names = isObject(variations) ? Object.keys(variations) : [];
  if (!isObject(variations) || names.length === 0 || names.length > LIMITS.variations)
    return [
      ...problems,
      problem(
        `${at}.variations`,
        variations,
        `expected an object of 1 to ${LIMITS.variations} actions, each under a value of the flag`,
      ),
    ];
  if (otherwise !== undefined && !names.includes(otherwise as string))
    problems.push(problem(`${at}.otherwise`, otherwise, `expected one of the variations: ${names.join(', ')}`));
  return [
    ...problems,
    ...names.flatMap((name) => [
      ...(NAME.test(name)
        ? []
        : [
            remark(
              `${at}.variations.${name}`,
              'is invalid: expected a value of 1 to 64 characters from a-z A-Z 0-9 _ - . (it is sent in a header)',
            ),
          ]),
      ...actionProblems(`${at}.variations.${name}`, variations[name], when, site),
    ]),
  ];
}

const PATH_PATTERN = pattern(
  /^[/*][\w\-.*$/~"'@:+&?%!(),;=]{0,254}$/,
  `expected a path pattern of at most 255 characters that starts with a slash or *, percent-encoded, without a query`,
);
const HOST_PATTERN = pattern(
  /^[a-z0-9*?._:-]{1,253}$/,
  'expected a host name in lower case, in which * stands for any text',
);
const METHOD: Check = (value) =>
  (METHODS as readonly unknown[]).includes(value) ? undefined : `expected ${METHODS.join(', ')}`;
const VALUE = pattern(/^[ -~]{0,256}$/, 'expected a pattern of at most 256 ASCII characters, or true or false');

function whenProblems(at: string, when: unknown, { variantHeader }: Site): ConfigProblem[] {
  if (when === undefined) return [];
  if (!isObject(when)) return [problem(at, when, 'expected an object')];
  const { path, host, method } = when;
  const names = placeNames(variantHeader);
  return [
    ...unknownProblems(at, when, ['path', 'host', 'method', 'header', 'cookie', 'query']),
    ...patternProblems(`${at}.path`, path, PATH_PATTERN),
    ...patternProblems(`${at}.host`, host, HOST_PATTERN),
    ...patternProblems(`${at}.method`, method, METHOD),
    ...PLACES.flatMap((kind) => {
      const wanted = when[kind];
      if (wanted === undefined) return [];
      if (!isObject(wanted)) return [problem(`${at}.${kind}`, wanted, 'expected an object of patterns by name')];
      const count = Object.keys(wanted).length;
      if (count > LIMITS.names)
        return [remark(`${at}.${kind}`, `${count} names are too many: expected at most ${LIMITS.names}`)];
      return Object.entries(wanted).flatMap(([name, value]) => {
        const wrong = names[kind](name);
        if (wrong !== undefined) return [remark(`${at}.${kind}.${name}`, wrong)];
        return typeof value === 'boolean' ? [] : patternProblems(`${at}.${kind}.${name}`, value, VALUE, true);
      });
    }),
  ];
}

/** One pattern, or a list of them. */
function patternProblems(at: string, given: unknown, check: Check, required = false): ConfigProblem[] {
  if (given === undefined && !required) return [];
  if (!Array.isArray(given)) return problemsOf(at, given ?? null, check);
  if (given.length === 0 || given.length > LIMITS.patterns)
    return [problem(at, given, `expected 1 to ${LIMITS.patterns} patterns`)];
  return given.flatMap((one, index) => problemsOf(`${at}[${index}]`, one ?? null, check));
}

function actionProblems(at: string, action: unknown, when: unknown, site: Site): ConfigProblem[] {
  if (!isObject(action)) return [problem(at, action, 'expected an object: {} does nothing')];
  const { origin, rewrite, redirect, answer, requestHeaders, responseHeaders } = action;
  const known = ['origin', 'rewrite', 'redirect', 'answer', 'requestHeaders', 'responseHeaders'];
  const ends = ['redirect', 'answer'].filter((name) => action[name] !== undefined);
  const beside = ['redirect', 'answer', 'origin', 'rewrite', 'requestHeaders'].filter(
    (name) => action[name] !== undefined && name !== ends[0],
  );
  return [
    ...unknownProblems(at, action, known),
    ...(ends.length > 0 && beside.length > 0
      ? [remark(`${at}.${beside[0]}`, `has no effect beside ${ends[0]}, which never reaches an origin: leave it out`)]
      : []),
    ...(origin === undefined || site.origins.includes(origin as string)
      ? []
      : [problem(`${at}.origin`, origin, `expected one of the origins: ${site.origins.join(', ')}`)]),
    ...(rewrite === undefined ? [] : targetProblems(`${at}.rewrite`, rewrite, PATH_TARGET, when)),
    ...(redirect === undefined ? [] : redirectProblems(`${at}.redirect`, redirect, when)),
    ...(answer === undefined ? [] : answerProblems(`${at}.answer`, answer)),
    ...headersProblems(`${at}.requestHeaders`, requestHeaders, (name) => {
      if (name === site.variantHeader) return 'expected another name (this one holds the variant)';
      if (site.originHeaders.has(name)) return 'expected another name (this one is one of an origin’s own headers)';
      return describeAddedHeaderProblem(name);
    }),
    ...headersProblems(`${at}.responseHeaders`, responseHeaders, (name) =>
      name === site.variantHeader
        ? 'expected another name (this one holds the variant)'
        : describeResponseHeaderProblem(name),
    ),
  ];
}

const PATH = String.raw`\/(?:[\w\-./~!$&'()*+,;=:@]|%[0-9A-Fa-f]{2})*`;
/** Browsers take `/b/../a` for `/a`, also encoded, and leave default ports out: what looks like another page would be the same one. */
const AS_BROWSERS_WRITE = '(?!.*/(?:\\.|%2[eE]){1,2}(?:[/?]|$))(?!https://[^/]*:0*443/)(?!http://[^/]*:0*80/)';

const PATH_TARGET = pattern(
  new RegExp(`^(?!//)${AS_BROWSERS_WRITE}(?=.{1,1024}$)${PATH}$`),
  'expected a URL-encoded path of at most 1024 characters that starts with one slash, without a query and without /./ and /../',
);
const REDIRECT_TARGET = pattern(
  new RegExp(
    `^(?!//)${AS_BROWSERS_WRITE}(?=.{1,2048}$)(?:https?://[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::\\d{1,5})?(?=/))?${PATH}(?:\\?[!$%-;=?-Z_a-z~]*)?$`,
  ),
  'expected a URL-encoded path or an address with https:// and a path, of at most 2048 characters, without a fragment, /./, /../ and a default port, such as /new/* or https://www.example.com/*',
);

/** Where a `*` in a path leads. */
function targetProblems(at: string, target: unknown, check: Check, when: unknown): ConfigProblem[] {
  const problems = problemsOf(at, target ?? null, check);
  if (problems.length > 0) return problems;
  const stars = (target as string).split('*').length - 1;
  if (stars > 1) return [problem(at, target, 'expected at most one *')];
  const paths = isObject(when) ? patternsOf((when as When).path) : undefined;
  const without = stars === 1 ? paths?.find((path) => !path.includes('*')) : undefined;
  if (without !== undefined)
    return [problem(at, target, `expected no *, or one in each path of the rule: ${without} has none`)];
  return [];
}

function redirectProblems(at: string, redirect: unknown, when: unknown): ConfigProblem[] {
  if (!isObject(redirect)) return [problem(at, redirect, 'expected { to: path or address }')];
  const { to, status, query } = redirect;
  return [
    ...unknownProblems(at, redirect, ['to', 'status', 'query']),
    ...targetProblems(`${at}.to`, to, REDIRECT_TARGET, when),
    ...problemsOf(`${at}.status`, status, (value) =>
      [301, 302, 303, 307, 308].includes(value as number) ? undefined : 'expected 301, 302, 303, 307 or 308',
    ),
    ...problemsOf(`${at}.query`, query, pattern(/^(keep|drop)$/, 'expected keep or drop')),
  ];
}

function answerProblems(at: string, answer: unknown): ConfigProblem[] {
  if (!isObject(answer)) return [problem(at, answer, 'expected { status, body }')];
  const { status, body } = answer;
  return [
    ...unknownProblems(at, answer, ['status', 'body']),
    ...problemsOf(`${at}.status`, status ?? null, (value) =>
      isIntegerIn(value, 200, 599) ? undefined : 'expected an integer from 200 to 599',
    ),
    ...(body === undefined || typeof body === 'string' ? [] : [problem(`${at}.body`, body, 'expected a string')]),
    ...(body !== undefined && [204, 205, 304].includes(status as number)
      ? [remark(`${at}.body`, `an answer ${status} must have none: leave it out, or use another status`)]
      : []),
  ];
}

/** Values are not repeated, since they may be secret. */
function headersProblems(at: string, headers: unknown, check: (name: string) => string | undefined): ConfigProblem[] {
  if (headers === undefined) return [];
  if (!isObject(headers)) return [problem(at, headers, 'expected an object of header values by name')];
  const entries = Object.entries(headers);
  const characters = entries.reduce((sum, [name, value]) => sum + name.length + String(value).length, 0);
  if (entries.length === 0 || entries.length > LIMITS.headers || characters > HEADER_CHARACTERS)
    return [
      remark(
        at,
        `${entries.length} headers of ${characters} characters: expected 1 to ${LIMITS.headers}, of at most ${HEADER_CHARACTERS} characters together`,
      ),
    ];
  return entries.flatMap(([name, value]) => {
    const wrong = check(name);
    if (wrong !== undefined) return [remark(at, `header ${JSON.stringify(name)} is invalid: ${wrong}`)];
    if (isHeaderValue(value)) return [];
    return [
      remark(
        at,
        `the value of header ${JSON.stringify(name)} is invalid: expected 1 to 1783 visible ASCII characters on one line`,
      ),
    ];
  });
}

/** What a rule can decide for once and all; headers add up. */
type Kind = 'origin' | 'rewrite' | 'headers' | 'end';

/** The most comparisons, which take less than a second: enough for any real site, and a bound for anything else. */
const MOST_STEPS = 4_000_000;

/** Rules that could never do anything, or that contradict each other. */
function orderProblems(rules: readonly Rule[], flagKey: string | undefined): ConfigProblem[] {
  const steps = { left: MOST_STEPS };
  const problems: ConfigProblem[] = [];
  for (const [index, rule] of rules.entries()) {
    const before = rules.slice(0, index).map((one, at) => ({ one, at }));
    const same = before.find(
      ({ one }) => one.flagKey === rule.flagKey && isDeepStrictEqual(one.when ?? {}, rule.when ?? {}),
    );
    if (same) {
      problems.push(
        remark(
          `rules[${index}]`,
          `is for the flag ${rule.flagKey} and the same requests as rules[${same.at}]: put all that a variation does into one rule`,
        ),
      );
      continue;
    }
    const first = before.filter(({ one }) => covers(one.when, rule.when, steps));
    const ended = first.find(({ one }) => always(one).has('end'));
    const settled = new Set(first.flatMap(({ one }) => [...always(one)]));
    const could = kindsOf(rule);
    if (ended)
      problems.push(
        remark(
          `rules[${index}]`,
          `is never reached, because rules[${ended.at}] answers all of its requests: move it up, or narrow rules[${ended.at}].when`,
        ),
      );
    else if (could.size > 0 && [...could].every((kind) => kind !== 'headers' && settled.has(kind)))
      problems.push(
        remark(
          `rules[${index}]`,
          `has no effect, because earlier rules always choose ${[...could].join(' and ')} for its requests: move it up, or narrow their when`,
        ),
      );
  }
  const whole =
    flagKey === undefined
      ? undefined
      : rules.findIndex((one) => covers(one.when, {}, steps) && (always(one).has('origin') || always(one).has('end')));
  if (whole !== undefined && whole >= 0)
    problems.push(
      remark(
        'flagKey',
        `has no effect, because rules[${whole}] decides every request: leave it out, or narrow rules[${whole}].when`,
      ),
    );
  return problems;
}

function kindsOf({ variations }: Rule): ReadonlySet<Kind> {
  return new Set(Object.values(variations).flatMap(kindsIn));
}

function kindsIn(action: Rule['variations'][string]): Kind[] {
  const { origin, rewrite, redirect, answer, requestHeaders, responseHeaders } = action;
  return [
    ...(origin === undefined ? [] : ['origin' as const]),
    ...(rewrite === undefined ? [] : ['rewrite' as const]),
    ...(redirect || answer ? ['end' as const] : []),
    ...(requestHeaders || responseHeaders ? ['headers' as const] : []),
  ];
}

/** What a rule decides whatever the flag says. A redirect does not count: the page that it leads to is passed on. */
function always({ variations, otherwise }: Rule): ReadonlySet<Kind> {
  if (otherwise === undefined) return new Set();
  const actions = Object.values(variations);
  const kinds = new Set(actions.flatMap(kindsIn).filter((kind) => kind !== 'headers'));
  return new Set(
    [...kinds].filter((kind) =>
      actions.every((action) => kindsIn(action).includes(kind) && !(kind === 'end' && action.redirect)),
    ),
  );
}
