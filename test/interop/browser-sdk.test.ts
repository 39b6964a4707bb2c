/** LaunchDarkly's client-side SDKs as clients of a relay: those for browsers, in jsdom, and the one for Node. */
import { createHmac } from 'node:crypto';
import { eventually } from '../support/eventually.ts';
import { environmentRep, startFakeAutoConfig } from '../support/fake-auto-config.ts';
import { closeAfterEach } from '../support/opened.ts';
import { readStream } from '../support/read-stream.ts';
import { browserClients, type Client, type ClientOptions, type OpenClient } from './browser-clients.ts';
import { openWindow } from './browser-globals.ts';
import { clientSideAnswers, clientSideEnvironment, contexts, edited, seedNote } from './client-side.ts';
import { openNodeClient } from './node-client.ts';
import { environmentId, type Site, startSite } from './site.ts';

const fallback = 'FALLBACK';
const count = process.env.LONG ? 1_000 : 15;
const flagKeys = Object.keys(clientSideEnvironment().flags);
const alice = { kind: 'user', key: 'alice' };
const viewer = { kind: 'user', key: 'viewer-1' };

const sdks: readonly { name: string; openSdk: OpenClient }[] = [
  ...Object.entries(browserClients).map(([name, openSdk]) => ({ name, openSdk })),
  { name: 'the Node client-side SDK', openSdk: openNodeClient },
];

const { opened } = closeAfterEach();
let browser: ReturnType<typeof openWindow>;

beforeEach(() => {
  browser = opened(openWindow('http://page.example'));
});

const start = async (...args: Partial<Parameters<typeof startSite>>) =>
  opened(await startSite(args[0] ?? clientSideEnvironment(), args[1], args[2]));
const show = (client: Client, flag: string) => client.answers([flag], fallback)[flag]?.value;

describe.each(sdks)('$name', ({ openSdk }) => {
  const open = async ({ uri }: Pick<Site, 'uri'>, more: Partial<ClientOptions> = {}) =>
    opened(await openSdk({ uri, environmentId, context: alice, streaming: true, ...more }));

  /**
   * The client gives our evaluator's answers for every context. `settles`: with REPORT, the older browser SDK may briefly
   * use a late response for the previous context, which a ping made it request.
   */
  async function answersLikeOurs(client: Client, howMany: number, settles = false): Promise<void> {
    const environment = clientSideEnvironment();
    for (const context of contexts(howMany)) {
      await client.identify(context);
      const answers = clientSideAnswers(environment, context, fallback);
      const look = () => expect({ context, answers: client.answers(flagKeys, fallback) }).toEqual({ context, answers });
      if (settles) await eventually(look);
      else look();
    }
  }

  /** Changes a flag, then a segment, which changes a flag's result but not its version. */
  async function followsChanges(client: Client, { upstream }: Site): Promise<void> {
    await client.identify(viewer);
    expect(show(client, 'retired')).toBe('off');
    await upstream.patch('flags', edited('flags', 'retired', { on: true, version: 2 }));
    await eventually(() => expect(client.answers(['retired'], fallback).retired).toMatchObject({ value: 'on' }));
    expect(show(client, 'site-banner')).toBe('Welcome');
    await upstream.patch('segments', edited('segments', 'friends', { included: ['viewer-1'], version: 2 }));
    await eventually(() => expect(show(client, 'site-banner')).toBe('Welcome back, friend'));
    await upstream.delete('flags', 'retired', 3);
    await eventually(() => expect(show(client, 'retired')).toBe(fallback));
  }

  test(`when streaming, gives our evaluator's answers for ${count} contexts (${seedNote}) @heavy`, async () => {
    await answersLikeOurs(await open(await start()), count);
  });

  test('when streaming, follows changes, including those that raise no flag version @heavy', async () => {
    const site = await start();
    await followsChanges(await open(site), site);
  });

  test('without a stream, gets a change by polling @heavy', async () => {
    const site = await start();
    const client = await open(site, { streaming: false });
    await answersLikeOurs(client, 10);
    await site.upstream.patch('flags', edited('flags', 'retired', { on: true, version: 2 }));
    await eventually(async () => {
      await client.identify(alice);
      expect(show(client, 'retired')).toBe('on');
    });
  });

  test("with REPORT, gives our evaluator's answers and follows changes @heavy", async () => {
    const site = await start();
    const client = await open(site, { useReport: true });
    await answersLikeOurs(client, 10, true);
    await followsChanges(client, site);
  });

  test('keeps its flags while the relay restarts, then follows changes again @heavy', async () => {
    const site = await start();
    const client = await open(site);
    await site.stop();
    expect(show(client, 'retired')).toBe('off');
    site.upstream.data = {
      ...site.upstream.data,
      flags: { ...clientSideEnvironment().flags, retired: edited('flags', 'retired', { on: true, version: 2 }) },
    };
    await site.start();
    await eventually(() => expect(show(client, 'retired')).toBe('on'));
    await site.upstream.patch('flags', edited('flags', 'retired', { on: false, version: 3 }));
    await eventually(() => expect(show(client, 'retired')).toBe('off'));
  });

  test('gives up on an unknown client-side ID', async () => {
    const site = await start();
    await expect(open(site, { environmentId: 'nobody', streaming: false })).rejects.toThrow(/404|not found|exhausted/i);
  });

  test('in secure mode, is accepted with a hash by the current key or one in its grace period, and with no other @heavy', async () => {
    const rep = environmentRep(environmentId, 1, {
      secureMode: true,
      sdkKey: { value: 'sdk-new', expiring: { value: 'sdk-old', timestamp: Date.now() + 3_600_000 } },
    });
    const { upstream } = await startFakeAutoConfig(rep);
    const environments = upstream.dataFor;
    upstream.data = clientSideEnvironment();
    upstream.dataFor = (request) => (request.url.startsWith('/all') ? undefined : environments(request));
    const site = await start(upstream.data, { AUTO_CONFIG_KEY: 'rel-interop' }, upstream);
    const hashOf = (key: string, text: string) => createHmac('sha256', key).update(text).digest('hex');

    const client = await open(site, { hash: hashOf('sdk-new', 'alice') });
    expect(show(client, 'site-banner')).toBe('Welcome back, friend');
    await client.identify({ kind: 'organization', key: 'acme:1' }, hashOf('sdk-old', 'organization:acme%3A1'));
    expect(show(client, 'site-banner')).toBe('Welcome');
    const toStreams = { to: ({ url }: { url: string }) => url.startsWith('/all') };
    await upstream.patch('flags', edited('flags', 'retired', { on: true, version: 2 }), toStreams);
    await eventually(() => expect(show(client, 'retired')).toBe('on'));

    // Another context: flags from the browser's storage need no hash.
    const refused = [undefined, hashOf('sdk-other', 'viewer-1'), hashOf('sdk-new', 'alice')].map((hash) =>
      open(site, { context: viewer, patienceSeconds: 0.5, streaming: false, ...(hash !== undefined && { hash }) }),
    );
    expect((await Promise.allSettled(refused)).map(({ status }) => status)).toEqual(Array(3).fill('rejected'));
  });
});

test("the older browser SDK streams with REPORT, through LaunchDarkly's EventSource polyfill", async () => {
  const site = await start();
  browser.reporting(true);
  const client = opened(
    await browserClients['the older browser SDK']({
      ...{ uri: site.uri, environmentId, context: viewer, streaming: true, useReport: true },
    }),
  );
  await eventually(() => expect(show(client, 'retired')).toBe('off'));
  await site.upstream.patch('flags', edited('flags', 'retired', { on: true, version: 2 }));
  await eventually(() => expect(show(client, 'retired')).toBe('on'));
});

test('a client stream gets nothing for a change of no result, and a new put for a changed segment', async () => {
  const site = await start();
  const path = `/eval/${environmentId}/${Buffer.from(JSON.stringify(viewer)).toString('base64url')}`;
  const stream = opened(await readStream({ port: site.port, path }));
  expect((await stream.next()).event).toBe('put');
  const before = stream.body();

  await site.upstream.patch('segments', edited('segments', 'friends', { included: ['somebody'], version: 2 }));
  await site.upstream.patch('flags', edited('flags', 'search-backend', { salt: 'other', version: 2 }));
  // This later change proves that the first two were processed.
  await site.upstream.patch('flags', edited('flags', 'retired', { on: true, version: 2 }));
  const patch = await stream.next();
  expect(patch.event).toBe('patch');
  expect(JSON.parse(patch.data)).toMatchObject({ key: 'retired', value: 'on', version: 2 });
  expect(stream.body().slice(before.length)).toBe(`event: patch\ndata: ${patch.data}\n\n`);

  await site.upstream.patch('segments', edited('segments', 'friends', { included: ['viewer-1'], version: 3 }));
  const put = await stream.next();
  expect(put.event).toBe('put');
  expect(JSON.parse(put.data)['site-banner']).toMatchObject({ version: 1, variation: 1 });
  expect(Object.keys(JSON.parse(put.data))).toEqual(flagKeys.filter((key) => key !== 'search-backend').sort());
});
