/** The examples of SDKs, as files that people copy: each gets its flag from the relay or the table, and its events reach the relay. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { EventSource } from 'eventsource';
import { JSDOM, VirtualConsole } from 'jsdom';
import { chromium } from 'playwright-core';
import { type Command, commands, type ExampleName } from '../../examples/run/commands.ts';
import { type Local, startLocal } from '../../examples/run/local.ts';
import { chromiumPath } from '../interop/chromium-page.ts';
import { type EventsRecorder, startEventsRecorder } from '../interop/events-recorder.ts';
import { drivers } from '../interop/sdk-driver.ts';
import { eventually } from '../support/eventually.ts';
import { exampleEnvironment, exampleFile } from '../support/example-environment.ts';
import { closeAfterEach } from '../support/opened.ts';

const root = join(import.meta.dirname, '../..');
const installed = join(root, '.cache/interop');
const { opened, behind } = closeAfterEach();

let recorder: EventsRecorder;
let local: Local;
let flagsFile: string;

beforeAll(async () => {
  flagsFile = join(mkdtempSync(join(tmpdir(), 'examples-')), 'flags.json');
  writeFileSync(flagsFile, readFileSync(exampleFile));
  recorder = await startEventsRecorder();
  local = await startLocal({ flagsFile, eventsUrl: recorder.uri });
});
afterAll(async () => {
  await local?.close();
  await recorder?.close();
  rmSync(join(flagsFile, '..'), { recursive: true });
});

/** Runs an example as `examples/run.ts` does; returns what it printed. */
async function run(name: ExampleName): Promise<string> {
  const { program, args, cwd = root }: Command = commands[name];
  const { stdout } = await promisify(execFile)(program, args, {
    cwd,
    // Go: only what is installed.
    env: { ...process.env, GOPROXY: 'off', GOFLAGS: '-mod=readonly', ...local.env },
    timeout: 170_000,
  });
  return stdout;
}

const has = (language: string) => drivers.some((driver) => driver.language === language && driver.command);
const hasGo = existsSync(join(installed, 'go-examples/app'));
const hasPhp = existsSync(join(installed, 'php/vendor/autoload.php'));

const programs: readonly { name: ExampleName; runs: boolean; sendsEvents?: false }[] = [
  { name: 'node', runs: true },
  { name: 'node-daemon', runs: true },
  { name: 'python', runs: has('Python') },
  { name: 'python-daemon', runs: has('Python') },
  { name: 'go', runs: hasGo },
  { name: 'go-daemon', runs: hasGo },
  { name: 'java', runs: has('Java') },
  { name: 'php', runs: hasPhp },
  // OFREP has none, and the reader alone reports none.
  { name: 'reader', runs: true, sendsEvents: false },
  { name: 'openfeature', runs: true, sendsEvents: false },
];

/** Of the flag that the examples use, in the summaries that LaunchDarkly would receive since a request. */
const countedSince = (first: number) =>
  recorder.requests
    .slice(first)
    .flatMap(({ events }) => events)
    .filter(({ kind }) => kind === 'summary')
    .flatMap(
      ({ features }) => (features as Record<string, { counters: unknown[] }>)['canary-checkout']?.counters ?? [],
    );

describe.each(programs)('$name', ({ name, runs, sendsEvents = true }) => {
  const title = `gets the variation of its target${sendsEvents ? ', and the relay its events' : ''}`;
  const testIf = runs ? test : test.skip;

  testIf(`${title}${runs ? '' : ' (needs test/interop/install.sh)'} @heavy`, async () => {
    const first = recorder.requests.length;
    // Its fallback is stable, which it uses if a busy machine makes it wait for longer than it would.
    await eventually(async () => expect(await run(name)).toMatch(/^canary-checkout: canary \(TARGET_MATCH\)$/m));
    if (!sendsEvents) return;
    await eventually(() =>
      expect(countedSince(first)).toContainEqual(
        expect.objectContaining({ value: 'canary', variation: 1, version: 1, count: 1 }),
      ),
    );
  });
});

/** Serves the page of an example; resolves to its address. */
async function serve(name: ExampleName): Promise<string> {
  const { program, args }: Command = commands[name];
  const child: ChildProcess = spawn(program, args, { cwd: root, env: { ...process.env, ...local.env } });
  const exited = new Promise((resolve) => child.once('exit', resolve));
  behind(async () => {
    child.kill();
    await exited;
  });
  for await (const line of createInterface({ input: child.stdout! })) {
    const [, address] = /^Open (http:\S+)/.exec(line) ?? [];
    if (address) return address;
  }
  throw new Error(`the page of ${name} was not served`);
}

/** The page in jsdom, with the parts of a browser that SDKs need and jsdom lacks. */
async function openInJsdom(address: string): Promise<() => Promise<string | null>> {
  class PageEventSource extends EventSource {
    constructor(...[url, options]: ConstructorParameters<typeof EventSource>) {
      super(url, options);
      behind(() => this.close());
    }
  }
  const dom = await JSDOM.fromURL(address, {
    runScripts: 'dangerously',
    resources: 'usable',
    virtualConsole: new VirtualConsole(),
    beforeParse(window) {
      const { crypto, TextEncoder } = globalThis;
      Object.assign(window, {
        fetch,
        EventSource: PageEventSource,
        Request,
        Response,
        Headers,
        AbortController,
        TextEncoder,
      });
      Object.defineProperty(window, 'crypto', { value: crypto });
    },
  });
  behind(() => dom.window.close());
  return async () => dom.window.document.body.textContent;
}

async function openInChromium(address: string): Promise<() => Promise<string | null>> {
  const browser = opened(
    await chromium.launch({ executablePath: chromiumPath!, args: ['--headless', '--no-sandbox'] }),
  );
  const page = await browser.newPage();
  await page.goto(address);
  return () => page.textContent('body');
}

const pages = ['browser', 'openfeature-web'] as const satisfies ExampleName[];
const browsers = [
  { browser: 'jsdom', open: openInJsdom, runs: true },
  { browser: 'headless Chromium', open: openInChromium, runs: chromiumPath !== undefined },
];

describe.each(pages)('%s', (name) => {
  afterEach(() => writeFileSync(flagsFile, readFileSync(exampleFile)));

  for (const { browser, open, runs } of browsers) {
    const testIf = runs ? test : test.skip;
    const title = `in ${browser}, shows the variation of its target, and another one when the flag is turned off`;
    testIf(`${title}${runs ? '' : ' (needs test/interop/install.sh)'} @heavy`, async () => {
      const shown = await open(await serve(name));
      await eventually(async () => expect(await shown()).toBe('canary-checkout: canary'));
      const { flags, segments } = exampleEnvironment();
      const off = { ...flags['canary-checkout'], on: false };
      writeFileSync(flagsFile, JSON.stringify({ flags: { ...flags, 'canary-checkout': off }, segments }));
      await eventually(async () => expect(await shown()).toBe('canary-checkout: stable'));
    });
  }
});

test('every example has a file', () => {
  const all: readonly Command[] = Object.values(commands);
  for (const { args, cwd = root } of all) {
    // Neither an option nor an event.
    const file = args.findLast((arg) => !/^[-{]/.test(arg)) ?? '';
    expect({ file, exists: existsSync(join(cwd, file)) || existsSync(file) }).toEqual({ file, exists: true });
  }
});

test('the runner starts what an example needs, and lists the examples for a name that it does not know @heavy', async () => {
  const runner = (name: string) =>
    promisify(execFile)(process.execPath, ['--import', 'tsx', 'examples/run.ts', name], { cwd: root }).then(
      ({ stdout }) => ({ code: 0, said: stdout }),
      ({ code, stderr }) => ({ code, said: stderr }),
    );
  expect(await runner('node')).toEqual({ code: 0, said: expect.stringMatching(/^canary-checkout: canary/m) });
  const unknown = await runner('nod');
  expect(unknown.code).toBe(2);
  for (const name of Object.keys(commands)) expect(unknown.said).toMatch(new RegExp(`^ {2}${name} `, 'm'));
});
