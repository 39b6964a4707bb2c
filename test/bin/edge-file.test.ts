/** The file of `EDGE_RULES`, and what `npm start` says of flags that it names. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readEdgeFile } from '../../bin/dev/edge-file.ts';
import { describeUnknownFlags } from '../../bin/dev/unknown-flags.ts';
import type { Rule } from '../../lambda/edge-router/config.ts';

const directory = mkdtempSync(join(tmpdir(), 'edge-file-'));
afterAll(() => rmSync(directory, { recursive: true }));
const file = join(directory, 'rules.json');

/** What is read, or the message of the error. */
function read(content: unknown, flag: { flagKey?: string; chosen?: boolean } = { flagKey: 'site' }) {
  writeFileSync(file, typeof content === 'string' ? content : JSON.stringify(content));
  try {
    return readEdgeFile(file, { flagKey: flag.flagKey, chosen: flag.chosen ?? false });
  } catch (error) {
    return (error as Error).message;
  }
}

const rule = (more: object = {}): Rule => ({ flagKey: 'f', variations: { on: { origin: 'canary' } }, ...more });

test('a file is a list of rules, or an object with other settings of edge', () => {
  expect(read([rule()])).toEqual({ flagKey: 'site', rules: [rule()] });
  expect(read(`\uFEFF${JSON.stringify([rule()])}`)).toEqual({ flagKey: 'site', rules: [rule()] });
  const settings = {
    rules: [rule()],
    attributes: { plan: { cookie: 'plan' } },
    viewer: { without: 'address' },
    shadow: { header: 'x-load-test', value: 'a secret of 16 characters' },
  };
  expect(read(settings)).toEqual({ flagKey: 'site', ...settings });
});

test('a syntax error has its line and column', () => {
  expect(read('[\n  { "flagKey": "f",\n    "variations" { } }\n]')).toBe(
    'line 3, column 18: expected a colon, found "{"',
  );
  expect(read('')).toBe('line 1, column 1: expected a value, found the end of the text');
  expect(read('7')).toBe('expected a JSON list of rules, or an object with rules and other settings of edge');
});

test('several problems are in as many lines', () => {
  expect(read([{ ...rule(), flagKey: 'a b' }, rule({ variations: { on: { orgin: 'x' } } })])).toBe(
    [
      '2 problems:',
      '  rules[0].flagKey="a b" is invalid: expected a flag key: 1 to 256 characters from a-z A-Z 0-9 _ - .',
      '  rules[1].variations.on.orgin is unknown: expected one of origin, rewrite, redirect, answer, requestHeaders, responseHeaders',
    ].join('\n'),
  );
  expect(read({ rule: [], origins: {}, edge: 1 })).toMatch(
    /^3 problems:\n {2}rule is unknown: did you mean rules\?\n {2}origins cannot be set here: the local edge has one behavior, with the origins stable and canary\n {2}edge is unknown: expected one of rules, attributes, /,
  );
});

test('a rule for every request leaves the flag without effect, which is an error only if somebody chose it', () => {
  const every = [rule({ otherwise: 'on' })];
  expect(read(every)).toEqual({ rules: every });
  expect(read(every, {})).toEqual({ rules: every });
  expect(read(every, { flagKey: 'site', chosen: true })).toBe(
    'flagKey: has no effect, because rules[0] decides every request: leave it out, or narrow rules[0].when (EDGE_FLAG=none leaves it out)',
  );
  expect(read([{ ...every[0], flagKey: '' }])).toContain('rules[0].flagKey="" is invalid');
});

describe('flags that do not exist', () => {
  const flags = {
    search: { variations: ['classic', 'vector'] },
    banner: { variations: [true, false] },
    site: { variations: ['stable', 'canary'] },
  };
  const said = (settings: object) => describeUnknownFlags(settings, flags);

  test('are named, with what may have been meant and what happens until they exist', () => {
    expect(said({ rules: [rule({ flagKey: 'serch' }), rule({ flagKey: 'constructor', otherwise: 'on' })] })).toEqual([
      'rules[0].flagKey=serch: there is no such flag; did you mean search? Until there is one, the rule does nothing',
      'rules[1].flagKey=constructor: there is no such flag. Until there is one, the variation on counts',
    ]);
  });

  test('are not the only ones: so are values that a flag does not have', () => {
    const rules = [
      rule({ flagKey: 'search', variations: { vektor: {}, classic: {}, closed: {} }, otherwise: 'closed' }),
      rule({ flagKey: 'banner', variations: { true: {}, off: {} } }),
    ];
    expect(said({ rules })).toEqual([
      'rules[0].variations.vektor: search has no such value; it has classic, vector',
      'rules[1].variations.off: banner has no such value; it has true, false',
    ]);
  });

  test('are not among those of rules that are right', () => {
    expect(said({ rules: [rule({ flagKey: 'banner', variations: { true: {} } })] })).toEqual([]);
  });
});
