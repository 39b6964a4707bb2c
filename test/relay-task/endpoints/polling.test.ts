import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { flag, segment, tombstone } from '../../support/items.ts';
import { createMemory } from '../../support/memory.ts';
import { readStream } from '../../support/read-stream.ts';
import { startServer, type TestServer } from './start-server.ts';

const filler = { filler: 'x'.repeat(5_000) };
let server: TestServer;
beforeEach(async () => {
  // As LaunchDarkly's relay computes it: the SHA-1 of "alpha:3beta:12" begins with b8788ef94d38151.
  const items = [flag('beta', 12, filler), flag('alpha', 3), segment('s', 4, filler), tombstone('segments', 'gone', 9)];
  server = await startServer({ view: createMemory(...items) });
});
afterEach(() => server.close());
const ask = (path: string, headers: Record<string, string> = {}) =>
  server.get(path, { headers: { authorization: 'sdk-key', 'accept-encoding': 'identity', ...headers } });

/** The JSON of a flag as ld-relay orders its fields, which the flags of these tests have in another order. */
function inOrder({ json }: { readonly json: string }): string {
  const { clientSideAvailability, clientSide, salt, ...rest } = JSON.parse(json);
  const { trackEvents, trackEventsFallthrough, debugEventsUntilDate, version, deleted, filler, ...first } = rest;
  const second = {
    clientSideAvailability,
    clientSide,
    salt,
    trackEvents,
    trackEventsFallthrough,
    debugEventsUntilDate,
  };
  return JSON.stringify({ ...first, ...second, version, deleted, filler });
}

test('polls return the items whole, sorted by key and in the order of fields of ld-relay, without tombstones', async () => {
  server.view.set(flag('alpha', 4), tombstone('features', 'gone', 4));
  const [alpha, beta] = [inOrder(flag('alpha', 4)), inOrder(flag('beta', 12, filler))];
  const flags = `{"alpha":${alpha},"beta":${beta}}`;
  const segments = `{"s":${segment('s', 4, filler).json}}`;
  expect(await (await ask('/sdk/latest-all')).text()).toBe(`{"flags":${flags},"segments":${segments}}`);
  expect(await (await ask('/sdk/latest-flags')).text()).toBe(flags);
  expect(await (await ask('/sdk/flags')).text()).toBe(flags);
  expect(await (await ask('/sdk/latest-segments')).text()).toBe(segments);
  expect(await (await ask('/sdk/flags/beta')).text()).toBe(beta);
  expect(await (await ask('/sdk/segments/s')).text()).toBe(segment('s', 4, filler).json);
  for (const path of ['/sdk/flags/gone', '/sdk/flags/never', '/sdk/segments/gone', '/sdk/flags/__proto__']) {
    expect([path, (await ask(path)).status]).toEqual([path, 404]);
  }
});

test.each([
  '/sdk/latest-all',
  '/sdk/latest-flags',
  '/sdk/latest-segments',
  '/sdk/flags',
  '/sdk/flags/beta',
  '/sdk/segments/s',
])('%s has a strong ETag that matches every form of If-None-Match and is sent with 304', async (path) => {
  const first = await ask(path);
  const etag = first.headers.get('etag')!;
  expect(etag).toMatch(/^"[0-9a-f]+"$/);
  expect(first.headers.get('content-type')).toBe('application/json');
  for (const held of [etag, `W/${etag}`, `"other", ${etag}`, `"a,b" ,W/${etag},"c"`, '*', etag.slice(1, -1)]) {
    const response = await ask(path, { 'if-none-match': held });
    expect([held, response.status, response.headers.get('etag')]).toEqual([held, 304, etag]);
    expect(await response.text()).toBe('');
  }
  for (const other of ['"other"', `"${etag.slice(2)}`, '', '"*"', 'relay-1']) {
    expect([other, (await ask(path, { 'if-none-match': other })).status]).toEqual([other, 200]);
  }
  server.view.set(flag('beta', 13), segment('s', 5));
  expect((await ask(path, { 'if-none-match': etag })).status).toBe(200);
});

test('unquoted ETags from ld-relay still match', async () => {
  expect((await ask('/sdk/flags', { 'if-none-match': 'relay-b8788ef94d38151' })).status).toBe(304);
  expect((await ask('/sdk/flags/beta', { 'if-none-match': 'relay-12' })).status).toBe(304);
  expect((await ask('/sdk/flags/beta', { 'if-none-match': 'relay-11' })).status).toBe(200);
});

test('the ETag of one item is a digest of its content only', async () => {
  const expected = createHash('sha256')
    .update(inOrder(flag('beta', 12, filler)))
    .digest('hex')
    .slice(0, 32);
  expect((await ask('/sdk/flags/beta')).headers.get('etag')).toBe(`"${expected}"`);
});

test('a changed segment does not change the ETag of the flags', async () => {
  const tags = () =>
    Promise.all(
      ['/sdk/latest-flags', '/sdk/latest-segments', '/sdk/latest-all'].map(async (path) =>
        (await ask(path)).headers.get('etag'),
      ),
    );
  const before = await tags();
  server.view.set(segment('s', 5));
  const after = await tags();
  expect(after.map((tag, index) => tag === before[index])).toEqual([true, false, false]);
});

test('polls above 1 KB are compressed if the client accepts it, under their own ETag', async () => {
  const raw = await ask('/sdk/latest-all');
  const text = await raw.text();
  // A raw socket, since fetch would decompress it.
  const zipped = async (path: string, accept: string) => {
    const reader = await readStream({
      port: server.port,
      path,
      headers: { authorization: 'sdk-key', 'accept-encoding': accept },
    });
    reader.close();
    return reader.headers;
  };
  const headers = await zipped('/sdk/latest-all', 'br;q=0.4, gzip;q=0.5');
  expect(headers['content-encoding']).toBe('gzip');
  expect(headers.etag).toBe(`${raw.headers.get('etag')!.slice(0, -1)}-gzip"`);
  expect(headers.vary).toBe('Authorization, Accept-Encoding');
  expect(raw.headers.get('vary')).toBe('Authorization, Accept-Encoding');
  expect((await zipped('/sdk/latest-all', 'gzip;q=0, br;q=0.0, zstd'))['content-encoding']).toBeUndefined();
  const brotli = await zipped('/sdk/latest-all', 'gzip, deflate, br');
  expect(brotli['content-encoding']).toBe('br');
  expect(brotli.etag).toBe(`${raw.headers.get('etag')!.slice(0, -1)}-br"`);
  expect((await zipped('/sdk/flags/alpha', 'gzip'))['content-encoding']).toBeUndefined();
  const unpacked = await (await ask('/sdk/latest-all', { 'accept-encoding': 'gzip' })).text();
  expect(unpacked).toBe(text);
  expect(await (await ask('/sdk/latest-all', { 'accept-encoding': 'br' })).text()).toBe(text);
  for (const accept of ['gzip', 'br', 'identity']) {
    const held = await ask('/sdk/latest-all', { 'if-none-match': headers.etag!, 'accept-encoding': accept });
    expect([held.status, held.headers.get('etag')]).toEqual([304, headers.etag]);
  }
});

test('a hundred polls of the same data serialise it once @heavy', async () => {
  const before = server.view.walks;
  await Promise.all(Array.from({ length: 100 }, () => ask('/sdk/latest-all', { 'accept-encoding': 'gzip' })));
  expect(server.view.walks - before).toBe(2);
  server.view.set(flag('alpha', 4));
  await ask('/sdk/latest-all');
  // The segments are the same.
  expect(server.view.walks - before).toBe(3);
});

describe('polling for PHP', () => {
  const vectors: { allFlags: [Record<string, number>, string][]; oneFlag: [number, string][] } = JSON.parse(
    readFileSync(join(import.meta.dirname, '../../fixtures/endpoints/etags.json'), 'utf8'),
  );

  test.each(vectors.allFlags)('lets ld-relay’s ETag match for the set %j (%s)', async (versions, tag) => {
    server.view.put(Object.entries(versions).map(([key, version]) => flag(key, version)));
    expect((await ask('/sdk/flags', { 'if-none-match': tag })).status).toBe(304);
    server.view.set(flag('more', 1));
    expect((await ask('/sdk/flags', { 'if-none-match': tag })).status).toBe(200);
  });

  test.each(vectors.oneFlag)('lets ld-relay’s ETag match for version %i of a flag (%s)', async (version, tag) => {
    server.view.put([flag('one', version)]);
    expect((await ask('/sdk/flags/one', { 'if-none-match': tag })).status).toBe(304);
  });

  test.each(['/sdk/flags', '/sdk/flags/beta', '/sdk/segments/s'])(
    'sends cache lifetimes on %s, with 304 too, and none without a TTL',
    async (path) => {
      server.environment.ttlMs = 90_000;
      const { etag } = Object.fromEntries((await ask(path)).headers);
      for (const headers of [undefined, { 'if-none-match': etag! }]) {
        const answer = await ask(path, headers);
        expect(answer.headers.get('cache-control')).toBe('max-age=90');
        expect(answer.headers.get('vary')).toContain('Authorization');
        const freshMs = Date.parse(answer.headers.get('expires')!) - Date.parse(answer.headers.get('date')!);
        expect(Math.abs(freshMs - 90_000)).toBeLessThanOrEqual(2_000);
      }
      server.environment.ttlMs = 0;
      const answer = await ask(path);
      expect([answer.headers.get('cache-control'), answer.headers.get('expires')]).toEqual([null, null]);
    },
  );

  test('sends no cache lifetime on other responses', async () => {
    server.environment.ttlMs = 90_000;
    expect((await ask('/sdk/latest-all')).headers.get('expires')).toBeNull();
    expect((await ask('/sdk/flags/never')).headers.get('expires')).toBeNull();
  });
});
