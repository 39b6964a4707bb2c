/** The words of random environments: ordinary ones, and those on which evaluators are known to disagree. */
export const INHERITED = ['__proto__', 'constructor', 'toString'];
export const KINDS = ['user', 'org', 'device', 'a.b-c_9', '5'];
export const KEYS = ['a', 'b', 'é😀', 'key with:colon%', '0', 'toString', 'u-1'];
/** Keys in target lists; only a legacy user can have the empty one. */
export const LISTED = [...KEYS, '', ''];
export const NAMES = [
  'name',
  'email',
  'n',
  'list',
  'obj',
  'a/b',
  '~t',
  't~z',
  '~1a',
  '/a',
  'when',
  'version',
  'flag',
  'é',
  'country',
];
export const ODD_NAMES = ['kind', 'key', 'anonymous', '_meta', ...INHERITED, ''];
export const REFERENCES = [
  ...[
    '/obj/a',
    '/obj/b/c',
    '/list/0',
    '/a~1b',
    '/~0t',
    '/t~0z',
    '/obj/',
    '/obj/__proto__',
    '/constructor/name',
    '/~1a',
    '/obj/~1y',
  ],
  ...['/name', '/kind', '/key', '/anonymous', '/_meta/privateAttributes', '/kind/x', '/__proto__/a', '/é', '/n'],
];
export const BAD_REFERENCES = [
  '',
  '/',
  '//',
  'a//b',
  'a~',
  '/a~2',
  '/a~',
  '/a~|',
  '/a~^',
  '_meta',
  '/_meta',
  '/obj//a',
];
export const OPERATORS = [
  ...['in', 'in', 'in', 'startsWith', 'endsWith', 'contains', 'matches', 'lessThan', 'lessThanOrEqual', 'greaterThan'],
  ...['greaterThanOrEqual', 'before', 'after', 'before', 'after', 'semVerEqual', 'semVerLessThan', 'semVerGreaterThan'],
];
export const ODD_OPERATORS = [
  ...[
    '',
    'IN',
    'unknown',
    'segmentmatch',
    ...INHERITED,
    'hasOwnProperty',
    'valueOf',
    'isPrototypeOf',
    '__lookupGetter__',
  ],
];
export const TEXTS = [
  '',
  'a',
  'b',
  'abc',
  'A',
  'é',
  '😀',
  'x@example.com',
  '1',
  'true',
  'in',
  'user',
  'org',
  'multi',
  'constructor',
];
export const PATTERNS = [
  '^a',
  'b$',
  '.',
  '^.$',
  '(',
  '[a-',
  '\\d+',
  '(?=a)abc',
  '^(?<n>a)\\k<n>?',
  '\\p{L}',
  '(?i)a',
  '[[:alpha:]]',
  '',
  '\\u00e9',
];
export const NUMBERS = [
  0,
  -0,
  1,
  2,
  1.5,
  -1,
  1e21,
  2 ** 53,
  2 ** 53 + 2,
  1e-7,
  99_999,
  1e308,
  123_456_789_012,
  1_577_836_800_000,
];
export const WEIGHTS = [0, 0, 0, 1, 100_000, 50_000, 99_999, 33_333, 10_000, -10_000, 200_000, 0.5, 25_000.25];
export const SEEDS = [0, 0, 0, 0, 1, 61, -7, 2 ** 31 - 1, 1e21];
