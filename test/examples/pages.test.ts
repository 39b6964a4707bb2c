/** The documentation shows the examples' files: every code block of these pages is a file, or a region of one, or named as not run. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { commands } from '../../examples/run/commands.ts';

const root = join(import.meta.dirname, '../..');
const read = (path: string) => readFileSync(join(root, path), 'utf8');

interface Block {
  readonly language: string;
  /** `path`, or `path#region`; empty if the block shows no file. */
  readonly source: string;
  readonly text: string;
}

/** A block's info string is the language, then the file whose text it shows. */
const blocksOf = (page: string): Block[] =>
  [...page.matchAll(/^```(\w+) ?(.*)\n([\s\S]*?)^```$/gm)].map(([, language = '', source = '', text = '']) => ({
    language,
    source,
    text,
  }));

/** The lines between `#region <name>` and `#endregion` in a comment, without their common indentation. */
function regionOf(text: string, name: string): string {
  const lines = text.split('\n');
  const start = lines.findIndex((line) => new RegExp(`^\\s*(//|#) ?#?region ${name}$`).test(line));
  const length = lines.slice(start).findIndex((line) => /^\s*(\/\/|#) ?#?endregion$/.test(line));
  if (start < 0 || length < 0) throw new Error(`no region ${name}`);
  const inside = lines.slice(start + 1, start + length);
  const indent = Math.min(...inside.filter((line) => line.trim()).map((line) => line.search(/\S/)));
  return inside.map((line) => `${line.slice(indent)}\n`).join('');
}

function shown({ source }: Block): string {
  const [path = '', region] = source.split('#');
  return region === undefined ? read(path) : regionOf(read(path), region);
}

const pages = ['docs/sdks.md', 'docs/endpoints.md', 'docs/edge.md', 'docs/installing.md'];
/** Of the languages that people copy; JSON, shell and plain text are no programs. */
const programs = new Set(['js', 'ts', 'tsx', 'python', 'go', 'java', 'php', 'csharp', 'ruby', 'swift', 'kotlin']);

describe.each(pages)('%s', (page) => {
  const blocks = blocksOf(read(page)).filter(({ language }) => programs.has(language));
  const withFile = blocks.filter(({ source }) => source !== '');

  test('has blocks that show a file', () => {
    expect(withFile.length).toBeGreaterThan(0);
  });

  test.each(withFile.map((block) => [block.source, block] as const))('shows %s as it is', (_, block) => {
    expect(block.text).toBe(shown(block));
  });
});

test.each(['docs/endpoints.md', 'docs/edge.md'])('%s shows no program of its own', (page) => {
  const own = blocksOf(read(page)).filter(({ language, source }) => programs.has(language) && !source);
  expect(own).toEqual([]);
});

/** Of the table of SDKs: its first cell's text and its last cell. */
const families = [...read('docs/sdks.md').matchAll(/^\| \[(.+?)\]\(#.*\| (.+) \|$/gm)].map(([, name, run]) => ({
  name: name ?? '',
  run: run ?? '',
}));

describe('the table of docs/sdks.md', () => {
  test('has every section with a program, in the order of the page', () => {
    const sections = read('docs/sdks.md')
      .split(/^### /m)
      .slice(1)
      .map((text) => text.slice(0, text.indexOf('\n')));
    expect(families.map(({ name }) => name)).toEqual(sections);
    expect(families.length).toBeGreaterThan(15);
  });

  test.each(families)('says rightly whether a test runs the program of $name', ({ name, run }) => {
    const [, after = ''] = read('docs/sdks.md').split(`\n### ${name}\n`);
    const [block] = blocksOf(after.split(/^##/m)[0] ?? '');
    const isRun = Object.values(commands).some(({ args }) =>
      [...args, ...args.map((arg) => `examples/go/${normalize(arg)}/main.go`)].some(
        (arg) => block?.source && arg.endsWith(block.source),
      ),
    );
    expect({ name, run: isRun ? run : 'no' }).toEqual({ name, run: isRun ? expect.stringMatching(/^yes/) : run });
  });
});

const folders = readdirSync(join(root, 'examples'), { withFileTypes: true })
  .filter((entry) => entry.isDirectory() && entry.name !== 'run')
  .map(({ name }) => name);

test('examples/README.md lists every folder, and every example that the runner knows', () => {
  const page = read('examples/README.md');
  for (const folder of folders) expect(page).toContain(`](${folder}/)`);
  for (const name of Object.keys(commands)) expect(page).toContain(`| \`npx tsx examples/run.ts ${name}\` |`);
});
const readmes = ['examples', ...folders.map((folder) => `examples/${folder}`)]
  .map((folder) => `${folder}/README.md`)
  .filter((path) => existsSync(join(root, path)));

test.each(readmes)('every link in %s leads to an existing file', (path) => {
  const targets = [...read(path).matchAll(/\]\(([^)\s#]+)[^)]*\)/g)].map(([, target]) => target ?? '');
  const broken = targets.filter((target) => !/^[a-z]+:/.test(target) && !existsSync(join(root, dirname(path), target)));
  expect(broken).toEqual([]);
});

test.each(readmes)('every command of the runner in %s names an example', (path) => {
  const named = [...read(path).matchAll(/examples\/run\.ts ([\w-]+)/g)].map(([, name]) => name ?? '');
  expect(named.filter((name) => !(name in commands))).toEqual([]);
});
