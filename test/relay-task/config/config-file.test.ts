/** The dialect of `ld-relay.conf`, checked against https://git-scm.com/docs/git-config#_syntax. */
import { parseConfigFile } from '../../../relay-task/config/config-file.ts';
import { randomFrom } from '../../support/random.ts';

const valuesIn = (text: string) => {
  const { options, problems } = parseConfigFile(`[S]\n${text}`, 'f');
  return problems.length > 0 ? problems : options.map(({ option, value }) => [option, value]);
};

test.each([
  ['a = b', [['a', 'b']]],
  ['a=b', [['a', 'b']]],
  ['   a   =   b c   ', [['a', 'b c']]],
  ['a = b # c', [['a', 'b']]],
  ['a = b;c', [['a', 'b']]],
  ['a = "b # c;d" ; e', [['a', 'b # c;d']]],
  ['a = "  b  "  ', [['a', '  b  ']]],
  ['a = b"  c "d', [['a', 'b  c d']]],
  ['a = "x\\\\y\\"z\\n\\t"', [['a', 'x\\y"z\n\t']]],
  ['a = x\\\ny', [['a', 'xy']]],
  ['a = x\\t  ', [['a', 'x\t']]],
  ['a = "x\\\n  y"', [['a', 'x  y']]],
  ['a =', [['a', '']]],
  ['a = ""', [['a', '']]],
  ['a', [['a', undefined]]],
  ['a # comment', [['a', undefined]]],
  ['a = b = c', [['a', 'b = c']]],
  ['a-1 = b', [['a-1', 'b']]],
  [
    'a = 1\na = 2',
    [
      ['a', '1'],
      ['a', '2'],
    ],
  ],
  ['# a = 1\n; b = 2\n\n\t\nc = 3', [['c', '3']]],
])('%j is parsed', (text, expected) => expect(valuesIn(text)).toEqual(expected));

test.each([
  ['a = "b', ['f:2: the value of a has an unclosed quotation mark']],
  ['a = C:\\certs', ['f:2: the value of a has \\c: write \\\\ for a backslash']],
  ['1a = b', ['f:2: expected a [Section], an option = value, or a comment that starts with # or ;']],
  ['a : b', ['f:2: expected a [Section], an option = value, or a comment that starts with # or ;']],
  ['\n[T', ['f:3: invalid section: write [Main] or [Environment "name"]']],
  ['[Environment prod]\na = 1', ['f:2: invalid section: write [Main] or [Environment "name"]']],
  ['[Environment "prod]\na = 1', ['f:2: invalid section: write [Main] or [Environment "name"]']],
])('%j is rejected with its line number', (text, problems) => expect(valuesIn(text)).toEqual(problems));

test('sections keep their case and line number, and quoted names may hold any character', () => {
  const { sections } = parseConfigFile('[Main]\n[ENVIRONMENT  "A \\"b\\" \\\\ ] é"] # comment\n[x]a = 1', 'f');
  expect(sections).toEqual([
    { section: 'Main', name: undefined, line: 1 },
    { section: 'ENVIRONMENT', name: 'A "b" \\ ] é', line: 2 },
    { section: 'x', name: undefined, line: 3 },
  ]);
});

test('an option before the first section is rejected', () => {
  expect(parseConfigFile('port = 1', 'f').problems).toEqual(['f:1: port is not in a section: write [Main] above it']);
});

test('an invalid line does not affect the others, and its value is not repeated', () => {
  const { options, problems } = parseConfigFile(
    '[Main]\nport = 1\nsdk-secret\\!\nlogLevel = "sdk-secret\ntlsCert = c',
    'f',
  );
  expect(options.map(({ option }) => option)).toEqual(['port', 'tlsCert']);
  expect(problems).toHaveLength(2);
  expect(problems.join()).not.toContain('secret');
});

test('no input makes the parser throw, and every result has a valid line number @heavy', () => {
  const seed = process.env.SEED ?? 'config-file';
  const random = randomFrom(seed);
  const pieces = [
    '[',
    ']',
    '"',
    '\\',
    '=',
    '#',
    ';',
    '\n',
    ' ',
    'a',
    'Main',
    'Environment',
    '\r\n',
    '\t',
    '1',
    '\uFEFF',
    'é',
  ];
  for (let round = 0; round < (process.env.LONG ? 100_000 : 500); round += 1) {
    const text = Array.from(
      { length: 1 + Math.floor(random() * 30) },
      () => pieces[Math.floor(random() * pieces.length)],
    ).join('');
    const { options, sections, problems } = parseConfigFile(text, 'f');
    const lines = text.split('\n').length;
    for (const { line } of [...options, ...sections]) expect(line >= 1 && line <= lines).toBe(true);
    for (const problem of problems)
      expect({ seed, text, problem: /^f:\d+: ./.test(problem) }).toEqual({ seed, text, problem: true });
  }
});
