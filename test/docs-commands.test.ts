/**
 * Every command that README.md, the other pages and the examples show is run: here, by the suite that its row names, or by nobody for a reason.
 * A command without a row fails, and so does a row without a command.
 */
import { spawn } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..');
const read = (path: string) => readFileSync(join(root, path), 'utf8');

type How =
  /** Runs here, in a folder of its own, and ends with 0. */
  | 'here'
  /** Runs here without credentials for AWS: its arguments are understood, and it says that credentials are missing. */
  | 'signed out'
  /** A suite, or a script of package.json or .ci/run, does the same: the file, and what to look for in it. */
  | { readonly by: string; readonly sees: string | RegExp }
  | 'needs AWS'
  | 'needs Docker'
  /** Takes too long, or never ends. */
  | 'long'
  /** Installs or publishes something. */
  | 'needs a registry'
  | 'needs a deployed relay';

/** A command belongs to the first row that matches the whole of it. */
const rows: [pattern: RegExp, how: How][] = [
  [
    /(npm ci && |([A-Z_]+=\S+ )+)?(npm start|npx edge-flag-relay start)( -- (--help|([A-Z_]+=\S+ ?)+))?/,
    { by: 'test/bin/start.test.ts', sees: 'bin/dev.ts' },
  ],
  [
    /(PORT=\d+ )?(npm run relay --|(npx )?ld-relay|npx edge-flag-relay relay) --config \S+ .*--from-env|npx ld-relay/,
    { by: 'test/relay-task/main.test.ts', sees: '--from-env' },
  ],
  [
    /(npm run relay --|npx ld-relay|npx edge-flag-relay relay) --config \S+ --check/,
    { by: 'test/examples/ld-relay-migration.test.ts', sees: '--check' },
  ],
  [/(NODE_OPTIONS=\S+ )?ld-relay/, { by: 'test/bin/cli.test.ts', sees: 'ld-relay' }],
  [
    /ld-relay --(health|ready)check( --from-env)?/,
    { by: 'test/relay-task/healthcheck.test.ts', sees: '--healthcheck' },
  ],

  [/(npx )?edge-flag-relay( --version| help preflight)?/, 'here'],
  [/source <\(edge-flag-relay completion bash\)/, 'here'],
  [/edge-flag-relay completion fish \| source/, { by: 'test/bin/cli.test.ts', sees: "'completion'" }],
  [/npm run (-s )?preview -- new-key preview\.pem/, 'here'],
  [/npm run (-s )?preview -- link local .*/, { by: 'test/bin/preview.test.ts', sees: "'link'" }],
  [
    /(npx edge-flag-relay|npm run) dashboard (-- )?--prometheus.*/,
    { by: 'test/bin/monitoring.test.ts', sees: '--prometheus' },
  ],
  [/npx edge-flag-relay (preflight|verify|dashboard) prod( .*)?/, { by: 'test/bin/cli.test.ts', sees: '--app' }],
  [/(npx )?edge-flag-relay (app|relay)/, { by: 'test/bin/cli.test.ts', sees: "'relay'" }],
  [/npx edge-flag-relay compare .*|npm run compare/, { by: 'test/bin/compare.test.ts', sees: '--config' }],
  [/npm run keys -- .*/, 'signed out'],
  [/npm run store -- .*/, 'signed out'],
  [/npm run (-s )?preflight -- prod( .*)?/, { by: 'test/bin/preflight.test.ts', sees: 'runPreflight' }],
  [/npm run (-s )?verify -- prod( .*)?/, { by: 'test/bin/verify.test.ts', sees: 'runVerify' }],
  [/npm run try -- (visit|stream|change)/, { by: 'test/bin/try.test.ts', sees: "'change'" }],
  [/npm run release -- minor( --dry-run)?/, { by: 'test/bin/release.test.ts', sees: "release('minor', true)" }],
  [/node flag\.mjs/, { by: 'test/examples/clients.test.ts', sees: "'reader'" }],
  [/npx edge-flag-relay try visit/, { by: 'test/bin/try.test.ts', sees: "'visit'" }],
  [
    /npx tsx examples\/run\/invoke\.ts .*/,
    { by: 'test/examples/functions.test.ts', sees: 'the command of docs/edge.md calls' },
  ],
  [/npx tsx examples\/run\.ts \S+/, { by: 'test/examples/clients.test.ts', sees: 'examples' }],

  [
    /(npm ci && |TESTS= )?npm test|npm run check|npm run (lint|typecheck|synth|size|sbom)|npm ci/,
    { by: '.ci/run', sees: /^TESTS= npm test$/m },
  ],
  [/npm ci && npm pack/, { by: 'test/support/tarball.ts', sees: "'npm', ['pack'" }],
  [/npx tsx test\/support\/write-metrics-page\.ts/, { by: 'test/docs-metrics.test.ts', sees: 'metrics-page' }],
  [/npx tsc -p \.|npx biome check .*/, { by: 'package.json', sees: 'biome check' }],
  [/npx cdk synth .*/, { by: 'package.json', sees: "cdk synth 'dev/*'" }],
  [/npx esbuild handler\.ts .*/, { by: 'test/examples/functions.test.ts', sees: "'lambda'" }],
  [/bash test\/interop\/install\.sh/, { by: '.ci/run', sees: 'bash test/interop/install.sh' }],
  [/([A-Z]+=1 )?npx jest .*/, 'long'],
  [/(NODE_OPTIONS=\S+ )?npm run (bench|fuzz|test:faults|test:long)( -- .*)?/, 'long'],
  [/node --max-semi-space-size=8 relay\.mjs/, 'long'],

  [/npx cdk (deploy|destroy|bootstrap)( .*)?/, 'needs AWS'],
  [/aws [\s\S]*/, 'needs AWS'],
  [/curl -s[i-]* .*http:\/\/127\.0\.0\.1:80\d0\/.*/, { by: 'test/bin/start.test.ts', sees: 'curl' }],
  [/curl -sf -X PATCH [\s\S]*/, { by: 'test/relay-task/upstream/heartbeat-pulse.test.ts', sees: '/variations/' }],
  [/curl .*(https?:\/\/|Cookie: ).*/, 'needs a deployed relay'],
  [/(LD_SDK_KEY=\S+ FLAGS_FILE= )?docker [\s\S]*/, 'needs Docker'],
  [/npm (install|audit) .*|npm install/, 'needs a registry'],
  [/npm version/, 'needs a registry'],
  [/git push .*|gh attestation .*|cosign [\s\S]*|sha256sum --check SHA256SUMS/, 'needs a registry'],
  // A file for the next command; test/docs.test.ts gives it to npm start's own reader.
  [/cat > edge\.json <<'END'[\s\S]*/, { by: 'test/docs.test.ts', sees: 'cat > edge' }],
];

const pages = [
  ...readdirSync(root).filter((name) => name.endsWith('.md') && name !== 'CHANGELOG.md'),
  ...['docs', 'examples'].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.md') && !name.includes('node_modules'))
      .map((name) => `${folder}/${name}`),
  ),
];

const PROGRAM =
  /^(?:[A-Z_]+=\S* )*(?:npm|npx|edge-flag-relay|ld-relay|docker|aws|curl|bash|node|git|gh|cosign|cat|source|sha256sum) ?/;

/** The commands of a page's blocks, and those in a line that have no placeholder. Comments are left out. */
function commandsOf(text: string): string[] {
  const found: string[] = [];
  const fence = /^ *```(\w*).*\n([\s\S]*?)^ *```/gm;
  for (const [, language = '', block = ''] of text.matchAll(fence)) {
    const isShell = ['sh', 'bash', 'shell', 'console'].includes(language);
    if (!isShell && !(language === '' && block.split('\n').every((line) => line === '' || PROGRAM.test(line))))
      continue;
    found.push(...statementsOf(block));
  }
  for (const [, code = ''] of text.replace(fence, '').matchAll(/`([^`\n]+)`/g)) {
    // Alone, a program's name is a word. A command is more than that.
    const isCommand = PROGRAM.test(code) && (code.includes(' ') || code === 'npm start');
    // With a verb at most it names a command: test/docs.test.ts knows the scripts.
    const isName = /^npm run [\w:-]+( -- [a-z-]+)?$/.test(code);
    if (isCommand && !isName && !/[<…]|\[-/.test(code)) found.push(code);
  }
  return found;
}

/** One for each command of a block: a line, or several that are continued or belong to a here-document. */
function statementsOf(block: string): string[] {
  const statements: string[] = [];
  let open = '';
  let end: string | undefined;
  for (const line of block.split('\n')) {
    if (end === undefined && open === '' && /^\s*(#|$)/.test(line)) continue;
    const text = end === undefined ? line.trim().replace(/\s+# .*$|\s{2,}#.*$/, '') : line;
    open = open === '' ? text : `${open}\n${text}`;
    if (end === undefined) [, end] = /<<'?(\w+)'?$/.exec(text) ?? [];
    else if (line === end) end = undefined;
    if (end !== undefined || /[\\|]$/.test(text)) continue;
    // Options in brackets are an overview, not a command.
    if (!open.includes('[--')) statements.push(open);
    open = '';
  }
  return statements;
}

const shown = pages.flatMap((page) => commandsOf(read(page)).map((command) => ({ page, command })));
const rowOf = (command: string) => rows.find(([pattern]) => new RegExp(`^(?:${pattern.source})$`).test(command));

test('commands are found in blocks and lines, continued ones as a whole', () => {
  const page = [
    'Run `npm start -- A=1`, not `npm` nor `npm run x -- <name>`.\n```sh\n# a comment\nnpm ci && npm start   # and another\n',
    "aws a \\\n  --b | c\ncat > f <<'END'\n# text\nEND\n```\n```json\nnpm no\n```\n```\nnpm run store -- show\n```\n",
  ].join('');
  expect(commandsOf(page)).toEqual([
    'npm ci && npm start',
    'aws a \\\n--b | c',
    "cat > f <<'END'\n# text\nEND",
    'npm run store -- show',
    'npm start -- A=1',
  ]);
  expect(shown.length).toBeGreaterThan(80);
});

test('every command that a page shows has a row', () => {
  expect(shown.filter(({ command }) => rowOf(command) === undefined)).toEqual([]);
});

test('every row is one of a command that a page shows', () => {
  const used = new Set(shown.map(({ command }) => rowOf(command)));
  expect(rows.filter((row) => !used.has(row)).map(([pattern]) => pattern.source)).toEqual([]);
});

test('what a row names does what the command does', () => {
  const missing = rows.flatMap(([pattern, how]) => {
    if (typeof how === 'string' || (existsSync(join(root, how.by)) && read(how.by).search(escaped(how.sees)) >= 0))
      return [];
    return [[pattern.source, how.by, String(how.sees)]];
  });
  expect(missing).toEqual([]);
});

const escaped = (text: string | RegExp) =>
  typeof text === 'string' ? new RegExp(text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')) : text;

describe('in a folder of its own', () => {
  const directory = mkdtempSync(join(tmpdir(), 'docs-commands-'));
  const [home, programs] = [join(directory, 'home'), join(directory, 'programs')];
  beforeAll(() => {
    for (const folder of [home, programs]) mkdirSync(folder);
    // Runs the clone's sources under the name that the installed package's command has.
    const script = (name: string, text: string) => {
      writeFileSync(join(programs, name), `#!/bin/sh\n${text}\n`);
      chmodSync(join(programs, name), 0o755);
    };
    const node = `exec '${process.execPath}' --import '${root}/node_modules/tsx/dist/esm/index.mjs'`;
    script('edge-flag-relay', `${node} '${root}/bin/cli.ts' "$@"`);
    script('npx', 'exec "$@"');
    // npm run [-s] <script> -- arguments
    script('npm', `shift; [ "$1" != -s ] || shift; name=$1; shift 2; ${node} "${root}/bin/$name.ts" "$@"`);
  });
  afterAll(() => rmSync(directory, { recursive: true }));

  const run = (command: string) => {
    const cwd = mkdtempSync(join(directory, 'work-'));
    writeFileSync(join(cwd, 'ttl.txt'), '60s\n');
    const child = spawn('bash', ['-c', command], {
      ...{ cwd, stdio: ['pipe', 'pipe', 'pipe'] },
      env: {
        ...{ HOME: home, PATH: `${programs}:/usr/bin:/bin` },
        ...{ AWS_EC2_METADATA_DISABLED: 'true', AWS_REGION: 'eu-west-1', DYNAMODB_TABLE: 'flags-prod' },
      },
    });
    let out = '';
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk: Buffer) => {
        out += chunk;
      });
    child.stdin.on('error', () => {});
    child.stdin.end('sdk-00000000-0000-4000-8000-000000000000\n');
    return new Promise<{ exitCode: number | null; out: string }>((resolve) => {
      child.on('close', (exitCode) => resolve({ exitCode, out }));
    });
  };

  const of = (wanted: How) => [
    ...new Set(shown.filter(({ command }) => rowOf(command)?.[1] === wanted).map(({ command }) => command)),
  ];

  test.each(of('here'))('%s ends well @heavy', async (command) => {
    expect(await run(command)).toMatchObject({ exitCode: 0 });
  });

  test.each(of('signed out'))('%s is understood, and lacks nothing but credentials @heavy', async (command) => {
    const { exitCode, out } = await run(command);
    expect([exitCode, out]).toEqual([expect.any(Number), expect.stringMatching(/credentials/i)]);
    expect(exitCode).not.toBe(0);
    expect(out).not.toMatch(/^Usage:/m);
  });
});
