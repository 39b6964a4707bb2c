/** What `npm start` makes of the flags in use, and what `npm run try` does with it; start.test.ts runs both. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { KnownFlags } from '../../bin/dev/known-flags.ts';
import { createPlainLog } from '../../bin/dev/plain-log.ts';
import { chooseRouting } from '../../bin/dev/routing.ts';
import { announce, type Running } from '../../bin/dev/running.ts';
import { sampleContexts } from '../../bin/dev/sample-contexts.ts';
import { close, listen } from '../../bin/dev/sample-origins.ts';
import { type WelcomeOptions, welcome } from '../../bin/dev/welcome.ts';
import { runTry } from '../../bin/try/run.ts';

const rollout = { rollout: { variations: [] } };
const flags: KnownFlags = {
  title: { on: true, variations: ['Hello, world'] },
  limit: { on: true, variations: [{ a: 1 }, { a: 2 }] },
  off: { on: false, variations: [true, false] },
  plain: { on: true, variations: ['old', 'new'], offVariation: 1 },
  gradual: { on: true, variations: [1, 2, 3], offVariation: 0, fallthrough: rollout },
};
const only = (...keys: string[]) => Object.fromEntries(keys.map((key) => [key, flags[key] ?? {}]));

describe('the flag that routes viewers', () => {
  const choose = (some: KnownFlags, named?: string, withRules = false) => chooseRouting(some, { named, withRules });

  test.each<[what: string, KnownFlags, string, string[]]>([
    [
      "is the example's if it is there",
      { ...flags, 'canary-checkout': { variations: ['a', 'b'] } },
      'canary-checkout',
      ['a', 'b'],
    ],
    ['is the first that is on and gives percentages', flags, 'gradual', ['1', '2', '3']],
    ['is the first that is on and has several values', only('title', 'limit', 'off', 'plain'), 'plain', ['new', 'old']],
    ['is the first that has several values', only('title', 'limit', 'off'), 'off', ['true', 'false']],
  ])('%s; each value has an origin, the off variation the first', (_, some, flagKey, origins) => {
    expect(choose(some)).toMatchObject({ flagKey, origins, defaultOrigin: origins[0], chosen: false, remarks: [] });
  });

  test('may be named; rules may name the sample origins, too', () => {
    expect(choose(flags, 'off', true)).toMatchObject({
      ...{ flagKey: 'off', chosen: true, origins: ['true', 'false', 'stable', 'canary'], defaultOrigin: 'true' },
    });
    expect(choose(flags, 'none')).toMatchObject({ flagKey: undefined, origins: ['stable', 'canary'] });
  });

  test('cannot route by values that CloudFront could not have in a header, which is said', () => {
    expect(choose(only('limit'), 'limit')).toMatchObject({ origins: ['stable', 'canary'], defaultOrigin: 'stable' });
    expect(choose(only('limit'), 'limit').remarks).toEqual([
      'flag limit cannot route viewers whom it gives {"a":1}: expected true, false, a number, or 1 to 64 of the characters a-z A-Z 0-9 _ . -. They go to stable',
    ]);
  });

  test('that does not exist is named, with what was probably meant', () => {
    expect(choose(flags, 'plian').remarks).toEqual([
      'EDGE_FLAG=plian: there is no such flag; did you mean plain? Until there is one, viewers go to stable',
    ]);
    expect(choose({}, 'constructor').remarks[0]).toMatch(/^EDGE_FLAG=constructor: there is no such flag\. /);
  });

  test('of a hundred values has twenty origins', () => {
    const many = { variations: Array.from({ length: 100 }, (_, index) => index) };
    expect(choose({ many }).origins).toHaveLength(20);
    expect(choose({ many }).remarks).toEqual(['flag many has 100 values; the first 20 have an origin']);
  });
});

test('sample contexts are those that targets and clauses are about', () => {
  const clause = (attribute: string, op: string, ...values: unknown[]) => ({ attribute, op, values });
  const rules = [
    [clause('email', 'endsWith', '@x.com'), clause('age', 'greaterThan', 17)],
    [clause('key', 'in', 'bob')],
    [clause('v', 'semVerGreaterThan', '2.1.0'), clause('at', 'after', '2026-01-31T00:00:00Z')],
    // Too much for one line of a terminal.
    [clause('/app/version', 'in', 1)],
    [{ ...clause('name', 'in', 'acme'), contextKind: 'org' }],
    [{ ...clause('name', 'in', 'x'), negate: true }],
  ].map((clauses) => ({ clauses }));
  expect(sampleContexts({ targets: [{ values: [] }, { values: ['tester'] }], rules })).toEqual([
    { key: 'tester', attributes: {} },
    { key: 'ada', attributes: { email: 'ada@x.com', age: 18 } },
    { key: 'bob', attributes: {} },
    { key: 'ada', attributes: { v: '3.0.0', at: '2026-02-01T00:00:00.000Z' } },
  ]);
});

test('a line of the log begins with the place in the file', () => {
  const lines: string[] = [];
  const log = createPlainLog({ print: (line) => void lines.push(line), colour: false });
  const item = { environment: 'local', path: join(process.cwd(), 'my/flags.yaml'), kind: 'features', key: 'f' };
  log.warn('Probably a mistake', { ...item, at: 'rules[0].variation', reason: 'there is no variation 7' });
  log.warn('Ignored', { ...item, kind: 'segments', reason: 'on must be true or false' });
  log.error('Cannot write', { table: 't', tries: 2 });
  log.info('Plain');
  expect(lines).toEqual([
    'warning: my/flags.yaml, flag f, rules[0].variation: there is no variation 7',
    'warning: my/flags.yaml, segment f: on must be true or false. Ignored',
    'error: Cannot write (table=t, tries=2)',
    'info: Plain',
  ]);
  const coloured = createPlainLog({ print: (line) => void lines.push(line), colour: true });
  coloured.warn('x');
  expect(lines.at(-1)).toBe('\x1b[33mwarning:\x1b[39m x');
});

describe('what npm start prints', () => {
  const options: WelcomeOptions = {
    ...{
      version: '1.2.3',
      flagsFile: 'my-flags.yaml',
      isCopy: false,
      environment: 'local',
      prefix: 'local',
      table: 't',
    },
    ...{ relayUrl: 'http://127.0.0.1:1', dynamoDBUrl: 'http://127.0.0.1:2', edgeUrl: 'http://127.0.0.1:3', flags },
    ...{ routing: chooseRouting(flags, { named: undefined, withRules: false }), router: { flagKey: 'gradual' } },
    ...{ rulesFile: undefined, exampleRules: false, colour: false },
    sample: { key: 'ada', attributes: { email: 'ada@x.com', name: "O'Neil" } },
  };
  // biome-ignore lint/suspicious/noControlCharactersInRegex: of colours
  const plain = (text: string) => text.replace(/\x1b\[\d+m/g, '');

  test('is made from the flags in use, fits on a screen, and no command edits a file', () => {
    const text = welcome(options);
    expect(text).toContain('edge-flag-relay 1.2.3: 5 flags from my-flags.yaml\n');
    expect(text).toContain('flag gradual sends viewers to 1, 2 and 3\n');
    expect(text).toContain("npm run try -- flag gradual ada email=ada@x.com 'name=O'\\''Neil'\n");
    expect(text).toMatch(/in gradual: fallthrough: \{ variation: 1 \}\nsends everyone whom no rule matches to 2\./);
    expect(text).not.toMatch(/canary|stable|sed -i|git checkout|curl|change$/m);
    const lines = text.split('\n');
    expect(lines.length).toBeLessThanOrEqual(24);
    expect(lines.findIndex((line) => line.includes('npm run try'))).toBeLessThanOrEqual(9);
    expect(lines.filter((line) => line.length > 100)).toEqual([]);
  });

  test('has the same text with and without colours', () => {
    expect(plain(welcome({ ...options, colour: true }))).toBe(welcome(options));
    expect(welcome({ ...options, colour: true })).not.toBe(welcome(options));
  });

  test('is about the rules if no flag routes, and about LaunchDarkly if flags come from there', () => {
    const router = { rules: [{ flagKey: 'plain', variations: { new: {} } }] };
    expect(welcome({ ...options, router, rulesFile: 'r.json' })).toMatch(
      /the rules of r\.json decide[\s\S]*try -- flag plain/,
    );
    const text = welcome({ ...options, flagsFile: undefined, environment: 'production' });
    expect(text).toMatch(
      /from LaunchDarkly, environment production\n[\s\S]*Change gradual in LaunchDarkly to see it arrive\./,
    );
    expect(text).not.toContain('sdk-local');
  });
});

describe('npm run try', () => {
  const before = process.env.TMPDIR;
  let directory: string;
  let server: Server;
  let url: string;
  let answers: Record<string, (path: string) => [number, Record<string, string>, string]>;
  let forget: () => void;

  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), 'try-'));
    process.env.TMPDIR = directory;
    answers = {};
    server = createServer((request, response) => {
      const path = request.url ?? '';
      const answer = Object.entries(answers).find(([start]) => path.startsWith(start))?.[1] ?? (() => [404, {}, '']);
      const [status, headers, body] = answer(
        `${path} ${request.headers.cookie ?? ''} ${request.headers.authorization ?? ''}`,
      );
      response.writeHead(status, headers).end(body);
    });
    url = await listen(server, 0);
    forget = () => {};
  });
  afterEach(async () => {
    forget();
    await close(server);
    if (before === undefined) delete process.env.TMPDIR;
    else process.env.TMPDIR = before;
    rmSync(directory, { recursive: true });
  });

  function run(changes: Partial<Running> = {}) {
    forget = announce({
      ...{ pid: process.pid, relayUrl: url, dynamoDBUrl: url, edgeUrl: url, tableName: 't', prefix: 'local' },
      ...{ environment: 'local', sdkKey: 'sdk-local', isCopy: false, flagKey: 'f', origins: ['old', 'new'] },
      ...changes,
    });
  }

  async function trying(...args: string[]) {
    let out = '';
    let said = '';
    const exitCode = await runTry(args, {
      out: (text) => {
        out += text;
      },
      say: (text) => {
        said += text;
      },
      env: { LD_SDK_KEY: '' },
      paint: (_, text) => text,
    });
    return { exitCode, out, said };
  }

  test('visits as a new viewer, and again with the cookie', async () => {
    run();
    answers['/shop'] = (asked) => [
      200,
      {
        ...{ 'x-origin': asked.includes('id=7') ? 'new' : 'old', 'x-flag-decision': 'f=old', 'x-search': 'v' },
        ...(!asked.includes('id=7') && { 'set-cookie': 'id=7; Path=/' }),
      },
      '',
    ];
    expect((await trying('visit', '/shop')).out).toBe(
      'new viewer  200  old  f=old\nagain       200  new  f=old\n            x-search: v\n            cookie id=7: the id that percentages apply to\n',
    );
  });

  test('counts viewers by origin', async () => {
    run();
    let met = 0;
    answers['/'] = () => [200, { 'x-origin': met++ % 4 === 0 ? 'new' : 'old' }, ''];
    expect((await trying('viewers', '20')).out).toBe(`old  15  ${'█'.repeat(30)}\nnew   5  ${'█'.repeat(10)}\n`);
    expect(await trying('viewers', 'many')).toMatchObject({ exitCode: 2, said: expect.stringContaining('not many') });
  });

  test('asks for a flag, and knows what was probably meant', async () => {
    run();
    answers['/ofrep/v1/evaluate/flags/f'] = (asked) => [
      200,
      {},
      JSON.stringify({ value: asked.includes('sdk-local'), reason: 'RULE_MATCH', variant: '1' }),
    ];
    expect(await trying('flag', 'f', 'ada', 'age=18')).toEqual({
      exitCode: 0,
      out: 'f = true  RULE_MATCH, variation 1\n',
      said: '',
    });
    answers['/ofrep/v1/evaluate/flags/serch'] = () => [404, {}, JSON.stringify({ errorCode: 'FLAG_NOT_FOUND' })];
    answers['/sdk/latest-all'] = () => [200, {}, JSON.stringify({ flags: { search: {}, other: {} } })];
    expect(await trying('flag', 'serch')).toEqual({
      exitCode: 1,
      out: '',
      said: 'There is no flag serch: did you mean search?\n',
    });
  });

  test('edits the copy of the example, never a file of the user', async () => {
    const flagsFile = join(directory, 'flags.json');
    const example = { flags: { f: { on: true, variations: ['old', 'new'] }, g: { on: false } }, segments: { s: {} } };
    writeFileSync(flagsFile, JSON.stringify(example));
    run({ flagsFile, isCopy: true });
    expect((await trying('change', '25')).out).toMatch(/^f: 75% old, 25% new\. /);
    const weights = [
      { variation: 0, weight: 75_000 },
      { variation: 1, weight: 25_000 },
    ];
    const flag = { ...example.flags.f, fallthrough: { rollout: { variations: weights } } };
    expect(JSON.parse(readFileSync(flagsFile, 'utf8'))).toEqual({ ...example, flags: { ...example.flags, f: flag } });

    writeFileSync(flagsFile, 'mine');
    run({ flagsFile, isCopy: false });
    expect(await trying('change')).toMatchObject({
      exitCode: 1,
      said: expect.stringContaining('is yours, and no command edits it'),
    });
    expect(readFileSync(flagsFile, 'utf8')).toBe('mine');
    run({ flagsFile: undefined });
    expect((await trying('change')).said).toBe('Flags come from LaunchDarkly: change f there\n');
  });

  test('needs the SDK key of LaunchDarkly, which is in no file', async () => {
    run({ sdkKey: undefined, environment: 'production' });
    expect(await trying('stream')).toMatchObject({
      exitCode: 1,
      said: 'No SDK key: set LD_ENV_production in this terminal, too\n',
    });
  });

  test('says that nothing is running, also when what ran was killed', async () => {
    const nothing = { exitCode: 1, out: '', said: 'Nothing is running: start it with npm start in another terminal\n' };
    expect(await trying('visit')).toEqual(nothing);
    // No process has this id: Linux and macOS have lower limits.
    run({ pid: 99_999_999 });
    expect(await trying('visit')).toEqual(nothing);
  });

  test('lists what it does, and names a misspelt command', async () => {
    expect(await trying()).toMatchObject({ exitCode: 0, out: expect.stringContaining('npm run try -- <what>') });
    expect(await trying('vist')).toMatchObject({
      exitCode: 2,
      said: expect.stringMatching(/^Unknown command vist: did you mean visit\?/),
    });
  });
});
