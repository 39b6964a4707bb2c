/** What the published package knows of updates that replace a resource is what AWS's database says. */
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import type * as Rules from '../../lib/infrastructure/replacement-rules.ts';
import {
  prepareReplacementRules,
  type ReplacementRules,
  RULES_FILE,
} from '../../lib/infrastructure/replacement-rules.ts';

const directory = mkdtempSync(join(tmpdir(), 'replacement-rules-'));
afterAll(() => rmSync(directory, { recursive: true }));

/** The rules as the package reads them. */
async function readFrom(assets: string): Promise<ReplacementRules> {
  let loaded: typeof Rules | undefined;
  await jest.isolateModulesAsync(async () => {
    jest.doMock('../../lib/infrastructure/prebuilt.ts', () => ({ prebuilt: (path: string) => join(assets, path) }));
    loaded = await import('../../lib/infrastructure/replacement-rules.ts');
    jest.dontMock('../../lib/infrastructure/prebuilt.ts');
  });
  return loaded!.readReplacementRules();
}

test('a package without the rules says which file is missing', async () => {
  await expect(readFrom(directory)).rejects.toThrow(RULES_FILE);
});

test('every property of every resource type has the rule of the database, in a twentieth of its size @heavy', async () => {
  const file = join(import.meta.dirname, '../../node_modules/aws-cdk/db.json.gz');
  const { entities } = JSON.parse(gunzipSync(readFileSync(file)).toString('utf8')).schema.resource;
  prepareReplacementRules(directory);
  const rules = await readFrom(directory);
  const wrong: string[] = [];
  let replacing = 0;
  for (const { cloudFormationType: type, properties, primaryIdentifier } of entities) {
    for (const [name, { causesReplacement = 'no' }] of Object.entries<{ causesReplacement?: string }>(properties)) {
      replacing += Number(causesReplacement !== 'no');
      if (rules.replaces(type, name) !== (causesReplacement !== 'no')) wrong.push(`${type}.${name}`);
    }
    // One that AWS chooses is no property.
    const chosen = primaryIdentifier?.length > 0 && primaryIdentifier.every((name: string) => name in properties);
    if (JSON.stringify(rules.identity(type)) !== JSON.stringify(chosen ? primaryIdentifier : undefined))
      wrong.push(type);
  }
  expect(wrong).toEqual([]);
  expect(replacing).toBeGreaterThan(1_000);
  expect(rules.replaces('AWS::DynamoDB::GlobalTable', 'KeySchema')).toBe(true);
  expect(rules.identity('AWS::DynamoDB::GlobalTable')).toEqual(['TableName']);
  expect(statSync(join(directory, RULES_FILE)).size * 20).toBeLessThan(statSync(file).size);
});
