/** `edge-flag-relay` and `ld-relay` as people have them who installed the package: outside a clone, without a home. */
import { execFile, spawn } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { commands } from '../../bin/cli/commands.ts';
import { planOf } from '../../bin/cli/run.ts';
import { type Restartable, restartWithSmallSemiSpace } from '../../bin/cli/semi-space.ts';
import { describeFailure } from '../../bin/cli/usage.ts';
import { usage as keysUsage } from '../../bin/keys/arguments.ts';
import { usage as previewUsage } from '../../bin/preview/arguments.ts';
import { usage as storeUsage } from '../../bin/store/arguments.ts';
import { flag } from '../relay-task/store/items.ts';
import { openTable } from '../relay-task/store/open-stores.ts';
import { commandBundle } from '../support/command-bundle.ts';
import { eventually } from '../support/eventually.ts';
import { exampleFile } from '../support/example-environment.ts';
import { createMemory } from '../support/memory.ts';
import { closeAfterEach } from '../support/opened.ts';
import { listeningPort, runCommand } from '../support/relay-process.ts';
import { startSsmServer } from '../support/ssm-server.ts';

const { behind, opened } = closeAfterEach();
const root = join(import.meta.dirname, '../..');
const packageJson = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
const names = commands.map(({ name }) => name);

describe('the arguments', () => {
  test.each([[[]], [['--help']], [['-h']], [['help']]])('%j print the list of commands', (args) => {
    const plan = planOf(args);
    expect(plan).toEqual({ exitCode: 0, out: expect.stringContaining('edge-flag-relay <command>') });
    const listed = [...('out' in plan ? plan.out : '').matchAll(/^ {2}([a-z]+) {2,}\S/gm)].map(([, name]) => name);
    expect(listed).toEqual(names);
  });

  test.each([['--version'], ['-v']])('%s prints the version of the package', (option) => {
    expect(planOf([option])).toEqual({ exitCode: 0, out: `${packageJson.version}\n` });
  });

  test.each([
    [['keys', 'list', 'prod'], 'keys', ['list', 'prod']],
    [['help', 'store'], 'store', ['--help']],
    [['relay', '--version'], 'relay', ['--version']],
  ])('%j runs a command with its own arguments', (given, name, args) => {
    expect(planOf(given)).toEqual({ name, args });
  });

  test.each([
    [['kesy'], 'Unknown command kesy: did you mean keys?'],
    [['help', 'stor'], 'Unknown command stor: did you mean store?'],
    [['hlep'], 'Unknown command hlep: did you mean help?'],
    [['--verison'], 'Unknown option --verison: did you mean --version?'],
    [['--frobnicate'], 'Unknown option --frobnicate: expected one of --help, --version'],
    [['completion'], 'completion needs one shell: bash, zsh, fish'],
    [['completion', 'fihs'], 'Unknown shell fihs: did you mean fish?'],
    [['constructor'], `Unknown command constructor: expected one of ${names.join(', ')}, help, completion`],
    [['completion', 'constructor'], 'Unknown shell constructor: expected one of bash, zsh, fish'],
  ])('%j is a usage error', (args, problem) => {
    expect(planOf(args)).toEqual({ exitCode: 2, problem });
  });
});

test('docs/commands.md lists every command as the program does, and no others', () => {
  const page = readFileSync(join(root, 'docs/commands.md'), 'utf8');
  const rows = [...page.matchAll(/^\| `([a-z]+)` \| `[^`]+` \| ([^|]+) \| \[/gm)].map(([, name, says]) => ({
    name,
    says,
  }));
  expect(rows).toEqual(commands.map(({ name, says }) => ({ name, says })));
});

describe('completion', () => {
  const script = (shell: string) => {
    const plan = planOf(['completion', shell]);
    return 'out' in plan ? plan.out : '';
  };

  test.each([
    ['edge-flag-relay pre', 'preflight preview'],
    ['edge-flag-relay keys r', 'rotate revoke'],
    ['edge-flag-relay help st', 'start store'],
    ['edge-flag-relay verify x', ''],
  ])('bash completes %s', async (line, expected) => {
    const words = line.split(' ');
    const ask = `COMP_WORDS=(${words.join(' ')}); COMP_CWORD=${words.length - 1}; _edge_flag_relay; echo "\${COMPREPLY[*]}"`;
    const { stdout } = await promisify(execFile)('bash', ['-c', `${script('bash')}\n${ask}`]);
    expect(stdout).toBe(`${expected}\n`);
  });

  test('zsh runs the script of bash, and fish has a line for each command', () => {
    expect(script('zsh')).toBe(`autoload -Uz bashcompinit && bashcompinit\n${script('bash')}`);
    const lines = script('fish').split('\n');
    for (const { name } of commands) expect(lines.filter((line) => line.includes(` -a ${name} -d '`))).toHaveLength(1);
  });

  test.each([
    ['keys', keysUsage],
    ['store', storeUsage],
    ['preview', previewUsage],
  ])('knows the verbs of %s that its usage lists', (name, usage) => {
    const listed = [...usage.matchAll(new RegExp(`^ {2}npm run ${name} -- ([a-z-]+)`, 'gm'))].map(([, verb]) => verb);
    expect(listed.length).toBeGreaterThan(1);
    expect(commands.find((one) => one.name === name)?.verbs).toEqual(listed);
  });
});

describe('Node’s option for the relay', () => {
  const started: unknown[] = [];
  const self: Restartable = {
    ...{ argv: ['/node', '/bin/ld-relay.mjs', '--from-env'], execArgv: ['--no-warnings'], execPath: '/node', env: {} },
    execve: (...given) => void started.push(given),
  };
  beforeEach(() => {
    started.length = 0;
  });

  test('is given by replacing the process', () => {
    restartWithSmallSemiSpace(self);
    const args = ['/node', '--max-semi-space-size=2', '--no-warnings', '/bin/ld-relay.mjs', '--from-env'];
    expect(started).toEqual([['/node', args, {}]]);
  });

  test.each([
    [{ execArgv: ['--max-semi-space-size=2'] }],
    [{ execArgv: ['--max_semi_space_size=8'] }],
    [{ env: { NODE_OPTIONS: '--max-semi-space-size=16' } }],
    [{ execve: undefined }],
  ])('is not given if there is a size already, or Node cannot replace a process: %j', (given) => {
    restartWithSmallSemiSpace({ ...self, ...given } as Restartable);
    expect(started).toEqual([]);
  });
});

test('a peer that is missing is named with what installs it, anything else as it is', () => {
  const missing = Object.assign(new Error("Cannot find package 'aws-cdk-lib' imported from /x.mjs"), {
    code: 'ERR_MODULE_NOT_FOUND',
  });
  expect(describeFailure(missing)).toBe(
    'aws-cdk-lib is not installed, which this needs: npm install --save-dev aws-cdk-lib constructs',
  );
  expect(describeFailure(new Error('anything'))).toBe('anything');
});

interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** An empty folder, which is the home directory, too. */
function emptyFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'installed-'));
  behind(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Runs one of the bundled programs. */
async function installed(
  args: readonly string[],
  {
    program = 'edge-flag-relay',
    file,
    folder = emptyFolder(),
    env = {},
    input = '',
  }: { program?: string; file?: string; folder?: string; env?: Record<string, string>; input?: string } = {},
): Promise<Ran> {
  const { PATH = '' } = process.env;
  const child = spawn(file ?? join(await commandBundle(), `${program}.mjs`), args, {
    cwd: folder,
    env: { PATH, HOME: folder, AWS_EC2_METADATA_DISABLED: 'true', ...env },
  });
  const printed = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].on('data', (chunk: Buffer) => {
      printed[name] += chunk.toString();
    });
  }
  child.stdin.end(input);
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  return { code, ...printed };
}

describe('installed', () => {
  test.each([
    [[], 0, /^ {2}keys {7}keys and settings/m],
    [['--version'], 0, new RegExp(`^${packageJson.version}\n$`)],
    [['preflihgt'], 2, /^Unknown command preflihgt: did you mean preflight\?\nUsage: edge-flag-relay --help\n$/],
    [['preflight', 'prod', '--ofline'], 2, /^Unknown option --ofline: did you mean --offline\?$/m],
    [['keys', 'lsit', 'prod'], 2, /did you mean list\?\nUsage: edge-flag-relay keys --help\n$/],
  ])('%j exits with its code, and says what to do @heavy', async (args, code, message) => {
    const ran = await installed(args);
    expect({ code: ran.code, output: ran.stdout + ran.stderr }).toEqual({
      ...{ code, output: expect.stringMatching(message) },
    });
  });

  // As npm 11 and npm 10 set them for a command of theirs.
  test.each([
    ["'edge-flag-relay'", 'npx edge-flag-relay'],
    ['edge-flag-relay keys lsit', 'npx edge-flag-relay'],
    ["'jest'", 'edge-flag-relay'],
  ])('messages name the command as npx runs it: %s @heavy', async (script, called) => {
    const env = { npm_command: 'exec', npm_lifecycle_script: script };
    const { stderr } = await installed(['keys', 'lsit', 'prod'], { env });
    expect(stderr).toContain(`\nUsage: ${called} keys --help\n`);
  });

  test.each(names.filter((name) => !['relay', 'start', 'app'].includes(name)))(
    'help %s names the command as it is called, and nothing of a clone @heavy',
    async (name) => {
      const { code, stdout, stderr } = await installed(['help', name]);
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      expect(stdout).toMatch(new RegExp(`^  edge-flag-relay ${name} [<[a-z]`, 'm'));
      expect(stdout).not.toContain('npm run');
    },
  );

  test('keys list shows what SSM has, and needs no stage @heavy', async () => {
    const ssm = opened(await startSsmServer());
    const credentials = { AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'test' };
    const where = ['--region', 'eu-west-1', '--endpoint', ssm.endpoint];
    const put = await installed(['keys', 'put', 'prod', 'shop', 'ttl', ...where], { env: credentials, input: '1m' });
    expect(put).toMatchObject({ code: 0, stderr: '' });
    const { code, stdout } = await installed(['keys', 'list', 'prod', ...where], { env: credentials });
    expect(code).toBe(0);
    expect(stdout).toMatch(/^shop\/ttl +String +1 .* 1m$/m);
  });

  test('store shows what a table holds @heavy', async () => {
    const stores = opened(await openTable());
    const holder = await stores.open(createMemory(flag('a', 1)), { prefix: 'shop' });
    holder.setEligible(true);
    await holder.flush(60_000);
    const { code, stdout } = await installed(
      ['store', 'verify', '--table', 'flags', '--prefix', 'shop', '--endpoint', stores.table.endpoint],
      { env: { AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'test' } },
    );
    expect({ code, stdout }).toEqual({
      ...{ code: 0, stdout: 'table flags, prefix shop: 0 differ, 1 items are the same in both layouts\n' },
    });
  });

  test('preview makes a key and a link @heavy', async () => {
    const folder = emptyFolder();
    expect(await installed(['preview', 'new-key', 'key.pem'], { folder })).toMatchObject({ code: 0, stderr: '' });
    const link = ['preview', 'link', 'prod', 'a=b', '--site', 'https://shop.example.com', '--key', 'key.pem'];
    const { code, stdout } = await installed(link, { folder });
    expect({ code, stdout }).toEqual({
      ...{ code: 0, stdout: expect.stringMatching(/^https:\/\/shop\.example\.com\/__flag-preview\?t=/) },
    });
  });

  test.each([
    ['edge-flag-relay', ['relay', '--from-env']],
    ['ld-relay', ['--from-env']],
  ])('%s %j serves a flags file @heavy', async (program, args) => {
    const file = join(await commandBundle(), `${program}.mjs`);
    const folder = emptyFolder();
    const variables = { LD_ENV_local: 'sdk-local', LD_FLAGS_FILE_local: exampleFile, LISTEN_HOST: '127.0.0.1' };
    const env = { PATH: process.env.PATH ?? '', HOME: folder, PORT: '0', DRAIN_WINDOW: '0', ...variables };
    const relay = runCommand([file, ...args], env);
    behind(() => relay.child.kill('SIGKILL'));
    const port = await eventually(() => listeningPort(relay.output().stdout));
    const status = await eventually(async () => {
      const answer = (await (await fetch(`http://127.0.0.1:${port}/status`)).json()) as Record<string, unknown>;
      expect(answer.status).toBe('healthy');
      return answer;
    });
    expect(status.version).toBe(packageJson.version);
    relay.child.kill('SIGTERM');
    expect(await relay.exited).toBe(0);
  });

  test('ld-relay --check reads an ld-relay.conf of the folder @heavy', async () => {
    const folder = emptyFolder();
    writeFileSync(
      join(folder, 'ld-relay.conf'),
      '[Main]\nport = 8031\n\n[Environment "shop"]\nsdkKey = sdk-11111111-aaaa-4aaa-8aaa-00000000beef\n',
    );
    const options = { program: 'ld-relay', folder };
    const { code, stdout } = await installed(['--config', 'ld-relay.conf', '--check'], options);
    expect(code).toBe(0);
    expect(stdout).toMatch(/8031/);
    expect(stdout).toContain('shop');
    expect(stdout).not.toContain('00000000beef');
  });

  test('relay restarts Node with the same command and arguments @heavy', async () => {
    // Stands in for Node's own, which older versions do not have.
    const folder = emptyFolder();
    const execve = join(folder, 'execve.mjs');
    const print = '(file, args) => { process.stdout.write(JSON.stringify(args.slice(1))); process.exit(0); }';
    writeFileSync(execve, `process.execve = ${print};\n`);
    const { code, stdout } = await installed(['relay', '--from-env', '--check'], {
      env: { NODE_OPTIONS: `--import=${execve}` },
    });
    const file = join(await commandBundle(), 'edge-flag-relay.mjs');
    expect({ code, args: JSON.parse(stdout) }).toEqual({
      ...{ code: 0, args: ['--max-semi-space-size=2', file, 'relay', '--from-env', '--check'] },
    });
  });

  test('start evaluates a flag for a viewer at a local edge, from the example of the package @heavy', async () => {
    const folder = emptyFolder();
    const file = join(await commandBundle(), 'edge-flag-relay.mjs');
    const env = { PATH: process.env.PATH ?? '', HOME: folder, TMPDIR: folder };
    const ports = ['PORT=0', 'DYNAMODB_PORT=0', 'EDGE_PORT=0'];
    const { child, output, exited } = runCommand([file, 'start', ...ports], env, { cwd: folder });
    behind(() => child.kill('SIGKILL'));
    const edge = await eventually(() => {
      const [, address = ''] = /^ +edge +(http:\/\/\S+)/m.exec(output().stdout) ?? [];
      if (address === '' && child.exitCode === null) throw new Error('it starts');
      return address;
    });
    expect([edge, output().stderr]).toEqual([expect.stringMatching(/^http/), expect.any(String)]);
    // Until the flags have arrived, which a busy machine takes its time for, the default decides.
    await eventually(async () => {
      const { headers } = await fetch(edge);
      const [, variant] = /^canary-checkout=(stable|canary); reason=FALLTHROUGH/.exec(headers.get('x-flag-decision')!)!;
      expect(headers.get('x-origin')).toBe(variant);
    });
    child.kill('SIGTERM');
    expect(await exited).toBe(0);
  });

  test.each([
    [['preflight', 'prod'], 2],
    [['verify', 'prod'], 2],
    [['dashboard', 'prod'], 2],
  ])('%j without a stage names what has one, without a stack trace @heavy', async (args, code) => {
    const ran = await installed(args);
    expect(ran).toMatchObject({
      code,
      stderr: expect.stringContaining(
        'stage "prod" is unknown: cdk.json in this directory has no "stages" in its context; for a CDK app of your own pass --app cdk.out',
      ),
    });
    expect(ran.stderr).not.toMatch(/^ +at /m);
  });

  test.each([
    [['verify', 'dev'], 'stdout', 1],
    [['app'], 'stderr', 1],
    [['dashboard', 'dev'], 'stderr', 2],
  ] as const)('%j without the CDK names what installs it @heavy', async (args, stream, code) => {
    const folder = emptyFolder();
    writeFileSync(join(folder, 'cdk.json'), JSON.stringify({ context: { stages: { dev: smallStage } } }));
    const ran = await installed(args, { folder });
    expect(ran.code).toBe(code);
    expect(ran[stream].replace(/\s+/g, ' ')).toContain('npm install --save-dev aws-cdk-lib constructs');
  });
});

test.each(['null', '{"context":[]}'])('a cdk.json that is %s is told in words @heavy', async (text) => {
  const folder = emptyFolder();
  writeFileSync(join(folder, 'cdk.json'), text);
  const { code, stdout } = await installed(['preflight', 'prod'], { folder });
  expect({ code, stdout: stdout.replace(/\s+/g, ' ') }).toEqual({
    code: 1,
    stdout: expect.stringContaining('cdk.json must be an object, and its "context" too'),
  });
});

describe('installed beside the CDK, with a stage in cdk.json', () => {
  /** A project as npm leaves it. */
  async function project(): Promise<{ folder: string; file: string }> {
    const folder = emptyFolder();
    const own = join(folder, 'node_modules/edge-flag-relay/dist');
    cpSync(dirname(await commandBundle()), own, { recursive: true });
    for (const name of ['aws-cdk-lib', 'constructs']) {
      symlinkSync(join(root, 'node_modules', name), join(folder, 'node_modules', name));
    }
    writeFileSync(join(folder, 'cdk.json'), JSON.stringify({ context: { stages: { shop: smallStage } } }));
    return { folder, file: join(own, 'bin/edge-flag-relay.mjs') };
  }

  test('app is the CDK app of the stage @heavy', async () => {
    const { folder, file } = await project();
    // How the CDK's command line calls an app.
    const context = JSON.stringify({ stage: 'shop', stages: { shop: smallStage } });
    const env = { CDK_OUTDIR: join(folder, 'cdk.out'), CDK_CONTEXT_JSON: context };
    const { code, stderr } = await installed(['app'], { folder, env, file });
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const manifest = JSON.parse(readFileSync(join(folder, 'cdk.out/assembly-shop/manifest.json'), 'utf8'));
    const { artifacts } = manifest as { artifacts: Record<string, { properties?: { stackName?: string } }> };
    expect(Object.values(artifacts).flatMap(({ properties }) => properties?.stackName ?? [])).toEqual(
      expect.arrayContaining(['edge-flag-relay-shop-data', 'edge-flag-relay-shop-relay']),
    );
  });

  test('preflight synthesises it, and says that nobody is signed in @heavy', async () => {
    const { folder, file } = await project();
    const { code, stdout, stderr } = await installed(['preflight', 'shop', '--offline'], { folder, file });
    expect({ code, stderr }).toEqual({ code: 1, stderr: '' });
    expect(stdout).toMatch(/^✓ stage shop is valid\n✗ not signed in to AWS$/m);
    expect(stdout).toContain('edge-flag-relay-shop-relay');
    expect(stdout).not.toContain('cannot be synthesised');
  });

  test('dashboard writes its page into the current directory @heavy', async () => {
    const { folder, file } = await project();
    const { code, stdout } = await installed(['dashboard', 'shop'], { folder, file });
    expect({ code, stdout }).toEqual({ code: 0, stdout: `${join(folder, 'dashboard-shop.html')}\n` });
    expect(readFileSync(join(folder, 'dashboard-shop.html'), 'utf8')).toContain('<h1>Feature flags: shop</h1>');
  });
});

/** A stage that needs nothing. */
const smallStage = {
  homeRegion: 'eu-west-1',
  replicaRegions: [],
  tableName: 'flags-dev',
  production: false,
  environments: ['test'],
};
