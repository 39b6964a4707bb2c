import { canonicalJson, describeType, isObject, showJson } from '../../../relay-task/common/json.ts';

test('null, arrays and scalars are not objects', () => {
  expect([{}, { a: 1 }].map(isObject)).toEqual([true, true]);
  expect([null, undefined, [], 'a', 1, true].map(isObject)).toEqual([false, false, false, false, false, false]);
});

test('the description of a type does not contain the value', () => {
  const named = [null, undefined, [1], 'secret', 7, true, {}].map(describeType);
  expect(named).toEqual(['null', 'undefined', 'a list', 'a string', 'a number', 'a boolean', 'an object']);
});

test('objects that differ only in member order have the same canonical JSON', () => {
  const text = '{"a":[{"x":1,"y":2},3],"b":{"c":null,"d":"é"}}';
  expect(canonicalJson(JSON.parse(text))).toBe(text);
  expect(canonicalJson({ b: { d: 'é', c: null }, a: [{ y: 2, x: 1 }, 3] })).toBe(text);
  expect(canonicalJson([2, 1])).toBe('[2,1]');
});

test('canonical JSON keeps a member called __proto__, and the order of arrays', () => {
  const text = '{"__proto__":{"a":1,"b":[{},null,"x"]},"z":[[2,1],{"1":0,"2":0}]}';
  expect(canonicalJson(JSON.parse('{"z":[[2,1],{"2":0,"1":0}],"__proto__":{"b":[{},null,"x"],"a":1}}'))).toBe(text);
});

test.each([
  ['a', '"a"'],
  ['half \ud800', '"half \\ud800"'],
  [7, '7'],
  [Number.POSITIVE_INFINITY, 'Infinity'],
  [undefined, 'missing'],
  [null, 'null'],
  [{ a: [1, { b: null }], c: 'x' }, '{"a":[1,{"b":null}],"c":"x"}'],
  [[], '[]'],
  ['x'.repeat(100), `"${'x'.repeat(59)}…`],
  [Array(100).fill(1), `[${'1,'.repeat(29)}1…`],
])('the beginning of a value is shown as its JSON: %j', (value, shown) => expect(showJson(value)).toBe(shown));

test('only the part of a value that is shown is read', () => {
  let looks = 0;
  const member = () => {
    looks += 1;
    return [];
  };
  const list = new Proxy(Array(100_000), { get: (_, name) => (name === 'length' ? 100_000 : member()) });
  const object = Object.defineProperties(
    {},
    Object.fromEntries(Array.from({ length: 1_000 }, (_, at) => [`m${at}`, { enumerable: true, get: member }])),
  );
  for (const value of [list, object, { a: object }]) expect(showJson(value)).toMatch(/^.{60}…$/);
  expect(looks).toBeLessThan(100);
  let deep: unknown = [];
  for (let level = 0; level < 200_000; level += 1) deep = [deep];
  expect(showJson(deep)).toBe(`${'['.repeat(60)}…`);
});
