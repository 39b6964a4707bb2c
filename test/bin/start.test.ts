/** `npm start` as a newcomer runs it: its output, the printed commands, bad input, and shutdown. */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { eventually } from '../support/eventually.ts';
import { exampleFile } from '../support/example-environment.ts';
import { type FakeUpstream, startFakeUpstream } from '../support/fake-upstream.ts';
import { readStream } from '../support/read-stream.ts';

const root = join(import.meta.dirname, '../..');
const { LONG } = process.env;
/** Only guards against hanging: on a busy machine it takes a minute. */
const STARTED_MS = 150_000;
jest.setTimeout(300_000);
/** The cache of tsx, below the directory for temporary files. */
const compiled = `tsx-${userInfo().uid}`;

interface Started {
  readonly child: ChildProcess;
  output(): string;
  readonly exited: Promise<number | null>;
}

const running: Started[] = [];
let directory: string;
let file: string;
let upstream: FakeUpstream | undefined;

function prepare(): void {
  directory = mkdtempSync(join(tmpdir(), 'start-'));
  file = join(directory, 'flags.json');
  copyFileSync(exampleFile, file);
  mkdirSync(join(tmpdir(), compiled), { recursive: true });
  symlinkSync(join(tmpdir(), compiled), join(directory, compiled));
}

async function cleanUp(): Promise<void> {
  for (const { child, exited } of running.splice(0)) {
    child.kill('SIGKILL');
    await exited;
  }
  await upstream?.close();
  upstream = undefined;
  rmSync(directory, { recursive: true });
}

function start(variables: Record<string, string> = {}, args: string[] = []): Started {
  const { PATH = '' } = process.env;
  const child = spawn(process.execPath, ['--import', 'tsx', 'bin/dev.ts', ...args], {
    cwd: root,
    env: { PATH, TMPDIR: directory, PORT: '0', DYNAMODB_PORT: '0', EDGE_PORT: '0', FLAGS_FILE: file, ...variables },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on('data', (chunk: Buffer) => {
      output += chunk.toString();
    });
  }
  const started = {
    child,
    output: () => output,
    exited: new Promise<number | null>((resolve) => child.once('exit', resolve)),
  };
  running.push(started);
  return started;
}

/** The three addresses, once everything is ready. */
async function addressesOf(started: Started): Promise<{ relay: string; dynamoDB: string; edge: string }> {
  return eventually(() => {
    const output = started.output();
    expect(output).toContain('Ctrl-C stops everything.');
    const address = (name: string) => new RegExp(`^ +${name} +(http://\\S+)`, 'm').exec(output)?.[1] ?? '';
    return { relay: address('relay'), dynamoDB: address('DynamoDB'), edge: address('edge') };
  }, STARTED_MS);
}

async function visit(edge: string, headers: Record<string, string> = {}) {
  const response = await fetch(edge, { headers });
  return {
    status: response.status,
    origin: response.headers.get('x-origin'),
    decision: response.headers.get('x-flag-decision'),
    cookie: response.headers.get('set-cookie')?.split(';')[0],
    page: await response.text(),
  };
}

/** Except the caches of the tools that run TypeScript. */
const leftBehind = () => readdirSync(directory).filter((name) => !/^(flags\.json|tsx-.*|swc-.*)$/.test(name));

/** Process ids, on systems with /proc. */
function childrenOf(pid: number): number[] {
  const children = `/proc/${pid}/task/${pid}/children`;
  return existsSync(children) ? readFileSync(children, 'utf8').trim().split(' ').map(Number) : [];
}

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

/** The command printed under a number, as a person would paste it. */
function printedCommand(started: Started, number: number): string {
  return new RegExp(`^ +${number}\\. (.*?)(?: {2,}.*)?$`, 'm').exec(started.output())?.[1] ?? '';
}

const pastes = spawnSync('bash', ['-c', 'npm --version']).status === 0;

describe('npm start on a flags file', () => {
  let started: Started;
  beforeAll(() => {
    prepare();
    started = start();
  });
  afterAll(cleanUp);

  test('a flag change goes from the file to the stream, the table and the edge, where it routes viewers', async () => {
    const { relay, edge } = await addressesOf(started);

    // The same viewer gets the same origin again.
    const first = await visit(edge);
    expect(first).toMatchObject({ status: 200, origin: expect.stringMatching(/^(stable|canary)$/) });
    expect(first.page).toContain(`<h1`);
    expect(first.decision).toBe(`canary-checkout=${first.origin}; reason=FALLTHROUGH`);
    for (let visits = 0; visits < 3; visits++) {
      const again = await visit(edge, { Cookie: first.cookie ?? '' });
      expect(again).toMatchObject({ origin: first.origin, cookie: undefined });
    }
    // A request without a cookie is a new viewer; at 75 to 25 both origins soon appear.
    const met = new Set<string | null>();
    for (let visits = 0; visits < 200 && met.size < 2; visits++) met.add((await visit(edge)).origin);
    expect([...met].sort()).toEqual(['canary', 'stable']);

    const stream = await readStream({
      port: Number(new URL(relay).port),
      path: '/all',
      headers: { Authorization: 'sdk-local' },
    });
    expect((await stream.next()).event).toBe('put');

    // An edit.
    const everybodyToCanary = readFileSync(file, 'utf8').replace('75000', '0').replace('25000', '100000');
    writeFileSync(file, everybodyToCanary);
    expect(JSON.parse((await stream.next()).data)).toMatchObject({
      path: '/flags/canary-checkout',
      data: { version: 2 },
    });
    await eventually(() =>
      expect(started.output()).toMatch(/1 item changed: file → stream \d+ ms, → table \d+ ms, → edge \d+ ms/),
    );
    expect(await visit(edge)).toMatchObject({ origin: 'canary' });

    // An edit that breaks the file.
    writeFileSync(file, everybodyToCanary.replace('"flags": {', '"flags": '));
    await eventually(() =>
      expect(started.output()).toMatch(/flags\.json: line \d+, column \d+: .*still serving the last good version/),
    );
    expect(await visit(edge)).toMatchObject({ status: 200, origin: 'canary' });
    stream.close();

    // The first one again, with a mistake that SDKs accept.
    writeFileSync(file, readFileSync(exampleFile, 'utf8').replace('"offVariation": 0', '"offVariatoin": 0'));
    await eventually(() =>
      expect(started.output()).toMatch(
        /^! 1 item changed: .*flags\.json can be read again; .* has 1 probable mistake$/m,
      ),
    );
    expect(started.output()).toMatch(
      /^warning: .*flags\.json, flag canary-checkout, offVariatoin: .*; did you mean offVariation\?$/m,
    );
    copyFileSync(exampleFile, file);
    await eventually(async () => expect((await visit(edge)).origin).toBe('stable'));
  });

  test('Ctrl-C ends every process and leaves no file behind @heavy', async () => {
    const { edge } = await addressesOf(started);
    const functions = childrenOf(started.child.pid ?? 0);
    started.child.kill('SIGINT');
    expect(await started.exited).toBe(0);
    await expect(fetch(edge)).rejects.toThrow();
    expect(leftBehind()).toEqual([]);
    await eventually(() => expect(functions.filter(isRunning)).toEqual([]));
  });
});

describe('npm start on the example', () => {
  beforeAll(prepare);
  afterAll(cleanUp);

  /** As a person would paste it into another terminal. */
  const paste = (command: string) => {
    const env = { ...process.env, TMPDIR: directory };
    return execFileSync('bash', ['-c', command], { cwd: root, env, encoding: 'utf8' });
  };

  (pastes ? test : test.skip)(
    'the printed commands show the path, and change a copy (needs bash and npm) @heavy',
    async () => {
      const before = readFileSync(exampleFile, 'utf8');
      const started = start({ FLAGS_FILE: '' });
      const { edge } = await addressesOf(started);
      // npm itself takes most of the time, and is there once.
      const direct = (number: number) =>
        printedCommand(started, number).replace(/^npm run try -- /, 'node --import tsx bin/try.ts ');
      const pasted = (number: number) => paste(direct(number));
      expect(paste(printedCommand(started, 1))).toMatch(
        /^new viewer {2}200 {2}(\w+) .*\nagain {7}200 {2}\1 .*\n.*cookie flag-viewer=/m,
      );
      expect(pasted(2)).toMatch(/^stable +\d+ .*\ncanary +\d+ /);
      expect(pasted(3)).toBe('canary-checkout = "canary"  TARGET_MATCH, variation 1\n');
      // The stream never ends: cut it off after its first bytes.
      expect(paste(`${direct(4)} | head -c 10`)).toBe('event: put');
      expect(pasted(5)).toMatch(/^local:\$snapshot +head [\s\S]*^local:features +canary-checkout +1 /m);
      expect(JSON.parse(pasted(6))).toMatchObject({
        url: '/received',
        headers: { via: '1.1 local.cloudfront.net (CloudFront)' },
      });
      expect(pasted(7)).toMatch(
        /search-backend=vector[\s\S]*x-search: vector[\s\S]*received \/received\/vector\/shoes/,
      );
      expect(pasted(8)).toMatch(/0% stable, 100% canary/);
      await eventually(async () => expect(await visit(edge)).toMatchObject({ origin: 'canary' }));
      expect(readFileSync(exampleFile, 'utf8')).toBe(before);
      started.child.kill('SIGINT');
      expect(await started.exited).toBe(0);
      expect(leftBehind()).toEqual([]);
    },
  );
});

describe('npm start', () => {
  beforeEach(prepare);
  afterEach(cleanUp);

  test('with LD_SDK_KEY gets flags from LaunchDarkly instead of the file @heavy', async () => {
    upstream = await startFakeUpstream(JSON.parse(readFileSync(exampleFile, 'utf8')));
    const started = start({ LD_SDK_KEY: 'sdk-from-launchdarkly', STREAM_URI: upstream.uri });
    const { edge } = await addressesOf(started);
    expect(upstream.requests[0]?.headers.authorization).toBe('sdk-from-launchdarkly');
    expect((await visit(edge)).decision).toMatch(/reason=FALLTHROUGH/);
    expect(started.output()).not.toContain('sdk-from-launchdarkly');
    // Two signals at once, as when a shell and a parent process both forward it.
    started.child.kill('SIGTERM');
    started.child.kill('SIGINT');
    expect(await started.exited).toBe(0);
    expect(leftBehind()).toEqual([]);
  });

  test('with a file of settings says which flags do not exist, and what testers can try @heavy', async () => {
    const rules = join(directory, 'edge.json');
    const shadow = { header: 'x-load-test', value: 'a secret of 16 characters' };
    const misspelt = { flagKey: 'serch-backend', variations: { vector: { origin: 'canary' } }, otherwise: 'vector' };
    writeFileSync(rules, JSON.stringify({ rules: [misspelt], shadow }));
    const started = start({ EDGE_RULES: rules, EDGE_TABLE: 'off', LD_LOG_LEVEL_local: 'info' });
    const { edge } = await addressesOf(started);
    // The environment's own level, while the relay's is warn.
    expect(started.output()).toMatch(/^info: .*environment=local/m);
    expect(started.output()).not.toMatch(/^info: Relay listening/m);
    expect(started.output()).toMatch(/^warning: EDGE_TABLE=off: the edge cannot read the table$/m);
    expect(started.output()).toMatch(
      /^warning: rules\[0\]\.flagKey=serch-backend: there is no such flag; did you mean search-backend\? Until there is one, the variation vector counts$/m,
    );
    expect(started.output()).toContain(`the rules of ${rules} decide`);
    expect(printedCommand(started, 7)).toBe(`curl -s -H 'x-load-test: <secret>' ${edge}/received`);
    expect(await visit(edge)).toMatchObject({
      origin: 'canary',
      decision: 'serch-backend=vector; reason=ERROR CLIENT_NOT_READY',
    });
    rmSync(rules);
  });

  test('routes by any flag of a file of your own, and lists its settings with --help @heavy', async () => {
    const yaml = join(directory, 'home.yaml');
    writeFileSync(
      yaml,
      'flags:\n  home: { on: true, variations: [old, new, newest], fallthrough: { variation: 2 } }\n',
    );
    const [started, help] = [start({ FLAGS_FILE: yaml }), start({}, ['--help'])];
    const { edge } = await addressesOf(started);
    expect(await visit(edge)).toMatchObject({ origin: 'newest', decision: 'home=newest; reason=FALLTHROUGH' });
    expect(started.output()).toMatch(/flag home sends viewers to old, new and newest$/m);
    expect(started.output()).not.toMatch(/warning|canary|stable/);
    expect(await help.exited).toBe(0);
    expect(help.output()).toMatch(/EDGE_FLAG +the flag that routes viewers/);
    rmSync(yaml);
  });

  type Mistake = [string, Record<string, string>, string[], RegExp];

  describe('prints one line and exits with 1 if', () => {
    const unknown: Mistake = [
      'a setting is unknown',
      {},
      ['FLAG_FILE=x'],
      /^CONFIG_INVALID: Unknown setting FLAG_FILE: did you mean FLAGS_FILE\?$/,
    ];
    const missing: Mistake = [
      'the flags file is missing',
      { FLAGS_FILE: '/nowhere/flags.json' },
      [],
      /^FLAGS_FILE_INVALID: \/nowhere\/flags.json: file not found$/,
    ];
    const misunderstood: Mistake[] = [
      [
        'the file of rules is missing',
        { EDGE_RULES: '/nowhere/rules.json' },
        [],
        /^CONFIG_INVALID: EDGE_RULES=\/nowhere\/rules\.json: file not found$/,
      ],
      [
        'the file of rules is no JSON',
        { EDGE_RULES: 'README.md' },
        [],
        /^CONFIG_INVALID: EDGE_RULES=README\.md: line 1, column 1: expected a value, found "#"$/,
      ],
      ['a value is invalid', { EDGE_PORT: 'http' }, [], /^CONFIG_INVALID: EDGE_PORT=http is invalid: expected /],
      [
        "a value of one of the relay's settings is invalid",
        { INIT_TIMEOUT: 'soon' },
        [],
        /^CONFIG_INVALID: INIT_TIMEOUT=soon /,
      ],
    ];

    test.each([unknown, ...(LONG ? [missing, ...misunderstood] : [])])(
      '%s @heavy',
      async (_, variables, args, line) => {
        const started = start(variables, args);
        expect(await started.exited).toBe(1);
        expect(started.output().trimEnd()).toMatch(line);
        expect(started.output().trimEnd()).not.toContain('\n');
      },
    );

    test.each(LONG ? ['PORT', 'DYNAMODB_PORT', 'EDGE_PORT'] : ['EDGE_PORT'])(
      'the port of %s is in use @heavy',
      async (setting) => {
        const blocker = createServer();
        await new Promise<void>((resolve) => blocker.listen(0, '127.0.0.1', resolve));
        const { port } = blocker.address() as { port: number };
        const started = start({ [setting]: String(port) });
        expect(await started.exited).toBe(1);
        expect(started.output()).toMatch(/^LISTEN_FAILED: .*\n$/);
        expect(started.output()).toContain(String(port));
        await new Promise((resolve) => blocker.close(resolve));
      },
    );
  });
});
