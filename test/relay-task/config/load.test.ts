/** The command line, and the file and variables that it selects: as in ld-relay, with a few extensions. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Variables } from '../../../relay-task/config/config.ts';
import { type Loaded, loadConfig } from '../../../relay-task/config/load.ts';
import { problemsOf } from '../../support/config-rows.ts';

const conf = (name: string) => `[Environment "${name}"]\nsdkKey = sdk-${name}`;

function load(args: string, files: Record<string, string> = {}, variables: Variables = {}): Loaded {
  return loadConfig(args === '' ? [] : args.split(' '), variables, { readFile: (path) => files[path] });
}

function environmentsOf(loaded: Loaded): string[] {
  return 'config' in loaded
    ? ('environments' in loaded.config ? loaded.config.environments : []).map(({ name }) => name)
    : [];
}

describe('the source of the configuration', () => {
  const files = { 'a.conf': conf('a'), 'b.conf': conf('b'), '/etc/ld-relay.conf': conf('etc') };
  const variables = { LD_ENV_v: 'sdk-v' };

  test.each<[string, string[]]>([
    ['--config a.conf', ['a']],
    ['-config a.conf', ['a']],
    ['--config=a.conf', ['a']],
    ['-config=a.conf', ['a']],
    ['--config a.conf --from-env', ['a', 'v']],
    ['--from-env --config a.conf', ['a', 'v']],
    ['-from-env', ['v']],
    ['--from-env=true', ['v']],
    ['--config a.conf --from-env=false', ['a']],
    ['--config none.conf --allow-missing-file --from-env', ['v']],
    ['--config a.conf --config b.conf', ['b']],
    ['--config none.conf,b.conf,a.conf', ['b']],
    ['--config none.conf,neither.conf --allow-missing-file --from-env', ['v']],
    ['--config a.conf extra --from-env', ['a']],
    ['--config a.conf -- --from-env', ['a']],
    ['', ['etc']],
    ['--allow-missing-file', ['etc']],
  ])('is right for the arguments %j', (args, names) =>
    expect(environmentsOf(load(args, files, variables))).toEqual(names),
  );

  test('may be variables alone, without arguments and without /etc/ld-relay.conf', () => {
    expect(environmentsOf(load('', {}, variables))).toEqual(['v']);
    expect(load('', {}, { AUTO_CONFIG_KEY: 'rel-1' })).toMatchObject({ config: { autoConfig: { key: 'rel-1' } } });
    expect(environmentsOf(load('', {}, { LD_FLAGS_FILE_f: 'flags.yaml' }))).toEqual(['f']);
  });

  test('excludes variables if there is a file, and a warning names them', () => {
    const loaded = load('', files, { ...variables, PORT: '1' });
    expect(loaded).toMatchObject({
      config: { port: 8030 },
      warnings: ['LD_ENV_v: ignored, since there is a configuration file; pass --from-env to use both'],
    });
  });
});

describe('a missing file', () => {
  test.each([
    ['', 'File not found: /etc/ld-relay.conf. Pass --config FILE, or set LD_ENV_<name>.'],
    ['--config x', 'File not found: x. Create it, or pass --allow-missing-file.'],
    ['--config x --from-env', 'File not found: x. Create it, or pass --allow-missing-file.'],
    ['--config x,y', 'None of these files exists: x, y. Create one, or pass --allow-missing-file.'],
  ])('is reported for arguments %j', (args, problem) => {
    expect(problemsOf(() => load(args, {}, { PORT: '1', ...(args !== '' && { LD_ENV_a: 'sdk-a' }) }))).toEqual([
      problem,
    ]);
  });

  test('is tolerated with --allow-missing-file, but other problems are not', () => {
    expect(problemsOf(() => load('--config x --allow-missing-file', { x: '[' }))[0]).toMatch(/^x:1: invalid section/);
    const readFile = () => {
      throw new Error('EACCES: permission denied');
    };
    expect(problemsOf(() => loadConfig(['--config', 'x', '--allow-missing-file'], {}, { readFile }))).toEqual([
      'Cannot read x: EACCES: permission denied',
    ]);
  });
});

describe('the command line', () => {
  test.each([
    ['--version', { command: 'version' }],
    ['-version', { command: 'version' }],
    ['--help', { command: 'help' }],
    ['-h', { command: 'help' }],
    ['--frobnicate', { command: 'help', problem: 'Unknown option --frobnicate' }],
    ['--chek', { command: 'help', problem: 'Unknown option --chek: did you mean --check?' }],
    ['--from-env=maybe', { command: 'help', problem: '--from-env takes no value but true or false' }],
    ['--config', { command: 'help', problem: '--config needs a file name' }],
    ['--config=', { command: 'help', problem: '--config needs a file name' }],
    ['--toString', { command: 'help', problem: 'Unknown option --toString' }],
  ])('gives the command or usage for %s', (args, expected) => expect(load(args)).toMatchObject(expected));

  test('reports a wrong argument without its value', () => {
    expect(JSON.stringify(load('--sdk-key=sdk-1234'))).not.toContain('1234');
  });
});

test('files are read from disk, and messages show the path as given', () => {
  const directory = mkdtempSync(join(tmpdir(), 'config-'));
  try {
    const path = join(directory, 'ld-relay.conf');
    writeFileSync(path, `[Main]\nport = x\n${conf('disk')}`);
    const missing = join(directory, 'missing.conf');
    expect(problemsOf(() => loadConfig(['--config', `${missing},${path}`], {}))).toEqual([
      `${path}:2: [Main] port = x is invalid: expected an integer from 0 to 65535`,
    ]);
    expect(problemsOf(() => loadConfig(['--config', directory], {}))[0]).toMatch(/^Cannot read .*: EISDIR/);
  } finally {
    rmSync(directory, { recursive: true });
  }
});
