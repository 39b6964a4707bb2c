/** LaunchDarkly's browser SDKs in a real browser, on a page of a different origin than the relay's. */
import { createHmac } from 'node:crypto';
import type { Variables } from '../../relay-task/config/config.ts';
import { eventually } from '../support/eventually.ts';
import { type BrowserClientName, browserClients, type ClientOptions } from './browser-clients.ts';
import { chromiumPath, type PageClient, type Pages, startPages } from './chromium-page.ts';
import { clientSideAnswers, clientSideEnvironment, contexts, edited, seedNote } from './client-side.ts';
import { environmentId, type Site, sdkKey, startSite } from './site.ts';

const fallback = 'FALLBACK';
const count = process.env.LONG ? 1_000 : 20;
const flagKeys = Object.keys(clientSideEnvironment().flags);
const alice = { kind: 'user', key: 'alice' };
const viewer = { kind: 'user', key: 'viewer-1' };
const names = Object.keys(browserClients) as BrowserClientName[];

const describeIf = chromiumPath === undefined ? describe.skip : describe;

describeIf(chromiumPath ? 'headless Chromium' : 'headless Chromium (needs test/interop/install.sh)', () => {
  let pages: Pages;
  let site: Site | undefined;

  beforeAll(async () => {
    pages = await startPages();
  });
  afterAll(() => pages?.close());
  afterEach(async () => {
    await pages.closePage();
    await site?.close();
    site = undefined;
  });

  const start = async (variables?: Variables) => {
    site = await startSite(clientSideEnvironment(), variables);
    return site;
  };
  const show = async (client: PageClient, flag: string) => (await client.answers([flag], fallback))[flag]?.value;

  const open = (name: BrowserClientName, { uri }: Site, more: Partial<ClientOptions> = {}) =>
    pages.open(name, { uri, environmentId, context: alice, streaming: true, ...more });

  describe.each(names)('%s', (name) => {
    async function answersLikeOurs(client: PageClient, howMany: number): Promise<void> {
      const environment = clientSideEnvironment();
      const all = contexts(howMany);
      const answers = await client.answersFor(all, flagKeys, fallback);
      const expected = all.map((context) => clientSideAnswers(environment, context, fallback));
      expect(all.map((context, index) => ({ context, answers: answers[index] }))).toEqual(
        all.map((context, index) => ({ context, answers: expected[index] })),
      );
    }

    test(`when streaming, gives our evaluator's answers for ${count} contexts, follows changes and survives a restart (${seedNote}) @heavy`, async () => {
      const running = await start();
      const { upstream } = running;
      const client = await open(name, running);
      await answersLikeOurs(client, count);
      await client.identify(viewer);
      await upstream.patch('flags', edited('flags', 'retired', { on: true, version: 2 }));
      await eventually(async () => expect(await show(client, 'retired')).toBe('on'));
      // The version of the flag does not change.
      await upstream.patch('segments', edited('segments', 'friends', { included: ['viewer-1'], version: 2 }));
      await eventually(async () => expect(await show(client, 'site-banner')).toBe('Welcome back, friend'));
      await running.stop();
      expect(await show(client, 'retired')).toBe('on');
      await upstream.delete('flags', 'retired', 3);
      await running.start();
      await eventually(async () => expect(await show(client, 'retired')).toBe(fallback));
    });

    test('without a stream, gets a change by polling @heavy', async () => {
      const running = await start();
      const client = await open(name, running, { streaming: false });
      await answersLikeOurs(client, 20);
      await running.upstream.patch('flags', edited('flags', 'retired', { on: true, version: 2 }));
      await eventually(async () => {
        await client.identify(alice);
        expect(await show(client, 'retired')).toBe('on');
      });
    });

    test('can use REPORT, which needs a CORS preflight, with and without a stream @heavy', async () => {
      const running = await start();
      await answersLikeOurs(await open(name, running, { useReport: true, streaming: false }), 20);
      const client = await open(name, running, { useReport: true });
      await running.upstream.patch('flags', edited('flags', 'retired', { on: true, version: 2 }));
      await eventually(async () => expect(await show(client, 'retired')).toBe('on'));
    });
  });

  /** In parallel, since SDKs retry; with another context, since SDKs cache the flags of earlier ones. */
  async function allRefused(running: Site, ...ways: Partial<ClientOptions>[]): Promise<void> {
    const attempts = names.flatMap((name) =>
      ways.map(async (way) => {
        await expect(
          open(name, running, { context: viewer, streaming: false, patienceSeconds: 0.5, ...way }),
        ).rejects.toThrow();
      }),
    );
    await Promise.all(attempts);
  }

  test('every SDK is refused in secure mode unless its hash is right @heavy', async () => {
    const running = await start({ LD_SECURE_MODE_interop: 'true' });
    const right = createHmac('sha256', sdkKey).update('alice').digest('hex');
    const clients: PageClient[] = [];
    for (const name of names) clients.push(await open(name, running, { hash: right }));
    await running.upstream.patch('flags', edited('flags', 'retired', { on: true, version: 2 }));
    for (const client of clients) await eventually(async () => expect(await show(client, 'retired')).toBe('on'));
    await allRefused(running, { hash: right }, {});
  });

  test('every SDK works on a page of an allowed origin and is refused on any other @heavy', async () => {
    const allowed = await start({ LD_ALLOWED_ORIGIN_interop: `https://app.example,${pages.origin}` });
    for (const name of names) expect(await show(await open(name, allowed, { useReport: true }), 'retired')).toBe('off');
    await allowed.close();
    await allRefused(await start({ LD_ALLOWED_ORIGIN_interop: 'https://app.example' }), {}, { useReport: true });
  });

  test('a stream opens from an allowed origin only', async () => {
    const context = Buffer.from(JSON.stringify(alice)).toString('base64url');
    for (const [allowed, first] of [
      [pages.origin, 'put'],
      ['https://app.example', 'error'],
    ] as const) {
      const { uri, close } = await start({ LD_ALLOWED_ORIGIN_interop: allowed });
      expect([allowed, await pages.firstEvent(`${uri}/eval/${environmentId}/${context}`, 'put')]).toEqual([
        allowed,
        first,
      ]);
      await pages.closePage();
      await close();
    }
  });
});
