/** Every setting, error code, endpoint and script is documented, and nothing else is; no link is broken. */
import { generateKeyPairSync } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, normalize } from 'node:path';
import { readEdgeFile } from '../bin/dev/edge-file.ts';
import { devSettings } from '../bin/dev-settings.ts';
import { USAGE } from '../relay-task/config/command-line.ts';
import {
  environmentSettings,
  filterSettings,
  type Setting,
  settings,
  settingsIn,
  settingsWithoutEffect,
} from '../relay-task/config/settings.ts';
import { createRoutes } from '../relay-task/endpoints/routes.ts';

const root = join(import.meta.dirname, '..');
const read = (path: string) => readFileSync(join(root, path), 'utf8');

/** The rows of a Markdown page's tables, cells trimmed. */
function rowsOf(page: string): string[][] {
  return page
    .split('\n')
    .filter((line) => line.startsWith('|') && !/^\|[-|]+\|$/.test(line))
    .map((line) =>
      line
        .slice(1, -1)
        .split('|')
        .map((cell) => cell.trim()),
    );
}

/** The part of a page below a heading. */
function below(page: string, heading: string): string {
  const start = page.indexOf(`\n${heading}\n`);
  if (start < 0) throw new Error(`no heading ${heading}`);
  const text = page.slice(start + heading.length + 2);
  const end = text.search(/^##/m);
  return end < 0 ? text : text.slice(0, end);
}

const inCode = (text: string | undefined) => (text ? `\`${text}\`` : '–');

describe('docs/configuration.md', () => {
  const page = read('docs/configuration.md');
  const rowsBelow = (heading: string) => rowsOf(below(page, heading)).filter(([name]) => /^[`–]/.test(name ?? ''));
  const all: [heading: string, suffix: string, Setting<unknown>][] = [
    ...settingsIn(settings).map((row): [string, string, Setting<unknown>] => [
      `### \`[${row.section}]\``,
      row.env.endsWith('_') ? '<name>' : '',
      row,
    ]),
    ...Object.values(environmentSettings).map((row): [string, string, Setting<unknown>] => [
      ...(['### `[Environment "<name>"]`', '<name>'] as const),
      row,
    ]),
    ...Object.values(filterSettings).map((row): [string, string, Setting<unknown>] => [
      ...(['### `[Filters "<project>"]`', '<project>'] as const),
      row,
    ]),
  ];
  const headings = [...new Set(all.map(([heading]) => heading))];

  test.each(headings)('%s lists every setting of the section with its default, and no others', (heading) => {
    const expected = all
      .filter(([where]) => where === heading)
      .map(([, suffix, { option, env, fallback, says }]) => [
        inCode(option),
        inCode(env + suffix),
        inCode(fallback),
        says,
      ]);
    expect(rowsBelow(heading)).toEqual(expected);
  });

  test('lists every section, and no others', () => {
    expect([...page.matchAll(/^### .*$/gm)].map(([heading]) => heading).sort()).toEqual([...headings].sort());
  });

  test('lists every setting without effect, with the reason', () => {
    const expected = settingsWithoutEffect.map(({ section, alsoIn = [], option, env, why }) => [
      [section, ...alsoIn].map((name) => `\`[${name}]\``).join(', '),
      ...[inCode(option), inCode(env.endsWith('_') ? `${env}<name>` : env), why],
    ]);
    expect(rowsBelow('## Without effect')).toEqual(expected);
  });

  test('lists the settings of npm start', () => {
    const expected = Object.values(devSettings).map(({ env, fallback, says }) => [inCode(env), inCode(fallback), says]);
    expect(rowsBelow('## `npm start`')).toEqual(expected);
  });

  test('lists every command-line option', () => {
    const options = [...USAGE.matchAll(/^ {2}(--[a-z-]+)/gm)].map(([, option]) => option);
    expect(options.length).toBeGreaterThan(4);
    const documented = rowsOf(below(page, '## The command line')).map(([option]) => option?.split(' ')[0]);
    expect(documented.filter((option) => option?.startsWith('--'))).toEqual(options);
  });
});

test('docs/migrating-from-ld-relay.md lists every old name of a setting', () => {
  const page = read('docs/migrating-from-ld-relay.md');
  const tables = [...settingsIn(settings), ...Object.values(environmentSettings), ...settingsWithoutEffect];
  const old = tables.flatMap((row: Pick<Setting<unknown>, 'old'>) => row.old ?? []);
  expect(old.length).toBeGreaterThan(3);
  for (const { option, env } of old) {
    for (const name of [option, env])
      if (name) expect(page).toContain(name.endsWith('_') ? `\`${name}<name>\`` : `\`${name}\``);
  }
});

test('docs/errors.md lists every error code, and no others', () => {
  const source = read('relay-task/errors.ts');
  const codes = [...source.matchAll(/\| '([A-Z_]+)'/g)].map(([, code]) => code);
  expect(codes.length).toBeGreaterThan(3);
  const documented = rowsOf(read('docs/errors.md')).map(([code]) => code?.replaceAll('`', ''));
  expect(documented.filter((code) => /^[A-Z_]+$/.test(code ?? '')).sort()).toEqual(codes.sort());
});

test('docs/endpoints.md lists every endpoint in the order of the routes, and no others', () => {
  const health = {
    status: () => [],
    *environmentStatus() {},
    readiness: () => ({ ready: true, waitingFor: [] }),
  };
  const served = createRoutes({ health, maxContextBytes: 0, maxInboundPayloadBytes: 0 }).map(
    ({ method, path }) => `${method} ${path}`,
  );
  const documented = rowsOf(read('docs/endpoints.md'))
    .filter(([method]) => /^[A-Z]+$/.test(method ?? ''))
    .map(([method, path]) => `${method} ${path?.replaceAll('`', '')}`);
  expect(documented).toEqual(served);
});

describe('docs/edge-router.md', () => {
  const page = read('docs/edge-router.md');

  /** The properties of an interface of a source file, in its order. */
  const propertiesOf = (path: string, name: string) => {
    const [, body = ''] =
      new RegExp(`^export interface ${name}[^{]*\\{\\n([\\s\\S]*?)^\\}`, 'm').exec(read(path)) ?? [];
    return [...body.matchAll(/^ {2}readonly (\w+)\??:/gm)].map(([, property]) => property ?? '');
  };
  const firstCells = (heading: string, from = page) =>
    rowsOf(below(from, heading)).flatMap(([cell]) =>
      [...(cell ?? '').matchAll(/`(\w+)`/g)].map(([, name]) => name ?? ''),
    );

  test('lists every setting of edge, and no others', () => {
    const known = propertiesOf('lib/infrastructure/stage-settings.ts', 'EdgeSettings');
    expect(known.length).toBeGreaterThan(25);
    const listed = firstCells('## All settings').filter((name) => name !== 'edge');
    expect([...listed].sort()).toEqual([...known].sort());
  });

  test('lists every property of an origin, and no others', () => {
    const known = ['CustomOrigin', 'BucketOrigin'].flatMap((name) =>
      propertiesOf('lambda/edge-router/config.ts', name),
    );
    expect(firstCells('### Origins').sort()).toEqual([...new Set(known)].sort());
  });

  test('and docs/edge.md list every option of the reader, and no others', () => {
    const known = propertiesOf('lambda/edge-reader/config.ts', 'ReaderConfig');
    const rows = firstCells('### Options', read('docs/edge.md'));
    expect(rows.slice(0, known.length).sort()).toEqual([...known].sort());
  });

  test('has a file for npm start that it accepts', () => {
    const [, json = ''] = /^cat > edge\.json <<'END'\n([\s\S]*?)^END$/m.exec(page) ?? [];
    const { publicKey } = generateKeyPairSync('ed25519');
    const file = join(mkdtempSync(join(tmpdir(), 'docs-')), 'edge.json');
    writeFileSync(file, json.replace('<the public key>', String(publicKey.export({ format: 'jwk' }).x)));
    expect(readEdgeFile(file, { flagKey: 'canary-checkout', chosen: false })).toMatchObject({
      flagKey: 'canary-checkout',
      rules: [{ flagKey: 'search-backend' }],
    });
    rmSync(dirname(file), { recursive: true });
  });
});

const pages = [
  'README.md',
  'CONTRIBUTING.md',
  'SECURITY.md',
  'CODE_OF_CONDUCT.md',
  ...readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
];

test('every npm script that a page mentions exists', () => {
  const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
  const known = new Set([...Object.keys(scripts), 'ci', 'install', 'audit', 'version']);
  for (const page of pages) {
    for (const [, script] of read(page).matchAll(/\bnpm (?:run )?(?:-s )?([a-z][\w:-]*)/g)) {
      expect({ page, script, exists: known.has(script ?? '') }).toEqual({ page, script, exists: true });
    }
  }
});

test('CONTRIBUTING.md describes every npm script, and no others', () => {
  const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
  const described = rowsOf(below(read('CONTRIBUTING.md'), '## Commands')).flatMap(([cell]) =>
    [...(cell ?? '').matchAll(/`npm (?:run )?([\w:-]+)/g)].map(([, script]) => script),
  );
  // npm runs that one by itself.
  expect(new Set(described)).toEqual(new Set(Object.keys(scripts).filter((name) => name !== 'prepack')));
});

/** The links of a page to other files of the repository, as paths from its root, with their anchors. */
function linksOf(page: string): { path: string; anchor: string | undefined }[] {
  const text = read(page).replace(/^```[\s\S]*?^```/gm, '');
  return [...text.matchAll(/\]\(([^)\s]+)\)/g)]
    .map(([, target]) => target ?? '')
    .filter((target) => !/^[a-z]+:/.test(target))
    .map((target) => {
      const [file, anchor] = target.split('#');
      return { path: file ? normalize(join(dirname(page), file)) : page, anchor };
    });
}

/** A heading's anchor, as GitHub makes it. */
const anchorOf = (heading: string) =>
  heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N} _-]/gu, '')
    .replaceAll(' ', '-');

test.each([...pages, 'CHANGELOG.md'])('every link in %s leads to an existing file and heading', (page) => {
  const broken = linksOf(page).filter(({ path, anchor }) => {
    if (!existsSync(join(root, path))) return true;
    if (anchor === undefined) return false;
    return ![...read(path).matchAll(/^#+ (.*)$/gm)].some(([, heading]) => anchorOf(heading ?? '') === anchor);
  });
  expect(broken).toEqual([]);
});

test.each(['docs', 'docs/decisions'])('%s/README.md links every page of its folder', (folder) => {
  const linked = new Set(linksOf(`${folder}/README.md`).map(({ path }) => path));
  const missing = pages.filter((page) => dirname(page) === folder && !page.endsWith('/README.md') && !linked.has(page));
  expect(missing).toEqual([]);
});
