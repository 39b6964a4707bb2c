/** The last good keys, as another version of the relay may have stored them. */
import { createSsmMemory } from '../../../relay-task/environments/ssm-memory.ts';

const held = (text: string) => ({ version: 1, modifiedAt: 1, secure: true, text });
const restored = (rows: unknown) => {
  const memory = createSsmMemory({ graceMs: 1, settleMs: 1 });
  const isRestored = memory.restore(JSON.stringify(rows));
  return { isRestored, names: [...memory.environments()].map(([name, parameters]) => [name, [...parameters.keys()]]) };
};

test('parameters that only a later version knows are left out, and the keys beside them count', () => {
  const parameters = [
    ['sdk-key', held('sdk-1')],
    ['of-a-later-version', held('x')],
    ['mobile-key', held('mob-1')],
  ];
  expect(restored([['shop', parameters]])).toEqual({ isRestored: true, names: [['shop', ['sdk-key', 'mobile-key']]] });
});

test.each([
  ['no list', {}],
  ['no pair', [['shop']]],
  ['a parameter without what is held', [['shop', [['sdk-key', 'sdk-1']]]]],
])('what is no such store is refused: %s', (_, rows) => {
  expect(restored(rows)).toEqual({ isRestored: false, names: [] });
});
