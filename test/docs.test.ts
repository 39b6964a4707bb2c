/** Every setting, error code, address and script is documented, and nothing else is. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { devSettings } from '../bin/dev-settings.ts';
import {
  environmentSettings,
  ignoredEnvironmentPrefixes,
  ignoredForNow,
  refusedForNow,
  settings,
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

test('every setting stands in docs/configuration.md with its default, and no other does', () => {
  const rows = rowsOf(read('docs/configuration.md')).filter(([name]) => name?.startsWith('`'));
  const expected = [
    ...Object.values(settings).map((setting) => ({ ...setting, name: setting.env })),
    ...Object.values(environmentSettings).map((setting) => ({ ...setting, name: `${setting.env}<name>` })),
    ...Object.values(devSettings).map((setting) => ({ ...setting, name: setting.env })),
  ].map(({ name, fallback, says }) => [`\`${name}\``, fallback ? `\`${fallback}\`` : '–', says]);
  expect(rows).toEqual(expected);
});

test('what ld-relay has and this version does not is named in docs/configuration.md', () => {
  const page = read('docs/configuration.md');
  for (const name of [...refusedForNow, ...ignoredForNow]) expect(page).toContain(`\`${name}\``);
  for (const prefix of ignoredEnvironmentPrefixes) expect(page).toContain(`\`${prefix}<name>\``);
});

test('every error code stands in docs/errors.md, and no other does', () => {
  const source = read('relay-task/errors.ts');
  const codes = [...source.matchAll(/\| '([A-Z_]+)'/g)].map(([, code]) => code);
  expect(codes.length).toBeGreaterThan(3);
  const documented = rowsOf(read('docs/errors.md')).map(([code]) => code?.replaceAll('`', ''));
  expect(documented.filter((code) => /^[A-Z_]+$/.test(code ?? '')).sort()).toEqual(codes.sort());
});

test('every address stands in docs/endpoints.md, and no other does', () => {
  const health = {
    status: () => ({}),
    environmentStatus: () => undefined,
    readiness: () => ({ ready: true, waitingFor: [] }),
  };
  const served = createRoutes({ health }).map(({ method, path }) => `${method} ${path}`);
  const documented = rowsOf(read('docs/endpoints.md'))
    .filter(([method]) => /^[A-Z]+$/.test(method ?? ''))
    .map(([method, path]) => `${method} ${path?.replaceAll('`', '')}`);
  expect(documented).toEqual(served);
});

test('every npm script that a page names exists', () => {
  const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
  const known = new Set([...Object.keys(scripts), 'ci', 'install']);
  for (const page of ['README.md', 'CONTRIBUTING.md', 'docs/configuration.md', 'docs/operations.md', 'docs/edge.md']) {
    for (const [, script] of read(page).matchAll(/\bnpm (?:run )?(?:-s )?([a-z][\w:-]*)/g)) {
      expect({ page, script, exists: known.has(script ?? '') }).toEqual({ page, script, exists: true });
    }
  }
});
