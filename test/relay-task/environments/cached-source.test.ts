import { startAutoConfig } from '../../../relay-task/environments/auto-config.ts';
import { createSeal } from '../../../relay-task/environments/sealed.ts';
import type { EnvironmentDescription, Keeper } from '../../../relay-task/ports.ts';
import { startAutoConfigStream } from '../../../relay-task/upstream/auto-config-stream.ts';
import { eventually } from '../../support/eventually.ts';
import { environmentRep, type FakeAutoConfig, startFakeAutoConfig } from '../../support/fake-auto-config.ts';
import { createLogRecorder } from '../../support/logs.ts';
import { closeAfterEach } from '../../support/opened.ts';

const LATER = Date.now() + 3_600_000;

const { behind } = closeAfterEach();

/** A store for one value, which can be down. */
function createKeeper() {
  const keeper = {
    down: false,
    bytes: undefined as Uint8Array | undefined,
    writes: 0,
    async read() {
      if (keeper.down) throw new Error('the store is down');
      return keeper.bytes;
    },
    async write(bytes: Uint8Array) {
      if (keeper.down) throw new Error('the store is down');
      keeper.writes += 1;
      keeper.bytes = bytes;
    },
  };
  return keeper satisfies Keeper;
}

async function launchDarkly(...environments: Parameters<typeof startFakeAutoConfig>) {
  const fake = await startFakeAutoConfig(...environments);
  behind(() => fake.close());
  return fake;
}

function start(fake: FakeAutoConfig, keeper: Keeper, { secret = 'rel-secret', patienceMs = 20, pauseMs = 1_000 } = {}) {
  const lists: EnvironmentDescription[][] = [];
  const { log, lines } = createLogRecorder();
  const source = startAutoConfig({
    ...{ prefixTemplate: '$CID', tableNameTemplate: '', allowedOrigins: [], allowedHeaders: [] },
    sink: { replace: (environments) => void lists.push([...environments]) },
    log,
    cache: { keeper, secret, patienceMs, retryMs: 10, pauseMs },
    open: (listener) =>
      startAutoConfigStream({
        ...listener,
        ...{ streamUri: fake.upstream.uri, key: 'rel-secret', userAgent: 'EdgeFlagRelay/1.2.3', log },
        backoff: { firstMs: 5, maxMs: 20 },
      }),
  });
  behind(() => source.close());
  const ids = () => lists.at(-1)?.map(({ id }) => id);
  return { source, lists, lines, ids };
}

/** A store with the state that a relay cached before LaunchDarkly went down. */
async function learn(...environments: Parameters<typeof startFakeAutoConfig>) {
  const keeper = createKeeper();
  const fake = await launchDarkly(...environments);
  fake.filters.f1 = { projKey: 'shop', key: 'web', version: 1 };
  const { source, lists } = start(fake, keeper);
  await eventually(() => expect(keeper.bytes).toBeDefined());
  await source.close();
  return { keeper, fake, learnt: lists.at(-1) };
}

test('a relay starts from the cached state while LaunchDarkly is down, including keys in their grace period @heavy', async () => {
  const sdkKey = { value: 'sdk-new', expiring: { value: 'sdk-old', timestamp: LATER } };
  const { keeper, fake, learnt } = await learn(environmentRep('e1', 7, { sdkKey }), environmentRep('e2', 1));
  fake.upstream.answer = { status: 503 };
  const { source, lists } = start(fake, keeper);
  await eventually(() => expect(lists).toEqual([learnt]));
  expect(learnt?.[0]?.credentials).toContainEqual({ kind: 'sdkKey', value: 'sdk-old', expiresAt: LATER });
  expect(learnt?.[0]?.filters).toEqual(['web']);
  expect(source.status()).toMatchObject({
    state: 'INTERRUPTED',
    lastError: { message: expect.stringContaining('503') },
  });
});

test("LaunchDarkly's data replaces the cached state, even with lower versions @heavy", async () => {
  const { keeper, fake } = await learn(environmentRep('e1', 7), environmentRep('e2', 1));
  fake.upstream.answer = { status: 503 };
  delete fake.environments.e2;
  fake.environments.e1 = environmentRep('e1', 6, { envName: 'restored' });
  fake.environments.e3 = environmentRep('e3', 1);
  const { source, lists, ids } = start(fake, keeper);
  await eventually(() => expect(ids()).toEqual(['e1', 'e2']));
  fake.upstream.answer = 'stream';
  await eventually(() => expect(ids()).toEqual(['e1', 'e3']));
  expect(lists.at(-1)?.[0]?.labels?.envName).toBe('restored');
  expect(source.status().state).toBe('VALID');
});

test('data that LaunchDarkly sends in time is used, and the cached state never overwrites it @heavy', async () => {
  const { keeper } = await learn(environmentRep('e1', 7));
  const fake = await launchDarkly(environmentRep('e9', 1));
  const slow: Keeper = {
    write: keeper.write,
    async read() {
      await eventually(() => expect(fake.upstream.connections).toBe(1));
      await eventually(() => expect(lists).toHaveLength(1));
      return keeper.read();
    },
  };
  const { source, lists, ids } = start(fake, slow, { patienceMs: 0 });
  await eventually(() => expect(ids()).toEqual(['e9']));
  // Nothing is written before the cached state has been read.
  const { writes } = keeper;
  await eventually(() => expect(keeper.writes).toBe(writes + 1));
  await source.close();
  expect(lists).toHaveLength(1);
});

test('the store contains no key, ID or name in plain text, and never the same bytes twice @heavy', async () => {
  const { keeper, fake } = await learn(environmentRep('e1-visible', 7));
  const first = Buffer.from(keeper.bytes!);
  const { lists } = start(fake, keeper);
  await eventually(() => expect(lists).toHaveLength(1));
  await fake.patch(environmentRep('e1-visible', 8));
  await eventually(() => expect(Buffer.from(keeper.bytes!).equals(first)).toBe(false));
  for (const bytes of [first, Buffer.from(keeper.bytes!)]) {
    expect(bytes.toString('latin1')).not.toMatch(/visible|sdk-|mob-|shop|Production|rel-/i);
  }
});

test.each([
  ['another key', (bytes: Uint8Array) => bytes, 'rel-other', 'another key'],
  ['a flipped bit', (bytes: Uint8Array) => bytes.with(-1, bytes.at(-1)! ^ 1), 'rel-secret', 'damaged'],
  [
    'a flipped bit of the salt',
    (bytes: Uint8Array) => Buffer.concat([bytes.subarray(0, 1), Buffer.of(bytes[1]! ^ 1), bytes.subarray(2)]),
    'rel-secret',
    'damaged',
  ],
  [
    'a later format',
    (bytes: Uint8Array) => Buffer.concat([Buffer.of(9), bytes.subarray(1)]),
    'rel-secret',
    'format is 9',
  ],
  ['a piece of it', (bytes: Uint8Array) => bytes.subarray(0, 20), 'rel-secret', 'too short'],
])('a cached state with %s is ignored and replaced by the next good one @heavy', async (_, spoil, secret, reason) => {
  const { keeper, fake } = await learn(environmentRep('e1', 7));
  keeper.bytes = spoil(keeper.bytes!);
  fake.upstream.answer = { status: 503 };
  const { lists, lines } = start(fake, keeper, { secret });
  await eventually(() => expect(lines.join('\n')).toContain(reason));
  expect(lists).toEqual([]);
  const spoilt = keeper.bytes;
  fake.upstream.answer = 'stream';
  await eventually(() => expect(keeper.bytes).not.toBe(spoilt));
  await expect(createSeal(secret).open(keeper.bytes!)).resolves.toContain('sdk-e1');
});

test('a cached state that decrypts but has an invalid format is ignored @heavy', async () => {
  const keeper = createKeeper();
  keeper.bytes = await createSeal('rel-secret').close(
    '{"environments":[["e1",{"envId":"e2"},{"credentials":[]}]],"filters":[]}',
  );
  const fake = await launchDarkly();
  fake.upstream.answer = { status: 503 };
  const { lists, lines } = start(fake, keeper);
  await eventually(() => expect(lines.join('\n')).toContain('this version cannot read it'));
  expect(lists).toEqual([]);
});

test('a store that comes back late is still read while LaunchDarkly is down @heavy', async () => {
  const { keeper, fake } = await learn(environmentRep('e1', 7));
  fake.upstream.answer = { status: 503 };
  keeper.down = true;
  const { ids, lines } = start(fake, keeper);
  await eventually(() =>
    expect(lines.filter((line) => line.includes('Could not read the last good')).length).toBeGreaterThan(1),
  );
  keeper.down = false;
  await eventually(() => expect(ids()).toEqual(['e1']));
});

test('a store that was down during changes gets the latest state in one write @heavy', async () => {
  const { keeper, fake } = await learn(environmentRep('e1', 7));
  const { ids, lines } = start(fake, keeper);
  await eventually(() => expect(ids()).toEqual(['e1']));
  keeper.down = true;
  await fake.patch(environmentRep('e2', 1));
  await fake.patch(environmentRep('e3', 1));
  await eventually(() =>
    expect(lines.filter((line) => line.includes('Could not store the last good')).length).toBeGreaterThan(1),
  );
  const { writes } = keeper;
  keeper.down = false;
  await eventually(async () => {
    expect(JSON.parse(await createSeal('rel-secret').open(keeper.bytes!)).environments).toHaveLength(3);
  });
  expect(keeper.writes).toBe(writes + 1);
});

test('an unchanged state is not written again @heavy', async () => {
  const { keeper, fake } = await learn(environmentRep('e1', 7));
  const { writes } = keeper;
  const { source, ids } = start(fake, keeper);
  await eventually(() => expect(ids()).toEqual(['e1']));
  fake.upstream.cut();
  await fake.upstream.connected(3);
  await eventually(() => expect(source.status()).toMatchObject({ state: 'VALID', lastError: {} }));
  await source.close();
  expect(keeper.writes).toBe(writes);
});

test('many changes in a row are stored by few writes, and the last of them before the relay ends @heavy', async () => {
  const keeper = createKeeper();
  const fake = await launchDarkly(environmentRep('e1', 1));
  const { source, lists } = start(fake, keeper, { pauseMs: 600_000 });
  await eventually(() => expect(keeper.writes).toBe(1));
  for (let version = 2; version <= 20; version++)
    await fake.patch(environmentRep('e1', version, { envName: `v${version}` }));
  await eventually(() => expect(lists.at(-1)?.[0]?.name).toBe('Shop v20'));
  await source.close();
  expect(keeper.writes).toBe(2);
  fake.upstream.answer = 'silent';
  const { ids, lists: remembered } = start(fake, keeper);
  await eventually(() => expect(ids()).toEqual(['e1']));
  expect(remembered.at(-1)?.[0]?.name).toBe('Shop v20');
});
