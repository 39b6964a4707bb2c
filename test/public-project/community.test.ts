/** What a public project says about its licence, its reviewers and its reports. */
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { jsonSchemaIsInstalled, schemaErrorsOf } from '../support/json-schema.ts';

const root = join(import.meta.dirname, '../..');
const read = (path: string) => readFileSync(join(root, path), 'utf8');
const schema = (name: string) => join(root, `test/fixtures/github/${name}.schema.json`);

interface Field {
  readonly type: string;
  readonly id?: string;
  readonly attributes: { readonly label?: string };
  readonly validations?: { readonly required?: boolean };
}
interface Form {
  readonly name: string;
  readonly body: readonly Field[];
}
const forms = Object.fromEntries(
  readdirSync(join(root, '.github/ISSUE_TEMPLATE'))
    .filter((file) => file !== 'config.yml')
    .map((file) => [file, parse(read(`.github/ISSUE_TEMPLATE/${file}`)) as Form]),
);
const chooser = parse(read('.github/ISSUE_TEMPLATE/config.yml'));

test('the licence is Apache-2.0, byte for byte', () => {
  // https://www.apache.org/licenses/LICENSE-2.0.txt, which has SPDX's text of Apache-2.0.
  expect(createHash('sha256').update(read('LICENSE')).digest('hex')).toBe(
    'cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30',
  );
});

test('every path in CODEOWNERS exists and has owners', () => {
  const rows = read('.github/CODEOWNERS')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => line.split(/ +/));
  expect(rows[0]?.[0]).toBe('*');
  for (const [path, ...owners] of rows) {
    expect(path === '*' || existsSync(join(root, path ?? ''))).toBe(true);
    expect(owners).not.toEqual([]);
    for (const owner of owners) expect(owner).toMatch(/^@[a-z\d-]+\/[a-z\d-]+$/);
  }
});

describe('the issue forms', () => {
  const fieldsOf = (name: string) => (forms[name]?.body ?? []).filter(({ type }) => type !== 'markdown');
  const ids = (name: string) => fieldsOf(name).map(({ id }) => id);

  test('ask for what a bug report needs', () => {
    const needed = ['part', 'version', 'what', 'reproduce', 'check', 'status', 'log', 'sdk', 'ld-relay', 'environment'];
    expect(ids('bug.yml')).toEqual(needed);
    // What somebody may not have must not stop a report.
    const required = fieldsOf('bug.yml').filter(({ validations }) => validations?.required);
    expect(required.map(({ id }) => id)).toEqual(['part', 'version', 'what', 'reproduce']);
  });

  test('exist for bugs, features and migrations, and are the only way', () => {
    expect(Object.keys(forms).sort()).toEqual(['bug.yml', 'feature.yml', 'migration.yml']);
    expect(chooser.blank_issues_enabled).toBe(false);
  });

  test('give every field an ID and a label of its own', () => {
    for (const name of Object.keys(forms)) {
      expect({ name, unnamed: ids(name).filter((id) => !/^[a-z][\w-]*$/.test(id ?? '')) }).toEqual({
        name,
        unnamed: [],
      });
      const labels = fieldsOf(name).map(({ attributes }) => attributes.label);
      expect({ name, fields: new Set(ids(name)).size }).toEqual({ name, fields: ids(name).length });
      expect({ name, labels: new Set(labels).size }).toEqual({ name, labels: labels.length });
    }
  });
});

const withSchemas = jsonSchemaIsInstalled ? describe : describe.skip;
withSchemas("GitHub's schemas (Python's jsonschema is installed)", () => {
  test('accept every issue form @heavy', () => {
    const errors = schemaErrorsOf(schema('github-issue-forms'), forms);
    expect(errors).toEqual(Object.fromEntries(Object.keys(forms).map((name) => [name, []])));
  });

  test("accept the issue chooser's configuration @heavy", () => {
    expect(schemaErrorsOf(schema('github-issue-config'), { chooser })).toEqual({ chooser: [] });
  });
});
