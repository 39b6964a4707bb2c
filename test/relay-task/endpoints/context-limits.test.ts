/** How large a context may be, so that nobody's context costs the others time or memory. */
import { gzipSync } from 'node:zlib';
import { parseGoContext } from '../../../lib/evaluation/index.ts';
import { flag } from '../../support/items.ts';
import { createMemory } from '../../support/memory.ts';
import { closeAfterEach } from '../../support/opened.ts';
import { ask, json } from './ask.ts';
import { startServer, type TestServerOptions } from './start-server.ts';

const { opened } = closeAfterEach();
const start = async (options: TestServerOptions = {}) =>
  opened(await startServer({ view: createMemory(flag('banner', 1)), ...options }));
const KIB = 1024;

/** A context of that many bytes. */
const sized = (bytes: number) => {
  const frame = '{"kind":"user","key":"alice","note":""}';
  return frame.replace('""', `"${'x'.repeat(bytes - frame.length)}"`);
};
const withValue = (value: string) => `{"kind":"user","key":"alice","value":${value}}`;
const POLL = '/sdk/evalx/64a0/context';
const STREAM = '/eval/64a0';
const OFREP = '/ofrep/v1/evaluate/flags';

test.each([
  [POLL, 256 * KIB],
  ['/sdk/poll/eval?auth=64a0', 256 * KIB],
  ['/sdk/stream/eval?auth=64a0', 256 * KIB],
  [STREAM, 64 * KIB],
] as const)('a context for %s may have %i bytes, also once it is unpacked', async (path, limit) => {
  const { port } = await start();
  for (const method of ['REPORT', 'POST']) {
    for (const [bytes, status] of [
      [limit, 200],
      [limit + 1, 413],
    ] as const) {
      const body = sized(bytes);
      const plain = await ask(port, method, path, { headers: json, body });
      const packed = await ask(port, method, path, {
        headers: { ...json, 'content-encoding': 'gzip' },
        body: gzipSync(body),
      });
      expect([plain.status, packed.status]).toEqual([status, status]);
      if (status === 413) expect(plain.json().message).toContain(String(limit));
    }
  }
});

test('an OFREP request may have 256 KiB', async () => {
  const { port } = await start();
  const body = (bytes: number) => sized(bytes - '{"context":}'.length).replace(/^.*$/, '{"context":$&}');
  const headers = { ...json, authorization: 'sdk-key' };
  expect((await ask(port, 'POST', OFREP, { headers, body: body(256 * KIB) })).status).toBe(200);
  const refused = await ask(port, 'POST', OFREP, { headers, body: body(256 * KIB + 1) });
  expect([refused.status, refused.json().errorDetails]).toEqual([413, expect.stringContaining(String(256 * KIB))]);
});

test.each([
  [KIB * KIB, KIB * KIB, 64 * KIB],
  [500 * KIB, 500 * KIB, 64 * KIB],
  [KIB, KIB, KIB],
])('a configured limit of %i bytes means %i, and %i for streams', async (maxContextBytes, poll, stream) => {
  const { port } = await start({ server: { maxContextBytes } });
  for (const [path, limit] of [
    [POLL, poll],
    [STREAM, stream],
  ] as const) {
    const status = async (bytes: number) =>
      (await ask(port, 'POST', path, { headers: json, body: sized(bytes) })).status;
    expect([path, await status(limit), await status(limit + 1)]).toEqual([path, 200, 413]);
  }
});

test.each([
  ['empty objects', withValue(`[${'{ },'.repeat(9_990)}[]]`), withValue(`[${'{},'.repeat(10_000)}{}]`)],
  ['numbers', withValue(`[${'1,'.repeat(9_990)}1]`), withValue(`[${'1,'.repeat(10_000)}1]`)],
  [
    'lists in lists',
    withValue(`[${`${'['.repeat(90)}${']'.repeat(90)},`.repeat(100)}1]`),
    withValue(`[${`${'['.repeat(90)}${']'.repeat(90)},`.repeat(120)}1]`),
  ],
  [
    'one name again and again',
    withValue(`{${'"a":1,'.repeat(9_990)}"b":1}`),
    withValue(`{${'"a":1,'.repeat(10_000)}"b":1}`),
  ],
] as const)('a context of 10,000 values is accepted, and one of more is refused: %s', async (_title, good, bad) => {
  const { port } = await start();
  const status = async (path: string, body: string) => (await ask(port, 'POST', path, { headers: json, body })).status;
  const details = { headers: { ...json, authorization: 'sdk-key' }, body: `{"context":${bad}}` };
  expect([await status(POLL, good), await status(POLL, bad), await status(STREAM, bad)]).toEqual([200, 413, 413]);
  expect((await ask(port, 'POST', OFREP, details)).json().errorDetails).toContain('10000 values');
});

test('a context in a path is held to the same number of values', async () => {
  const { port } = await start();
  const path = (value: string) => Buffer.from(withValue(value)).toString('base64url');
  for (const prefix of ['/sdk/evalx/64a0/contexts', STREAM]) {
    const refused = await ask(port, 'GET', `${prefix}/${path(`[${'1,'.repeat(10_001)}1]`)}`);
    expect([prefix, refused.status, refused.json().message]).toEqual([
      prefix,
      413,
      expect.stringContaining('10000 values'),
    ]);
    expect((await ask(port, 'GET', `${prefix}/${path(`[${'1,'.repeat(9_000)}1]`)}`)).status).toBe(200);
  }
});

test.each([
  ['of a user', (key: string) => ({ key })],
  ['of a kind', (key: string) => ({ kind: 'organisation', key })],
  ['of one kind of several', (key: string) => ({ kind: 'multi', user: { key: 'alice' }, organisation: { key } })],
])('the key %s may have 8 KiB of UTF-8, wherever the context is', async (_, contextWith) => {
  const { port } = await start();
  for (const [key, status] of [
    ['x'.repeat(8 * KIB), 200],
    ['ü'.repeat(4 * KIB), 200],
    [`ü${'x'.repeat(8 * KIB - 1)}`, 400],
  ] as const) {
    const body = JSON.stringify(contextWith(key));
    const inPath = Buffer.from(body).toString('base64url');
    for (const path of [POLL, STREAM]) {
      const answer = await ask(port, 'POST', path, { headers: json, body });
      expect([path, answer.status]).toEqual([path, status]);
      if (status === 400) expect(answer.json().message).toContain('a key of more than 8192 bytes');
    }
    expect((await ask(port, 'GET', `/sdk/evalx/64a0/contexts/${inPath}`)).status).toBe(status);
  }
});

test('commas and brackets in strings are no values', async () => {
  const { port } = await start();
  const body = withValue(JSON.stringify(',{[\\"'.repeat(10_000)));
  expect((await ask(port, 'POST', POLL, { headers: json, body })).status).toBe(200);
});

test('a context of thousands of kinds has each of them @heavy', () => {
  for (const count of [2, 15, 16, 17, 3_000]) {
    const kinds = Array.from({ length: count - 1 }, (_, i) => `kind-${i}`);
    const value = Object.fromEntries([...kinds, 'user'].map((kind) => [kind, { key: `${kind}'s` }]));
    const context = parseGoContext({ kind: 'multi', ...value });
    for (const kind of [...kinds, 'user']) expect(context?.keyOf(kind)).toBe(`${kind}'s`);
    expect([context?.kinds.length, context?.ofKind('kind-x'), context?.ofKind('user among others')?.key]).toEqual([
      count,
      undefined,
      "user's",
    ]);
  }
});
