import { SLICE_MS } from '../../../relay-task/common/slices.ts';
import { type AutoConfigListener, startAutoConfig } from '../../../relay-task/environments/auto-config.ts';
import type { EnvironmentDescription, Log } from '../../../relay-task/ports.ts';
import { startAutoConfigStream } from '../../../relay-task/upstream/auto-config-stream.ts';
import { eventually } from '../../support/eventually.ts';
import { environmentRep, type FakeAutoConfig, startFakeAutoConfig } from '../../support/fake-auto-config.ts';
import { createLogRecorder } from '../../support/logs.ts';
import { closeAfterEach } from '../../support/opened.ts';
import { countSlicedTurns, type SlicedTurns } from '../../support/sliced-turns.ts';

const KEY = 'rel-do-not-show-me';
const LATER = Date.now() + 3_600_000;

const { behind } = closeAfterEach();

async function launchDarkly(...environments: Parameters<typeof startFakeAutoConfig>) {
  const fake = await startFakeAutoConfig(...environments);
  behind(() => fake.close());
  return fake;
}

const openStream = (fake: FakeAutoConfig, log: Log, listener: AutoConfigListener) =>
  startAutoConfigStream({
    ...listener,
    ...{ streamUri: fake.upstream.uri, key: KEY, userAgent: 'EdgeFlagRelay/1.2.3', log },
    backoff: { firstMs: 5, maxMs: 20 },
    refusedBackoff: { firstMs: 20, maxMs: 40 },
  });

/** A source over a real stream, and all lists of environments that it delivered. */
function start(fake: FakeAutoConfig, more: Partial<Parameters<typeof startAutoConfig>[0]> = {}) {
  const lists: EnvironmentDescription[][] = [];
  const { log, lines, shown } = createLogRecorder();
  const source = startAutoConfig({
    ...{
      prefixTemplate: 'ld-$CID',
      tableNameTemplate: '',

      allowedOrigins: ['https://a.example'],
      allowedHeaders: ['X-A'],
    },
    sink: { replace: (environments) => void lists.push([...environments]) },
    log,
    open: (listener) => openStream(fake, log, listener),
    ...more,
  });
  behind(() => source.close());
  const last = () => lists.at(-1) ?? [];
  const find = (id: string) => last().find((environment) => environment.id === id);
  const keysOf = (id: string) =>
    find(id)?.credentials.map(({ value, expiresAt }) => (expiresAt ? `${value} until ${expiresAt}` : value));
  const answered = () => eventually(() => expect(source.status().state).toBe('VALID'));
  return { source, lists, lines, shown, last, find, keysOf, answered };
}

/** Waits until everything sent so far has been handled. */
async function settled(fake: FakeAutoConfig, find: (id: string) => unknown) {
  const id = `settled-${Object.keys(fake.environments).length}`;
  await fake.patch(environmentRep(id, 1));
  await eventually(() => expect(find(id)).toBeDefined());
}

test('a stream that changes or damages an environment over and over does not fill the log @heavy', async () => {
  const fake = await launchDarkly(environmentRep('e1', 1));
  const { find, last, lines } = start(fake);
  await eventually(() => expect(last()).toHaveLength(1));
  for (let version = 2; version <= 200; version += 1) {
    await fake.patch(environmentRep('e1', version, { envName: `Name ${version % 2}` }));
    await fake.patch(environmentRep('e2', version, { sdkKey: 7 }));
  }
  await settled(fake, find);
  expect(find('e1')?.labels?.envName).toBe('Name 0');
  expect(lines.filter((line) => line.includes('is invalid; keeping its previous state'))).toHaveLength(1);
  // One of each number of environments.
  expect(lines.filter((line) => line.startsWith('Auto-configuration changed'))).toEqual([
    'Auto-configuration changed {"environments":1}',
    'Auto-configuration changed {"environments":2}',
  ]);
});

test('requests the stream as ld-relay does and reads every field of an environment', async () => {
  const fake = await launchDarkly(
    environmentRep('e1', 3, { secureMode: true }),
    environmentRep('e2', 1, { projName: '', envName: '' }),
  );
  const { source, last, lines } = start(fake, { tableNameTemplate: 'flags-$CID' });
  await eventually(() => expect(last()).toHaveLength(2));
  expect(fake.upstream.requests[0]).toMatchObject({
    url: '/relay_auto_config?rpacProtocolVersion=2',
    headers: { authorization: KEY, 'user-agent': 'EdgeFlagRelay/1.2.3', accept: 'text/event-stream' },
  });
  expect(last()[0]).toEqual({
    ...{ id: 'e1', name: 'Shop Production', environmentId: 'e1', sdkKey: 'sdk-e1', filters: [], secureMode: true },
    labels: { envKey: 'production', envName: 'Production', projKey: 'shop', projName: 'Shop' },
    credentials: [
      { kind: 'sdkKey', value: 'sdk-e1' },
      { kind: 'mobileKey', value: 'mob-e1' },
      { kind: 'environmentId', value: 'e1' },
    ],
    ...{
      ttlMs: 300_000,
      prefix: 'ld-e1',
      tableName: 'flags-e1',
      allowedOrigins: ['https://a.example'],
      allowedHeaders: ['X-A'],
    },
  });
  expect(last()[1]).toMatchObject({ name: 'e2', tableName: 'flags-e2' });
  expect(source.status()).toMatchObject({ kind: 'auto-configuration', state: 'VALID' });
  expect(lines.join('\n')).not.toMatch(/sdk-e1|mob-e1|rel-do/);
});

test('delivers nothing before LaunchDarkly has answered, then possibly an empty list', async () => {
  const fake = await launchDarkly();
  fake.upstream.answer = 'silent';
  const { source, lists } = start(fake);
  await fake.upstream.connected(1);
  await fake.upstream.comment('heartbeat');
  expect(lists).toEqual([]);
  expect(source.status().state).toBe('INITIALIZING');
  await fake.put();
  await eventually(() => expect(lists).toEqual([[]]));
});

describe('an environment from auto-configuration', () => {
  test('takes only newer patches, in whatever order patches and deletions arrive', async () => {
    const fake = await launchDarkly(environmentRep('e1', 5));
    const { find, answered } = start(fake);
    await answered();
    await fake.patch(environmentRep('e1', 5, { envName: 'same version' }));
    await fake.patch(environmentRep('e1', 4, { envName: 'older' }));
    await fake.delete('environments', 'e1', 5);
    await settled(fake, find);
    expect(find('e1')?.labels?.envName).toBe('Production');
    await fake.patch(environmentRep('e1', 6, { envName: 'newer' }));
    await eventually(() => expect(find('e1')?.labels?.envName).toBe('newer'));
    await fake.delete('environments', 'e1', 8);
    await eventually(() => expect(find('e1')).toBeUndefined());
    await fake.patch(environmentRep('e1', 7));
    await settled(fake, find);
    expect(find('e1')).toBeUndefined();
    await fake.patch(environmentRep('e1', 9));
    await eventually(() => expect(find('e1')).toBeDefined());
  });

  test('stays deleted if its deletion arrived first', async () => {
    const fake = await launchDarkly();
    const { find, answered } = start(fake);
    await answered();
    await fake.delete('environments', 'e1', 3);
    await fake.patch(environmentRep('e1', 2));
    await settled(fake, find);
    expect(find('e1')).toBeUndefined();
  });

  test('is removed by a put that omits it, after which any version is accepted', async () => {
    const fake = await launchDarkly(environmentRep('e1', 5), environmentRep('e2', 5));
    const { last, answered } = start(fake);
    await answered();
    await fake.delete('environments', 'e1', 9);
    delete fake.environments.e2;
    fake.environments.e3 = environmentRep('e3', 1);
    await fake.put();
    await eventually(() => expect(last().map(({ id }) => id)).toEqual(['e3']));
    await fake.patch(environmentRep('e1', 1));
    await eventually(() => expect(last().map(({ id }) => id)).toEqual(['e3', 'e1']));
  });

  test('is not delivered again by a reconnect with the same data', async () => {
    const fake = await launchDarkly(environmentRep('e1', 5));
    const { lists, answered, source } = start(fake);
    await answered();
    fake.upstream.cut();
    await fake.upstream.connected(2);
    await eventually(() => expect(source.status()).toMatchObject({ state: 'VALID', lastError: {} }));
    expect(lists).toHaveLength(1);
  });
});

describe("an environment's keys", () => {
  test('rotate with a grace period that a repeated notice does not change', async () => {
    const fake = await launchDarkly(environmentRep('e1', 1));
    const { find, keysOf, answered } = start(fake);
    await answered();
    const rotated = { sdkKey: { value: 'sdk-new', expiring: { value: 'sdk-e1', timestamp: LATER } } };
    await fake.patch(environmentRep('e1', 2, rotated));
    await eventually(() => expect(find('e1')?.sdkKey).toBe('sdk-new'));
    await fake.patch(environmentRep('e1', 3, { ...rotated, envName: 'again' }));
    await eventually(() => expect(find('e1')?.labels?.envName).toBe('again'));
    expect(keysOf('e1')).toEqual(['sdk-new', `sdk-e1 until ${LATER}`, 'mob-e1', 'e1']);
  });

  test('are revoked once their expiry has passed', async () => {
    const fake = await launchDarkly(environmentRep('e1', 1));
    const { keysOf, answered } = start(fake);
    await answered();
    await fake.patch(
      environmentRep('e1', 2, { sdkKey: { value: 'sdk-new', expiring: { value: 'sdk-e1', timestamp: 1 } } }),
    );
    await eventually(() => expect(keysOf('e1')).toEqual(['sdk-new', 'mob-e1', 'e1']));
  });

  test('are kept if an update omits them, except a mobile key that it sets to empty', async () => {
    const fake = await launchDarkly(environmentRep('e1', 1));
    const { keysOf, find, answered } = start(fake);
    await answered();
    await fake.patch(environmentRep('e1', 2, { sdkKey: { value: '' }, mobKey: undefined, envName: 'keyless' }));
    await eventually(() => expect(find('e1')?.labels?.envName).toBe('keyless'));
    expect(keysOf('e1')).toEqual(['sdk-e1', 'mob-e1', 'e1']);
    await fake.patch(environmentRep('e1', 3, { mobKey: '' }));
    await eventually(() => expect(keysOf('e1')).toEqual(['sdk-e1', 'e1']));
    await fake.patch(environmentRep('e1', 4, { mobKey: 'mob-later' }));
    await eventually(() => expect(keysOf('e1')).toEqual(['sdk-e1', 'mob-later', 'e1']));
    await fake.patch(environmentRep('e1', 5, { mobKey: undefined, mobileKeys: [] }));
    await eventually(() => expect(keysOf('e1')).toEqual(['sdk-e1', 'e1']));
  });

  test('are exactly those of the list if there is one, with the expiry that it gives', async () => {
    const fake = await launchDarkly(environmentRep('e1', 1));
    const { keysOf, find, answered } = start(fake);
    await answered();
    const lists = {
      sdkKeys: [
        { key: 'a', value: 'sdk-a', expiry: LATER },
        { key: 'default', value: 'sdk-e1' },
      ],
      mobileKeys: [
        { key: 'default', value: 'mob-e1', hasViews: true },
        { key: 'm', value: 'mob-m', expiry: null },
      ],
    };
    const sdkKey = { value: 'sdk-e1', expiring: { value: 'sdk-legacy', timestamp: LATER } };
    await fake.patch(environmentRep('e1', 2, { ...lists, sdkKey }));
    await eventually(() => expect(keysOf('e1')).toEqual(['sdk-e1', `sdk-a until ${LATER}`, 'mob-e1', 'mob-m', 'e1']));
    expect(find('e1')?.sdkKey).toBe('sdk-e1');
  });

  test('are read in any case of their field names', async () => {
    const { envId, sdkKey: _, mobKey: __, ...rest } = environmentRep('e1', 1);
    const fake = await launchDarkly();
    fake.environments.e1 = { ...rest, envID: envId, SDKKEY: { Value: 'sdk-x', Expiring: null }, MobKey: 'mob-x' };
    const { keysOf, answered } = start(fake);
    await answered();
    expect(keysOf('e1')).toEqual(['sdk-x', 'mob-x', 'e1']);
  });
});

describe('payload filters', () => {
  test('apply to all environments of their project in any order of arrival, with current keys', async () => {
    const fake = await launchDarkly(environmentRep('e1', 1), environmentRep('other', 1, { projKey: 'blog' }));
    const { find, answered } = start(fake);
    await answered();
    await fake.patch(environmentRep('e1', 2, { sdkKey: { value: 'sdk-new' } }));
    await fake.patchFilter('f1', { projKey: 'shop', key: 'web', version: 1 });
    await fake.patchFilter('f2', { projKey: 'shop', key: 'app', version: 1 });
    await eventually(() => expect(find('e1')).toMatchObject({ filters: ['app', 'web'], sdkKey: 'sdk-new' }));
    await fake.patch(environmentRep('e2', 1));
    await eventually(() => expect(find('e2')?.filters).toEqual(['app', 'web']));
    expect(find('other')?.filters).toEqual([]);
  });

  test('can change, follow an environment to another project, and be removed', async () => {
    const fake = await launchDarkly(environmentRep('e1', 1));
    fake.filters.f1 = { projKey: 'shop', key: 'web', version: 1 };
    fake.filters.f2 = { projKey: 'blog', key: 'posts', version: 1 };
    const { find, answered } = start(fake);
    await answered();
    expect(find('e1')?.filters).toEqual(['web']);
    await fake.patchFilter('f1', { projKey: 'shop', key: 'web-2', version: 2 });
    await eventually(() => expect(find('e1')?.filters).toEqual(['web-2']));
    await fake.patch(environmentRep('e1', 2, { projKey: 'blog' }));
    await eventually(() => expect(find('e1')?.filters).toEqual(['posts']));
    await fake.delete('filters', 'f2', 2);
    await eventually(() => expect(find('e1')?.filters).toEqual([]));
  });
});

const environmentPatch = (id: string) => ({ path: `/environments/${id}`, data: environmentRep(id, 1) });
const filterPatch = (key: string) => ({ path: '/filters/f1', data: { key, projKey: 'shop', version: 1 } });

describe('an invalid auto-configuration message', () => {
  test.each([
    ['an inner ID of another environment', { envId: 'e9' }, /envId must be the ID .*e1.*, not .*e9/],
    ['text as the version', { version: 'secret-sdk' }, /version must be a whole number/],
    [
      'a key in use that is not listed',
      { sdkKeys: [{ key: 'a', value: 'secret-sdk' }] },
      /sdkKey.value must be one of sdkKeys/,
    ],
    [
      'mobile keys without one in use',
      { mobKey: '', mobileKeys: [{ key: 'a', value: 'secret-mob' }] },
      /mobKey must be one of/,
    ],
    [
      'a listed key without a value',
      { sdkKeys: [{ key: 'a' }, { value: 'sdk-e1' }] },
      /each of sdkKeys must have a value/,
    ],
    [
      'a grace period without an expiry',
      { sdkKey: { value: 'sdk-2', expiring: { value: 'secret-sdk' } } },
      /timestamp/,
    ],
    ['text instead of keys', { sdkKey: 'secret-sdk' }, /sdkKey must be an object, not a string/],
  ])('that is a put with %s changes nothing for that environment', async (_, broken, problem) => {
    const fake = await launchDarkly(environmentRep('e1', 1));
    const { find, keysOf, lines, answered } = start(fake);
    await answered();
    fake.environments.e1 = { ...environmentRep('e1', 2), ...broken };
    fake.environments.e2 = environmentRep('e2', 1);
    await fake.put();
    await eventually(() => expect(find('e2')).toBeDefined());
    expect(keysOf('e1')).toEqual(['sdk-e1', 'mob-e1', 'e1']);
    expect(lines.join('\n')).toMatch(problem);
    expect(lines.join('\n')).not.toContain('secret');
    expect(fake.upstream.connections).toBe(1);
  });

  test.each([
    ['text that is not JSON', 'patch', '{"path":'],
    ['a put without environments', 'put', { path: '/', data: {} }],
    ['a put with a list of environments', 'put', { path: '/', data: { environments: [] } }],
    ['a patch of a broken environment', 'patch', { path: '/environments/e1', data: { envId: 'e1', version: -1 } }],
    ['a patch of a broken filter', 'patch', { path: '/filters/f1', data: { key: '', projKey: 'shop' } }],
    ['a patch of an environment without a possible ID', 'patch', environmentPatch('\ud800')],
    ['a patch of a filter without a possible key', 'patch', filterPatch('\ud800')],
    ['a deletion without a number', 'delete', { path: '/environments/e1', version: 'x' }],
  ])('that is %s makes the source reconnect and changes nothing', async (_, event, data) => {
    const fake = await launchDarkly(environmentRep('e1', 1));
    const { source, lists, answered } = start(fake);
    await answered();
    await fake.upstream.event(event, data);
    await fake.upstream.connected(2);
    await answered();
    expect(source.status().lastError).toMatchObject({ message: expect.any(String) });
    expect(lists).toHaveLength(1);
  });

  test.each([
    ['an unknown event', 'hello', {}, 'an event of the unknown kind "hello"'],
    ['an unknown path', 'patch', { path: '/teams/x', data: {} }, 'a patch for the path "/teams/x"'],
    ['a put for another path', 'put', { path: '/environments', data: {} }, 'a put for the path "/environments"'],
  ])('that is %s is ignored and logged once with that reason', async (_, event, data, reason) => {
    const fake = await launchDarkly(environmentRep('e1', 1));
    const { find, answered, last, lines } = start(fake);
    await answered();
    await fake.upstream.event(event, data);
    await fake.upstream.event(event, data);
    await settled(fake, find);
    expect(last()).toHaveLength(2);
    expect(fake.upstream.connections).toBe(1);
    expect(lines.filter((line) => line.includes('Ignored an auto-configuration event'))).toEqual([
      `Ignored an auto-configuration event ${JSON.stringify({ reason, runbook: 'operations.md#ignored-messages' })}`,
    ]);
  });

  test.each([{}, { path: '' }, { path: null }])('that is a put with %j for its path holds everything', async (path) => {
    const fake = await launchDarkly(environmentRep('e1', 1));
    const { find, answered } = start(fake);
    await answered();
    await fake.upstream.event('put', { ...path, data: { environments: { e2: environmentRep('e2', 1) } } });
    await eventually(() => expect(find('e2')).toBeDefined());
    expect(find('e1')).toBeUndefined();
  });
});

describe('the auto-configuration stream', () => {
  test('reconnects without an error when LaunchDarkly asks for it', async () => {
    const fake = await launchDarkly(environmentRep('e1', 1));
    const { source, find, answered } = start(fake);
    await answered();
    fake.environments.e2 = environmentRep('e2', 1);
    await fake.upstream.event('reconnect', {});
    await eventually(() => expect(find('e2')).toBeDefined());
    expect(source.status()).toMatchObject({ state: 'VALID' });
    expect(source.status().lastError).toBeUndefined();
  });

  test.each([401, 403])('is retried after a %i, at startup and later, and nothing is lost', async (status) => {
    const fake = await launchDarkly(environmentRep('e1', 1));
    fake.upstream.answer = { status };
    const { source, lists, lines, shown, find, answered } = start(fake);
    await fake.upstream.requested(2);
    expect(lists).toEqual([]);
    expect(source.status()).toMatchObject({
      state: 'INITIALIZING',
      lastError: { message: expect.stringContaining(String(status)) },
    });
    fake.upstream.answer = 'stream';
    await answered();
    fake.upstream.answer = { status };
    fake.upstream.cut();
    await eventually(() =>
      expect(source.status()).toMatchObject({
        state: 'INTERRUPTED',
        lastError: { message: expect.stringContaining(`${status}`) },
      }),
    );
    expect(find('e1')).toBeDefined();
    const asked = fake.upstream.requests.length;
    await fake.upstream.requested(asked + 2);
    fake.upstream.answer = 'stream';
    await answered();
    // Logged once, not per attempt; the second outage comes within a minute.
    expect(shown.filter((line) => line.includes('rejected the auto-configuration key'))).toEqual([
      expect.stringMatching(
        `^ERROR LaunchDarkly rejected the auto-configuration key \\(${status}\\); no environment is known yet, next attempt in \\d+ ms `,
      ),
    ]);
    expect(lines.join()).toContain(`(${status}); keeping the known environments, next attempt in `);
    expect(shown.filter((line) => line.startsWith('INFO Auto-configuration stream works again after'))).toHaveLength(2);
  });
});

describe('auto-configuration of many environments', () => {
  const many = (count: number) => Array.from({ length: count }, (_, i) => environmentRep(`e${i}`, 1));

  test('describes only the environments that a message changes, and hands on the others as they were @heavy', async () => {
    const fake = await launchDarkly(...many(300), environmentRep('blog', 1, { projKey: 'blog' }));
    fake.filters.f0 = { projKey: 'shop', key: 'web', version: 1 };
    const { last, answered, find } = start(fake);
    await answered();
    const changedSince = (before: readonly EnvironmentDescription[]) =>
      last().flatMap(({ id }, i) => (last()[i] === before[i] ? [] : [id]));
    const first = last();
    await fake.patch(environmentRep('e7', 2, { secureMode: true }));
    await eventually(() => expect(find('e7')?.secureMode).toBe(true));
    expect(changedSince(first)).toEqual(['e7']);
    const second = last();
    await fake.patchFilter('f1', { projKey: 'blog', key: 'posts', version: 1 });
    await eventually(() => expect(find('blog')?.filters).toEqual(['posts']));
    expect(changedSince(second)).toEqual(['blog']);
    const third = last();
    // A put that says the same of all but one.
    fake.environments.e9 = environmentRep('e9', 2, { secureMode: true });
    await fake.put();
    await eventually(() => expect(find('e9')?.secureMode).toBe(true));
    expect(changedSince(third)).toEqual(['e9']);
  });

  test('describes an environment again once a key of it has expired', async () => {
    let now = Date.now();
    const fake = await launchDarkly(environmentRep('e1', 1), environmentRep('e2', 1));
    const { keysOf, answered, find } = start(fake, { now: () => now });
    await answered();
    const expiring = { value: 'sdk-e1', timestamp: LATER };
    await fake.patch(environmentRep('e1', 2, { sdkKey: { value: 'sdk-new', expiring } }));
    await eventually(() => expect(keysOf('e1')).toContain(`sdk-e1 until ${LATER}`));
    now = LATER + 1;
    await fake.patch(environmentRep('e2', 2, { secureMode: true }));
    await eventually(() => expect(find('e2')?.secureMode).toBe(true));
    expect(keysOf('e1')).toEqual(['sdk-new', 'mob-e1', 'e1']);
  });

  test('delivers a put whole, and what follows it afterwards, however long it takes @heavy', async () => {
    const fake = await launchDarkly();
    const { lists, answered, find } = start(fake);
    await answered();
    for (const environment of many(2_000)) fake.environments[environment.envId] = environment;
    const sent = fake.put();
    void fake.patch(environmentRep('e1999', 2, { secureMode: true }));
    void fake.delete('environments', 'e0', 2);
    await sent;
    await eventually(() => expect(lists).toHaveLength(4));
    expect(lists.map((list) => list.length)).toEqual([0, 2_000, 2_000, 1_999]);
    expect(lists[1]?.at(-1)?.secureMode).toBe(false);
    expect(find('e1999')?.secureMode).toBe(true);
  });

  test('reads, applies and delivers a put in slices @heavy', async () => {
    const count = 500;
    const fake = await launchDarkly();
    const { log } = createLogRecorder();
    let loop: SlicedTurns | undefined;
    let received = 0;
    let delivered: number | undefined;
    const { answered } = start(fake, {
      open: (listener) =>
        openStream(fake, log, {
          ...listener,
          onEvent(event, data) {
            received = loop?.turns ?? 0;
            return listener.onEvent(event, data);
          },
        }),
      sink: {
        replace({ length }) {
          if (length === count) delivered = loop?.turns;
        },
      },
    });
    await answered();
    for (const environment of many(count)) fake.environments[environment.envId] = environment;
    loop = countSlicedTurns();
    behind(() => loop?.stop());
    await fake.put();
    const deliveredIn = await eventually(() => {
      if (delivered === undefined) throw new Error('not delivered yet');
      return delivered;
    });
    // Three steps for each environment, and a slice is over after SLICE_MS of them.
    expect(deliveredIn - received).toBeGreaterThanOrEqual((3 * count) / (SLICE_MS + 1));
  });

  /** More than are read in one turn, and looked through. */
  const names = Object.fromEntries(Array.from({ length: 8_000 }, (_, at) => [`name-${at}`, { [`of-${at}`]: at }]));

  test.each<[string, object, number]>([
    ['beside what it holds', { data: { environments: { e1: environmentRep('e1', 1) }, names } }, 1],
    ['beside its data', { data: { environments: { e1: environmentRep('e1', 1) } }, ...names }, 1],
    ['as an environment', { data: { environments: { e1: environmentRep('e1', 1), e2: names } } }, 1],
    ['in an environment', { data: { environments: { e1: { ...environmentRep('e1', 1), ...names } } } }, 1],
    ['as environments', { data: { environments: { e1: environmentRep('e1', 1), ...names } } }, 1],
  ])('reads a put with thousands of names %s over many turns @heavy', async (_, put, count) => {
    const fake = await launchDarkly();
    const { answered, last } = start(fake);
    await answered();
    const parse = jest.spyOn(JSON, 'parse');
    behind(() => parse.mockRestore());
    const loop = countSlicedTurns();
    behind(() => loop.stop());
    const before = loop.turns;
    await fake.upstream.event('put', { path: '/', ...put });
    await eventually(() => expect(last()).toHaveLength(count));
    loop.stop();
    expect(loop.turns - before).toBeGreaterThan(20);
    expect(Math.max(0, ...parse.mock.calls.map(([text]) => text.length))).toBeLessThan(20_000);
  });
});
