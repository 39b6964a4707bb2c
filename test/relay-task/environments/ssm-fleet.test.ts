/** Many environments and many relays on an account whose SSM throttles: what a start costs, and what is served meanwhile. */
import { SSMClient } from '@aws-sdk/client-ssm';
import { type SsmSourceOptions, startSsmSource } from '../../../relay-task/environments/ssm-source.ts';
import type { EnvironmentDescription, Keeper } from '../../../relay-task/ports.ts';
import { eventually } from '../../support/eventually.ts';
import { createLogRecorder } from '../../support/logs.ts';
import { createMemoryKeeper } from '../../support/memory-keeper.ts';
import { closeAfterEach } from '../../support/opened.ts';
import { type SsmServer, startSsmServer } from '../../support/ssm-server.ts';

const path = '/edge-flag-relay/test/environments';
const hourMs = 3_600_000;
const fast = {
  ...{ spacingMs: 0, retryBaseMs: 1, retryMs: 5, confirmMs: 20, settleMs: 60_000, slowestMs: 100 },
  ...{ requestTimeoutMs: 60_000, retries: 0 },
};
const sealed = (keeper: Keeper, secret = 'a-secret-of-the-deployment') => ({ cache: { keeper, secret } });

const { behind, opened } = closeAfterEach();

function start({ endpoint }: SsmServer, more: Partial<SsmSourceOptions> = {}) {
  const credentials = { accessKeyId: 'test', secretAccessKey: 'test' };
  const client = new SSMClient({ endpoint, region: 'eu-west-1', credentials, maxAttempts: 1 });
  const lists: { readonly environments: readonly EnvironmentDescription[]; readonly extent: string | undefined }[] = [];
  const { log, lines } = createLogRecorder();
  const source = startSsmSource({
    ...{ path, client, log, timings: fast, intervalMs: 3_600_000, graceMs: 86_400_000 },
    sink: { replace: (environments, extent) => void lists.push({ environments, extent }) },
    ...more,
  });
  behind(() => client.destroy());
  behind(() => source.close());
  return {
    source,
    lists,
    lines,
    ids: () => lists.at(-1)?.environments.map(({ id }) => id) ?? [],
    keys: () => lists.at(-1)?.environments.flatMap(({ credentials: all }) => all.map(({ value }) => value)) ?? [],
    confirmed: () => eventually(() => expect(source.status().state).toBe('VALID')),
  };
}

/** A server with this many environments, each with an SDK key and a mobile key. */
async function serverOf(count: number): Promise<SsmServer> {
  const server = opened(await startSsmServer());
  for (let i = 0; i < count; i++) {
    const name = `${path}/e${String(i).padStart(3, '0')}`;
    server.put(`${name}/sdk-key`, `sdk-${i}`);
    server.put(`${name}/mobile-key`, `mob-${i}`);
  }
  return server;
}

const pagesOf = (server: SsmServer) => server.calls.filter(({ operation }) => operation === 'GetParametersByPath');
const decryptions = (server: SsmServer) => server.calls.filter(({ decrypted }) => decrypted);

test('an unreasonably large listing is abandoned with an error @heavy', async () => {
  const server = await serverOf(1);
  for (let i = 0; i < 300; i++) server.put(`${path}/f${i}/prefix`, 'x'.repeat(64 * 1024), { type: 'String' });
  const { source, lists } = start(server);
  await eventually(() => expect(source.status().lastError?.message).toContain('are more than 16777216 bytes'));
  expect(lists).toEqual([]);
});

test('a listing of which every other page is throttled continues with the page that failed @heavy', async () => {
  const server = await serverOf(30);
  let calls = 0;
  server.faultWhen(({ operation }) =>
    operation === 'GetParametersByPath' && ++calls % 2 === 0 ? 'throttled' : undefined,
  );
  const { ids, confirmed } = start(server);
  await confirmed();
  expect(ids()).toHaveLength(30);
  // Six pages and the five that failed between them.
  expect(pagesOf(server)).toHaveLength(11);
  expect(pagesOf(server).filter(({ continued }) => !continued)).toHaveLength(1);
});

test('a listing whose token SSM no longer knows begins again @heavy', async () => {
  const server = await serverOf(30);
  let calls = 0;
  server.faultWhen(() => (++calls === 4 ? 'expired' : undefined));
  const { ids, confirmed } = start(server);
  await confirmed();
  expect(ids()).toHaveLength(30);
  expect(pagesOf(server).map(({ continued }) => continued)).toEqual([
    ...[false, true, true, true],
    ...[false, true, true, true, true, true],
  ]);
});

test('a listing whose every token is refused ends with an error, not without end', async () => {
  const server = await serverOf(30);
  server.faultWhen(({ continued }) => (continued ? 'expired' : undefined));
  const { source, lists } = start(server);
  await eventually(() => expect(source.status().lastError?.message).toContain('InvalidNextToken'));
  expect(lists).toEqual([]);
});

test('environments are served as their SDK keys are read, and unknown credentials may be one of the others until then', async () => {
  const server = await serverOf(25);
  let batches = 0;
  server.before(({ operation }) => {
    if (operation === 'GetParameters' && ++batches === 2) server.hang('GetParameters');
  });
  const { source, ids, keys, lists, lines, confirmed } = start(server);
  await eventually(() => expect(ids()).toHaveLength(10));
  expect(keys().sort()).toEqual(Array.from({ length: 10 }, (_, i) => `sdk-${i}`).sort());
  expect(lists.at(-1)?.extent).toBe('incomplete');
  expect(source.unread()).toBe(40);
  expect(source.status().state).toBe('INITIALIZING');
  expect(lines.filter((line) => line.includes('problem'))).toEqual([]);
  server.before(undefined);
  server.heal();
  await confirmed();
  expect(ids()).toHaveLength(25);
  expect(keys()).toHaveLength(50);
  expect(source.unread()).toBe(0);
  expect(lists.at(-1)?.extent).toBeUndefined();
});

describe('the sealed last good keys', () => {
  async function learnt(count = 12) {
    const server = await serverOf(count);
    const keeper = createMemoryKeeper();
    const first = start(server, sealed(keeper));
    await first.confirmed();
    await eventually(() => expect(keeper.bytes).toBeDefined());
    await first.source.close();
    server.calls.length = 0;
    return { server, keeper, list: first.lists.at(-1)!.environments };
  }

  test('are served while SSM is away, and confirmed later without decrypting anything again @heavy', async () => {
    const { server, keeper, list } = await learnt();
    expect(Buffer.from(keeper.bytes!).toString('latin1')).not.toContain('sdk-1');
    server.down();
    const { source, lists, confirmed } = start(server, sealed(keeper));
    await eventually(() => expect(lists).toEqual([{ environments: list, extent: undefined }]));
    // Keys that were put meanwhile are not known: nothing is unknown for certain.
    expect(source.status().state).not.toBe('VALID');
    server.heal();
    await confirmed();
    expect(decryptions(server)).toEqual([]);
    expect(lists).toHaveLength(1);
  });

  test('give way to what SSM says: revocations, changed keys and new environments @heavy', async () => {
    const { server, keeper } = await learnt();
    server.put(`${path}/e001/revoked`, '*');
    server.put(`${path}/e002/sdk-key`, 'sdk-changed');
    server.put(`${path}/new/sdk-key`, 'sdk-new');
    const { ids, keys, confirmed } = start(server, sealed(keeper));
    await confirmed();
    expect(ids()).not.toContain('e001');
    expect(keys()).toEqual(expect.arrayContaining(['sdk-changed', 'sdk-new']));
    expect(decryptions(server).map(({ names }) => [...names].sort())).toEqual([
      [`${path}/e002/sdk-key`, `${path}/new/sdk-key`],
    ]);
  });

  test.each([
    ['of another secret', {}, 'another-secret', 'it was sealed with another key, or is damaged'],
    [
      'older than the grace time',
      { clock: { now: () => Date.now() + 30 * hourMs } },
      undefined,
      'older than the grace time',
    ],
  ])('that are %s are not used, and the log says why @heavy', async (_, more, secret, reason) => {
    const { server, keeper } = await learnt();
    server.down();
    const { lists, lines } = start(server, { ...sealed(keeper, secret), ...more });
    await eventually(() => expect(lines.join()).toContain(reason));
    await eventually(() => expect(lines.join()).toContain('no key is known yet'));
    expect(lists).toEqual([]);
  });

  test('are not waited for when the store does not answer @heavy', async () => {
    const server = await serverOf(3);
    const hanging: Keeper = { read: () => new Promise(() => {}), write: async () => {} };
    const { ids } = start(server, sealed(hanging));
    await eventually(() => expect(ids()).toHaveLength(3));
  });
});

const long = process.env.LONG !== undefined;
const [relays, environments] = long ? [20, 400] : [5, 50];

test(`${relays} relays that start at once serve ${environments} environments before SSM answers, then confirm them with one listing each @heavy`, async () => {
  const server = await serverOf(environments);
  const keeper = createMemoryKeeper();
  const first = start(server, sealed(keeper));
  await first.confirmed();
  await eventually(() => expect(keeper.bytes).toBeDefined());
  await first.source.close();
  server.hang();
  const before = server.admitted();
  const timings = { ...fast, spacingMs: 100, retryBaseMs: 250, retryMs: 1_000, slowestMs: 300_000, retries: 3 };
  const fleet = Array.from({ length: relays }, () => start(server, { ...sealed(keeper), timings }));
  await eventually(() => {
    for (const { ids } of fleet) expect(ids()).toHaveLength(environments);
  });
  expect(server.admitted()).toBe(before);
  server.calls.length = 0;
  server.heal();
  // What SSM allows an account by default; requests beyond it cost nothing.
  server.limit(40);
  await Promise.all(fleet.map(({ confirmed }) => confirmed()));
  const admitted = server.admitted() - before;
  const pages = (environments * 2) / 10;
  expect(decryptions(server)).toEqual([]);
  // Each relay goes on where it was throttled, so no page is listed twice. A request that `heal` cut is sent again.
  expect(admitted).toBeLessThanOrEqual(relays * pages);
  // At 40 a second, the fleet of full size needs a minute at most.
  if (long) expect(admitted / 40).toBeLessThanOrEqual(60);
});
