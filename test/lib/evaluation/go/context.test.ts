import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { canonicalKey, describeGoContextProblem, parseGoContext } from '../../../../lib/evaluation/index.ts';

const user = { kind: 'user', key: 'u' };

test.each([
  [undefined, 'a context must be an object, not missing'],
  ['user', 'a context must be an object, not a string'],
  [{ kind: 'kind', key: 'k' }, `a context's kind must be letters, digits, ".", "_" or "-", and not "kind", not "kind"`],
  [{ kind: null, key: 'k' }, `a context's kind must be letters, digits, ".", "_" or "-", and not "kind", not null`],
  [{ kind: '', key: 'k' }, `a context's kind must be letters, digits, ".", "_" or "-", and not "kind", not ""`],
  [{ kind: 'org' }, 'the key of the org context must be a non-empty string, not missing'],
  [{ ...user, name: 7 }, 'the name of the user context must be a string, not a number'],
  [{ ...user, anonymous: 'yes' }, 'anonymous of the user context must be true or false, not a string'],
  [{ ...user, anonymous: null }, 'anonymous of the user context must be true or false, not null'],
  [{ ...user, _meta: [] }, '_meta of the user context must be an object, not an array'],
  [
    { ...user, _meta: { privateAttributes: 3 } },
    '_meta.privateAttributes of the user context must be an array of strings, not a number',
  ],
  [{ kind: 'multi' }, 'a multi-kind context must have at least one kind'],
  [{ kind: 'multi', org: [] }, 'the org context must be an object, not an array'],
  [{ kind: 'multi', org: { key: 1 } }, 'the key of the org context must be a non-empty string, not a number'],
  [{ kind: 'multi', user, org: user }, 'a multi-kind context must have each kind once, not user twice'],
  [{ key: null }, 'the key of a user must be a string, not null'],
  [{ key: 5 }, 'the key of a user must be a string, not a number'],
  [{ key: 'k', anonymous: 'yes' }, 'anonymous of a user must be true or false, not a string'],
  [{ key: 'k', custom: [] }, 'custom of a user must be an object, not an array'],
  [{ key: 'k', email: 5 }, 'email of a user must be a string, not a number'],
  [
    { key: 'k', privateAttributeNames: [1] },
    'privateAttributeNames of a user must be an array of strings, not an array',
  ],
])('%j is invalid for the Go SDK, with a message that says why', (value, problem) => {
  expect(parseGoContext(value)).toBeUndefined();
  expect(describeGoContextProblem(value)).toBe(problem);
});

test.each([
  [{ key: '' }, ''],
  [{ key: 'k', anonymous: null, name: null, custom: null }, 'k'],
  [{ kind: 'multi', org: { key: 'a', kind: 'team' } }, 'team:a'],
  [{ kind: 'multi', '': { key: 'a' } }, 'a'],
])('%j is valid for the Go SDK, with the key %s', (value, key) => {
  expect(describeGoContextProblem(value)).toBeUndefined();
  expect(canonicalKey(parseGoContext(value)!)).toBe(key);
});

test('a context of very many kinds is decided at once @heavy', () => {
  const kinds = Array.from({ length: process.env.LONG ? 200_000 : 50_000 }, (_, index) => [`k${index}`, { key: 'a' }]);
  const context = { kind: 'multi', ...Object.fromEntries(kinds) };
  expect(describeGoContextProblem(context)).toBeUndefined();
  const again = { ...context, last: { kind: 'k7', key: 'a' } };
  expect(describeGoContextProblem(again)).toBe('a multi-kind context must have each kind once, not k7 twice');
});

test('contexts are valid, with the fully-qualified key, as in the Go SDK', () => {
  const file = join(__dirname, '../../../fixtures/evaluation/contexts.json');
  const vectors: { context: unknown; go?: { valid: boolean; fullyQualifiedKey?: string } }[] = JSON.parse(
    readFileSync(file, 'utf8'),
  );
  const known = vectors.filter(({ go }) => go !== undefined);
  expect(known.length).toBeGreaterThan(30);
  for (const { context: value, go } of known) {
    const context = parseGoContext(value);
    expect([value, context !== undefined]).toEqual([value, go?.valid]);
    if (context) expect(canonicalKey(context)).toBe(go?.fullyQualifiedKey ?? '');
  }
});
