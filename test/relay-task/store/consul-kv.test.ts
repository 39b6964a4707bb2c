import type { ConsulClient } from '../../../relay-task/store/consul-client.ts';
import { type KvPair, listKeys, readFolder } from '../../../relay-task/store/consul-kv.ts';
import { countSlicedTurns } from '../../support/sliced-turns.ts';

/** A client that answers with this text. */
function answering(text: string, status = 200): ConsulClient {
  return { server: 'fake', request: async () => ({ status, body: Buffer.from(text) }), close() {} };
}

const pairs: KvPair[] = Array.from({ length: 200 }, (_, index) => ({
  ...{ Key: `env/features/flag-${index}`, ModifyIndex: index },
  // The folder itself, and keys without a value, have null.
  Value: index === 0 ? null : Buffer.from(`{"key":"flag-${index}","name":"]},[{é"}`).toString('base64'),
}));

/** Pairs, and turns of the event loop that they took. */
async function read(text: string, status?: number) {
  const found: KvPair[] = [];
  const counted = countSlicedTurns();
  const before = counted.turns;
  try {
    await readFolder(answering(text, status), 'env/features/', (pair) => found.push(pair));
    return { found, turns: counted.turns - before };
  } finally {
    counted.stop();
  }
}

test.each([
  ['as Consul writes it', JSON.stringify(pairs)],
  ['with white space', JSON.stringify(pairs, null, 2)],
])('a folder, %s, is read one pair after the other in slices', async (_, text) => {
  const { found, turns } = await read(text);
  expect(found).toEqual(pairs);
  expect(turns).toBeGreaterThanOrEqual(200);
});

test('a folder that does not exist, or is empty, has no pairs', async () => {
  expect((await read('', 404)).found).toEqual([]);
  expect((await read('[]')).found).toEqual([]);
});

test.each(['', 'null', '{"Key":"a"}', '[{"Key":"a"}', '[{"Key":"a"},]', '[{"Key"}]', '[] []'])(
  'a folder that is answered with %j fails',
  (text) => expect(read(text)).rejects.toThrow(SyntaxError),
);

test('what is thrown for a pair ends the reading', async () => {
  let count = 0;
  const reading = readFolder(answering(JSON.stringify(pairs)), 'env/features/', () => {
    count += 1;
    if (count === 3) throw new Error('no room');
  });
  await expect(reading).rejects.toThrow('no room');
  expect(count).toBe(3);
});

test('the keys of a folder are read in slices @heavy', async () => {
  const keys = Array.from({ length: 20_000 }, (_, index) => `env/features/flag-${index}`);
  const counted = countSlicedTurns();
  const before = counted.turns;
  const found = await listKeys(answering(JSON.stringify(keys)), 'env/features/');
  const turns = counted.turns - before;
  counted.stop();
  expect(found).toEqual(keys);
  expect(turns).toBeGreaterThanOrEqual(19);
});
