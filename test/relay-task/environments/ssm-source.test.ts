/** The relay's keys in SSM, read with the official SDK on real sockets. */
import { createHash } from 'node:crypto';
import { DeleteParameterCommand, type ParameterType, PutParameterCommand, SSMClient } from '@aws-sdk/client-ssm';
import { createMeasures } from '../../../relay-task/common/measures.ts';
import { type SsmSource, type SsmSourceOptions, startSsmSource } from '../../../relay-task/environments/ssm-source.ts';
import type { EnvironmentDescription } from '../../../relay-task/ports.ts';
import { eventually, roomy } from '../../support/eventually.ts';
import { silentLog } from '../../support/logs.ts';
import { everyNth } from '../../support/long.ts';
import { createMemoryKeeper } from '../../support/memory-keeper.ts';
import { motoIsInstalled, startMoto } from '../../support/moto-server.ts';
import { type SsmServer, startSsmServer } from '../../support/ssm-server.ts';

const path = '/edge-flag-relay/test/environments';
const region = 'eu-west-1';
const credentials = { accessKeyId: 'test', secretAccessKey: 'test' };
const hourMs = 3_600_000;
const fast = {
  spacingMs: 0,
  retryBaseMs: 1,
  retryMs: 5,
  confirmMs: 8,
  settleMs: 60_000,
  slowestMs: 100,
  requestTimeoutMs: 60_000,
  retries: 2,
};

const DAY_MS = 86_400_000;

const sdkKey = 'sdk-11111111-aaaa-4aaa-8aaa-000000000001';
const newKey = 'sdk-22222222-bbbb-4bbb-8bbb-000000000002';
const newestKey = 'sdk-33333333-cccc-4ccc-8ccc-000000000003';
const mobileKey = 'mob-44444444-dddd-4ddd-8ddd-000000000004';
const clientSideId = '5f0000000000000000000005';

interface Watched extends SsmSource {
  /** Every delivered list of environments. */
  readonly delivered: (readonly EnvironmentDescription[])[];
  readonly lines: string[];
  environment(id: string): EnvironmentDescription;
  ids(): string[];
  /** The values of the currently valid credentials of an environment. */
  keys(id: string): string[];
  advance(ms: number): void;
  now(): number;
}

const opened: { close(): Promise<void> }[] = [];
let client: SSMClient;
let secrets: string[] = [];

function watch(endpoint: string, options: Partial<SsmSourceOptions> = {}): Watched {
  client = new SSMClient({ endpoint, region, credentials, maxAttempts: 1 });
  const delivered: (readonly EnvironmentDescription[])[] = [];
  const lines: string[] = [];
  let offsetMs = 0;
  const now = () => Date.now() + offsetMs;
  const write = (message: string, fields?: object) => void lines.push(JSON.stringify({ message, ...fields }));
  const source = startSsmSource({
    ...{ path: `${path}/`, client, intervalMs: 5, graceMs: DAY_MS, timings: fast, clock: { now } },
    log: { debug: write, info: write, warn: write, error: write },
    sink: { replace: (environments) => void delivered.push(environments) },
    ...options,
  });
  const mine = client;
  opened.push({
    async close() {
      await source.close();
      mine.destroy();
      const said = JSON.stringify([lines, source.status()]);
      for (const secret of secrets) expect(said).not.toContain(secret);
    },
  });
  const environment = (id: string) => {
    const found = delivered.at(-1)?.find((one) => one.id === id);
    if (found === undefined) throw new Error(`there is no environment ${id}`);
    return found;
  };
  return {
    ...source,
    delivered,
    lines,
    environment,
    ids: () => (delivered.at(-1) ?? []).map(({ id }) => id),
    keys: (id) =>
      environment(id)
        .credentials.filter(({ expiresAt }) => expiresAt === undefined || now() <= expiresAt)
        .map(({ value }) => value),
    advance(ms) {
      offsetMs += ms;
    },
    now,
  };
}

beforeEach(() => {
  secrets = [sdkKey, newKey, newestKey, mobileKey];
});

afterEach(async () => {
  for (const one of opened.splice(0).reverse()) await one.close();
});

/** Waits until the source has read everything once more. */
async function readAgain(server: SsmServer, times = 2): Promise<void> {
  const lists = () => server.calls.filter(({ operation }) => operation === 'GetParametersByPath').length;
  const before = lists();
  await eventually(() => expect(lists()).toBeGreaterThanOrEqual(before + times + 1));
}

/** Waits until another source has read an empty server so often. */
async function calmReadings(options: Partial<SsmSourceOptions>, times: number): Promise<void> {
  const server = await startSsmServer();
  opened.push(server);
  watch(server.endpoint, options);
  await readAgain(server, times);
}

describe.each([
  ['our own server', async () => startSsmServer(), true],
  ['moto (needs moto)', startMoto, motoIsInstalled],
] as const)('the SSM source with %s', (_, start, installed) => {
  const testIf = installed ? test : test.skip;
  let endpoint: string;

  let server: { readonly endpoint: string; close(): Promise<void> } | undefined;

  beforeAll(async () => {
    if (!installed) return;
    server = await start();
    endpoint = server.endpoint;
  });

  afterAll(() => server?.close());

  // moto takes a second to start, so all tests share one.
  afterEach(async () => {
    for (const name of made.splice(0)) await remove(name).catch(() => {});
  });

  const made: string[] = [];

  async function put(name: string, Value: string, Type: ParameterType = 'String'): Promise<void> {
    const writer = new SSMClient({ endpoint, region, credentials });
    made.push(name);
    await writer.send(new PutParameterCommand({ Name: `${path}/${name}`, Value, Type, Overwrite: true }));
    writer.destroy();
  }

  async function remove(name: string): Promise<void> {
    const writer = new SSMClient({ endpoint, region, credentials });
    await writer.send(new DeleteParameterCommand({ Name: `${path}/${name}` }));
    writer.destroy();
  }

  testIf('reads every setting of every environment across all pages @heavy', async () => {
    const settings = {
      prefix: 'shop',
      'table-name': 'shop-flags',
      'allowed-origins': 'https://a.example, https://b.example',
      'allowed-headers': 'X-One,X-Two',
      'secure-mode': 'true',
      ttl: '1m30s',
      filters: 'mobile,web',
      'project-key': 'shop',
      'heartbeat-flag': 'relay-heartbeat',
      'log-level': 'warn',
      'flags-file': '/flags.json',
    };
    for (const [name, value] of Object.entries(settings)) await put(`production/${name}`, value);
    await put('production/sdk-key', sdkKey, 'SecureString');
    await put('production/mobile-key', mobileKey, 'SecureString');
    await put('production/client-side-id', clientSideId);
    await put('staging/sdk-key', newKey, 'SecureString');
    const source = watch(endpoint);
    await eventually(() => expect(source.status().state).toBe('VALID'));
    expect(source.delivered).toEqual([
      [
        {
          id: 'production',
          name: 'production',
          environmentId: clientSideId,
          sdkKey,
          credentials: [
            { kind: 'sdkKey', value: sdkKey },
            { kind: 'mobileKey', value: mobileKey },
            { kind: 'environmentId', value: clientSideId },
          ],
          filters: ['mobile', 'web'],
          secureMode: true,
          ttlMs: 90_000,
          prefix: 'shop',
          tableName: 'shop-flags',
          allowedOrigins: ['https://a.example', 'https://b.example'],
          allowedHeaders: ['X-One', 'X-Two'],
          logLevel: 'warn',
          flagsFile: '/flags.json',
          projectKey: 'shop',
          heartbeatFlag: 'relay-heartbeat',
        },
        {
          id: 'staging',
          name: 'staging',
          sdkKey: newKey,
          credentials: [{ kind: 'sdkKey', value: newKey }],
          filters: [],
          secureMode: false,
          ttlMs: 0,
          prefix: 'staging',
          allowedOrigins: [],
          allowedHeaders: [],
        },
      ],
    ]);
  });

  testIf('applies added, changed and removed parameters without a restart @heavy', async () => {
    await put('production/sdk-key', sdkKey, 'SecureString');
    const source = watch(endpoint);
    await eventually(() => expect(source.ids()).toEqual(['production']));
    await put('staging/sdk-key', newKey, 'SecureString');
    await eventually(() => expect(source.ids()).toEqual(['production', 'staging']));
    await put('production/ttl', '10s');
    await put('production/mobile-key', mobileKey, 'SecureString');
    await eventually(() => expect(source.environment('production').ttlMs).toBe(10_000));
    await eventually(() => expect(source.keys('production')).toEqual([sdkKey, mobileKey]));
    await put('production/sdk-key', newestKey, 'SecureString');
    await eventually(() => expect(source.environment('production').sdkKey).toBe(newestKey));
    await eventually(() => expect(source.keys('production')).toEqual([newestKey, mobileKey]));
    await remove('production/ttl');
    await eventually(() => {
      source.advance(61_000);
      expect(source.environment('production').ttlMs).toBe(0);
    });
    await put('staging/revoked', createHash('sha256').update(newKey).digest('hex').slice(0, 32));
    await eventually(() => expect(source.keys('staging')).toEqual([]));
  });
});

describe('the SSM source', () => {
  let server: SsmServer;

  const put = (name: string, value: string, options?: Parameters<SsmServer['put']>[2]) =>
    server.put(`${path}/${name}`, value, options);
  const remove = (name: string) => server.delete(`${path}/${name}`);
  const revoke = (environment: string, ...entries: string[]) => put(`${environment}/revoked`, entries.join(','));
  const fingerprint = (value: string) => createHash('sha256').update(value).digest('hex').slice(0, 32);
  const problem = (source: Watched, id = 'production') => source.environment(id).keyProblem?.message;

  beforeEach(async () => {
    server = await startSsmServer();
    opened.push(server);
    put('production/sdk-key', sdkKey);
    put('production/mobile-key', mobileKey);
  });

  async function started(options?: Partial<SsmSourceOptions>): Promise<Watched> {
    const source = watch(server.endpoint, options);
    await eventually(() => expect(source.status().state).toBe('VALID'));
    return source;
  }

  test('lists without decryption and decrypts only what changed, ten at a time @heavy', async () => {
    for (let number = 0; number < 11; number++) put(`many-${number}/sdk-key`, `sdk-many-${number}`);
    const source = await started();
    const decryptions = () => server.calls.filter(({ decrypted }) => decrypted);
    expect(decryptions().map(({ operation, names }) => [operation, names.length])).toEqual([
      ['GetParameters', 10],
      ['GetParameters', 3],
    ]);
    await readAgain(server);
    expect(decryptions()).toHaveLength(2);
    put('many-7/sdk-key', 'sdk-many-other');
    await eventually(() => expect(source.environment('many-7').sdkKey).toBe('sdk-many-other'));
    expect(decryptions().slice(2)).toEqual([
      { operation: 'GetParameters', names: [`${path}/many-7/sdk-key`], decrypted: true, continued: false },
    ]);
  });

  test('rereads a parameter that was deleted and recreated, although its version is 1 again', async () => {
    const source = await started();
    remove('production/sdk-key');
    put('production/sdk-key', newKey, { modifiedAt: Date.now() + 1_000 });
    expect(server.parameters.get(`${path}/production/sdk-key`)?.version).toBe(1);
    await eventually(() => expect(source.environment('production').sdkKey).toBe(newKey));
  });

  test('keeps a missing key for the grace period, reports it, then removes it', async () => {
    const source = await started();
    remove('production/mobile-key');
    await eventually(() => expect(problem(source)).toBe('production/mobile-key is no longer in SSM'));
    expect(source.keys('production')).toEqual([sdkKey, mobileKey]);
    const since = source.environment('production').keyProblem?.since ?? 0;
    source.advance(23.9 * hourMs);
    await readAgain(server);
    expect(source.keys('production')).toEqual([sdkKey, mobileKey]);
    expect(source.environment('production').keyProblem?.since).toBe(since);
    source.advance(0.2 * hourMs);
    await eventually(() => expect(source.keys('production')).toEqual([sdkKey]));
    expect(problem(source)).toBeUndefined();
  });

  test('reports no problem once a missing key is back', async () => {
    const source = await started();
    remove('production/sdk-key');
    await eventually(() => expect(problem(source)).toBeDefined());
    put('production/sdk-key', sdkKey);
    await eventually(() => expect(problem(source)).toBeUndefined());
    source.advance(48 * hourMs);
    await readAgain(server);
    expect(source.keys('production')).toEqual([sdkKey, mobileKey]);
  });

  test('keeps a missing folder with its settings for the grace period, then removes it', async () => {
    put('production/prefix', 'shop');
    put('production/secure-mode', 'true');
    put('staging/sdk-key', newKey);
    const source = await started();
    for (const name of ['mobile-key', 'prefix', 'sdk-key', 'secure-mode']) remove(`production/${name}`);
    await eventually(() => expect(problem(source)).toMatch(/sdk-key is no longer in SSM/));
    expect(source.environment('production')).toMatchObject({ sdkKey, prefix: 'shop', secureMode: true });
    expect(problem(source, 'staging')).toBeUndefined();
    source.advance(24.1 * hourMs);
    await eventually(() => expect(source.ids()).toEqual(['staging']));
  });

  describe('a setting that is deleted', () => {
    const settings = {
      'secure-mode': 'true',
      filters: 'web',
      prefix: 'shop',
      'table-name': 'shop-flags',
      revoked: fingerprint(mobileKey),
      'allowed-origins': 'https://a.example',
      'flags-file': '/flags.json',
      'log-level': 'error',
    };
    const chosen = everyNth(2, Object.entries(settings));

    test.each(chosen)('%s=%s stays in force while it is deleted and put again @heavy', async (name, value) => {
      put(`production/${name}`, value);
      const source = await started();
      remove(`production/${name}`);
      await readAgain(server, 3);
      // Half of the time after which a deletion counts: a busy machine needs some of the other half.
      source.advance(30_000);
      await readAgain(server, 3);
      put(`production/${name}`, value);
      await readAgain(server);
      source.advance(hourMs);
      await readAgain(server);
      expect(source.delivered).toHaveLength(1);
      // The next deletion begins anew.
      remove(`production/${name}`);
      await readAgain(server, 3);
      expect(source.delivered).toHaveLength(1);
    });

    test.each(chosen)('%s=%s no longer counts after a minute', async (name, value) => {
      const source = await started();
      const without = source.environment('production');
      put(`production/${name}`, value);
      await eventually(() => expect(source.environment('production')).not.toEqual(without));
      remove(`production/${name}`);
      await readAgain(server);
      source.advance(61_000);
      await eventually(() => expect(source.environment('production')).toEqual(without));
    });

    test('secure-mode stays in force when a folder is deleted and comes back with its keys first @heavy', async () => {
      put('production/secure-mode', 'true');
      const source = await started();
      for (const name of ['mobile-key', 'sdk-key', 'secure-mode']) remove(`production/${name}`);
      await eventually(() => expect(problem(source)).toMatch(/no longer in SSM/));
      source.advance(hourMs);
      await readAgain(server);
      put('production/sdk-key', sdkKey);
      put('production/mobile-key', mobileKey);
      await eventually(() => expect(problem(source)).toBeUndefined());
      source.advance(30_000);
      await readAgain(server);
      put('production/secure-mode', 'true');
      await readAgain(server);
      expect(source.delivered.map(([environment]) => environment?.secureMode)).not.toContain(false);
    });

    test('a setting takes effect at once with the value that replaces it', async () => {
      put('production/secure-mode', 'true');
      const source = await started();
      put('production/secure-mode', 'false');
      await eventually(() => expect(source.environment('production').secureMode).toBe(false));
    });
  });

  test('removes a revoked key at once, in any parameter and even in its grace period', async () => {
    const source = await started();
    remove('production/mobile-key');
    await eventually(() => expect(problem(source)).toBeDefined());
    revoke('production', fingerprint(mobileKey));
    await eventually(() => expect(source.keys('production')).toEqual([sdkKey]));
    expect(problem(source)).toBeUndefined();
    revoke('production', fingerprint(mobileKey), fingerprint(sdkKey));
    await eventually(() => expect(source.keys('production')).toEqual([]));
    expect(problem(source)).toBe('production/sdk-key was revoked: put another key');
    put('production/sdk-key', newKey);
    await eventually(() => expect(source.keys('production')).toEqual([newKey]));
  });

  test('removes a revoked environment at once and readds it only with other keys', async () => {
    put('staging/sdk-key', newKey);
    const source = await started();
    revoke('production', '*', fingerprint(sdkKey), fingerprint(mobileKey));
    await eventually(() => expect(source.ids()).toEqual(['staging']));
    revoke('production', fingerprint(sdkKey), fingerprint(mobileKey));
    await eventually(() => expect(source.ids()).toEqual(['production', 'staging']));
    expect(source.keys('production')).toEqual([]);
  });

  describe('with a previous SDK key', () => {
    const inOneHour = () => new Date(Date.now() + hourMs).toISOString();

    test('accepts it exactly until its expiry, even after booting during the grace period', async () => {
      const until = inOneHour();
      put('production/previous-sdk-key', sdkKey);
      put('production/previous-sdk-key-until', until);
      put('production/sdk-key', newKey);
      const source = await started();
      expect(source.environment('production')).toMatchObject({
        sdkKey: newKey,
        credentials: [
          { kind: 'sdkKey', value: newKey },
          { kind: 'sdkKey', value: sdkKey, expiresAt: Date.parse(until) },
          { kind: 'mobileKey', value: mobileKey },
        ],
      });
      source.advance(hourMs + 1);
      await eventually(() => expect(source.environment('production').credentials).toHaveLength(2));
      expect(problem(source)).toBeUndefined();
      // Deleting it after its expiry is not a problem.
      remove('production/previous-sdk-key');
      remove('production/previous-sdk-key-until');
      await readAgain(server);
      expect(problem(source)).toBeUndefined();
    });

    test('rejects it at once when its expiry is moved into the past', async () => {
      put('production/previous-sdk-key', sdkKey);
      put('production/previous-sdk-key-until', inOneHour());
      put('production/sdk-key', newKey);
      const source = await started();
      expect(source.keys('production')).toEqual([newKey, sdkKey, mobileKey]);
      put('production/previous-sdk-key-until', new Date(Date.now() - 1_000).toISOString());
      await eventually(() => expect(source.keys('production')).toEqual([newKey, mobileKey]));
    });

    test('honours its expiry even after another rotation replaces it', async () => {
      const until = inOneHour();
      put('production/previous-sdk-key', sdkKey);
      put('production/previous-sdk-key-until', until);
      put('production/sdk-key', newKey);
      const source = await started();
      put('production/previous-sdk-key', newKey);
      put('production/previous-sdk-key-until', new Date(Date.now() + 2 * hourMs).toISOString());
      put('production/sdk-key', newestKey);
      await eventually(() => expect(source.environment('production').sdkKey).toBe(newestKey));
      await readAgain(server);
      expect(new Set(source.keys('production'))).toEqual(new Set([newestKey, newKey, sdkKey, mobileKey]));
      source.advance(1.1 * hourMs);
      await eventually(() =>
        expect(new Set(source.keys('production'))).toEqual(new Set([newestKey, newKey, mobileKey])),
      );
    });

    test('never rejects it when a read sees only half of a rotation', async () => {
      for (let number = 0; number < 7; number++) put(`a-${number}/ttl`, '1s');
      put('production/previous-sdk-key', newestKey);
      put('production/previous-sdk-key-until', new Date(Date.now() - hourMs).toISOString());
      const source = await started();
      // The first page ends before sdk-key and has the old previous key; the second page has the new key.
      let rotated = false;
      server.before(({ continued }) => {
        if (!continued || rotated) return;
        rotated = true;
        put('production/previous-sdk-key', sdkKey);
        put('production/previous-sdk-key-until', inOneHour());
        put('production/sdk-key', newKey);
      });
      await eventually(() => expect(source.environment('production').sdkKey).toBe(newKey));
      await readAgain(server, 4);
      expect(source.delivered.map((list) => valuesOf(list, 'production').includes(sdkKey))).not.toContain(false);
      expect(source.environment('production').credentials).toContainEqual({
        ...{ kind: 'sdkKey', value: sdkKey },
        expiresAt: expect.any(Number),
      });
    });

    test('without an expiry accepts it for the grace period after it was written, on every relay alike', async () => {
      const modifiedAt = Date.now() - 20 * hourMs;
      put('production/previous-sdk-key', newKey, { modifiedAt });
      const source = await started();
      expect(source.environment('production').credentials).toContainEqual({
        ...{ kind: 'sdkKey', value: newKey },
        expiresAt: modifiedAt + 24 * hourMs,
      });
      expect(problem(source)).toMatch(/previous-sdk-key has no previous-sdk-key-until/);
    });

    test('a new expiry revives no earlier key while the one that it is meant for cannot be read @heavy', async () => {
      put('production/previous-sdk-key', newestKey);
      put('production/previous-sdk-key-until', new Date(Date.now() - hourMs).toISOString());
      const source = await started();
      server.forbid(`${path}/production/previous-sdk-key`);
      put('production/previous-sdk-key', sdkKey);
      put('production/previous-sdk-key-until', inOneHour());
      put('production/sdk-key', newKey);
      await eventually(() => expect(source.environment('production').sdkKey).toBe(newKey));
      await readAgain(server, 4);
      // The key that was rotated away may be the one that cannot be read.
      expect(new Set(source.keys('production'))).toEqual(new Set([newKey, sdkKey, mobileKey]));
      expect(source.delivered.map((list) => valuesOf(list, 'production').includes(newestKey))).not.toContain(true);
      server.heal();
      await eventually(() =>
        expect(source.environment('production').credentials).toContainEqual({
          ...{ kind: 'sdkKey', value: sdkKey },
          expiresAt: expect.any(Number),
        }),
      );
    });

    test('uses it for upstream, too, if the new key is invalid', async () => {
      put('production/previous-sdk-key', sdkKey);
      put('production/previous-sdk-key-until', inOneHour());
      put('production/sdk-key', 'two words');
      const source = await started();
      expect(source.environment('production').sdkKey).toBe(sdkKey);
      expect(problem(source)).toBe(
        'production/sdk-key is invalid: expected one word without spaces: the key and nothing else',
      );
    });
  });

  const valuesOf = (list: readonly EnvironmentDescription[], id: string) =>
    list.find((one) => one.id === id)?.credentials.map(({ value }) => value) ?? [];

  test('removes a replaced key without a previous key after a second read confirms it', async () => {
    const source = await started();
    put('production/sdk-key', newKey);
    await eventually(() => expect(source.environment('production').sdkKey).toBe(newKey));
    await eventually(() => expect(source.keys('production')).toEqual([newKey, mobileKey]));
    const lists = source.delivered.map((list) => valuesOf(list, 'production'));
    expect(lists).toEqual([
      [sdkKey, mobileKey],
      [newKey, mobileKey, sdkKey],
      [newKey, mobileKey],
    ]);
    // Until then the old key is marked, since it may be of another environment than the new one.
    const marked = source.delivered.flatMap((list) => list[0]!.credentials.filter(({ unconfirmed }) => unconfirmed));
    expect(marked).toEqual([{ kind: 'sdkKey', value: sdkKey, unconfirmed: true }]);
  });

  test.each([
    ['sdk-key', 'two words', 'one word without spaces: the key and nothing else'],
    ['sdk-key', '   ', 'a non-empty value'],
    ['mobile-key', 'mob-ä', 'one word without spaces: the key and nothing else'],
    ['previous-sdk-key-until', 'tomorrow', 'a date and time with its zone, such as 2026-11-22T08:00:00Z'],
    ['previous-sdk-key-until', '2026-02-30T08:00:00Z', 'a date and time with its zone, such as 2026-11-22T08:00:00Z'],
    ['previous-sdk-key-until', '2026-11-22', 'a date and time with its zone, such as 2026-11-22T08:00:00Z'],
    ['prefix', 'a b', 'one word without spaces'],
    ['table-name', 'x', '3 to 255 characters from a-z A-Z 0-9 _ - .'],
    ['secure-mode', 'maybe', 'true or false'],
    ['ttl', '30', 'a duration with a unit, such as 30s, 1m30s or 250ms'],
    ['heartbeat-flag', 'relay heartbeat', 'one word without spaces'],
    ['log-level', 'loud', 'one of debug, info, warn, error, none'],
    ['revoked', 'sdk-key', 'fingerprints of 32 hex digits, separated by commas, or *'],
  ])(
    'reports that %s=%j is invalid and what is expected, and keeps the last value and everything else',
    async (name, value, wanted) => {
      put('production/prefix', 'shop');
      put('staging/sdk-key', newKey);
      const source = await started();
      const before = source.environment('production');
      put(`production/${name}`, value);
      put('staging/ttl', '7s');
      await eventually(() => expect(problem(source)).toBe(`production/${name} is invalid: expected ${wanted}`));
      const { keyProblem: _, secureMode, ...after } = source.environment('production');
      const { keyProblem: __, secureMode: ___, ...expected } = before;
      const itsKind = ({ 'sdk-key': 'sdkKey', 'mobile-key': 'mobileKey' } as Record<string, string>)[name];
      const credentials = expected.credentials.map((one) =>
        one.kind === itsKind ? { ...one, unconfirmed: true } : one,
      );
      expect(after).toEqual({ ...expected, credentials, ...(name === 'sdk-key' && { awaitsKey: true }) });
      // Without an earlier valid value the safe one is used.
      expect(secureMode).toBe(name === 'secure-mode');
      await eventually(() =>
        expect(source.environment('staging')).toMatchObject({ ttlMs: 7_000, keyProblem: undefined }),
      );
    },
  );

  test('accepts a key of a form that LaunchDarkly does not use, with a warning', async () => {
    put('production/sdk-key', 'odd-key-for-a-server');
    secrets.push('odd-key-for-a-server');
    const source = await started();
    expect(source.environment('production').sdkKey).toBe('odd-key-for-a-server');
    expect(source.lines.join()).toContain('sdk-key does not begin with sdk-');
    expect(problem(source)).toBeUndefined();
  });

  const apiToken = 'api-66666666-eeee-4eee-8eee-000000000006';
  const autoConfigKey = 'rel-77777777-ffff-4fff-8fff-000000000007';
  test.each([
    ['client-side-id', newKey, 'a client-side ID, not an SDK key'],
    ['client-side-id', mobileKey, 'a client-side ID, not a mobile key'],
    ['client-side-id', apiToken, 'a client-side ID, not an API access token'],
    ['client-side-id', autoConfigKey, 'a client-side ID, not an auto-configuration key'],
    ['sdk-key', mobileKey, 'an SDK key, not a mobile key'],
    ['sdk-key', clientSideId, 'an SDK key, not a client-side ID'],
    ['sdk-key', apiToken, 'an SDK key, not an API access token'],
    ['previous-sdk-key', clientSideId, 'an SDK key, not a client-side ID'],
    ['mobile-key', newKey, 'a mobile key, not an SDK key'],
    ['mobile-key', clientSideId, 'a mobile key, not a client-side ID'],
    ['prefix', newKey, 'a setting, not a secret key'],
    ['project-key', `shop-${apiToken}`, 'a setting, not a secret key'],
    ['filters', `web,${mobileKey}`, 'a setting, not a secret key'],
    ['allowed-headers', newKey, 'a setting, not a secret key'],
    ['flags-file', `/${newKey}.json`, 'a setting, not a secret key'],
  ])('%s=%s is refused as the wrong kind of value, and opens and shows nothing', async (name, value, wanted) => {
    if (value !== clientSideId) secrets.push(value);
    const source = await started();
    const before = source.keys('production');
    put(`production/${name}`, value, { type: /key$/.test(name) ? 'SecureString' : 'String' });
    await eventually(() => expect(problem(source)).toBe(`production/${name} is invalid: expected ${wanted}`));
    expect(source.keys('production')).toEqual(before);
    const { credentials, sdkKey: _, ...shown } = source.environment('production');
    expect(JSON.stringify(shown)).not.toContain(value);
    expect(credentials).toHaveLength(2);
  });

  test.each(['api-gateway', 'mob-app', 'sdk-team', 'rel-2024'])(
    'a prefix that is no key, %s, is accepted',
    async (prefix) => {
      put('production/prefix', prefix);
      const source = await started();
      expect(source.environment('production').prefix).toBe(prefix);
    },
  );

  test.each([
    ['sdk-key', sdkKey],
    ['mobile-key', mobileKey],
    ['previous-sdk-key', newKey],
  ])('warns once of a %s that is stored as a plain String, and uses it', async (name, value) => {
    remove(`production/${name}`);
    put(`production/${name}`, value, { type: 'String' });
    const source = await started();
    await readAgain(server);
    expect(source.keys('production')).toContain(value);
    const warnings = source.lines.filter((line) =>
      line.includes(`production/${name} is stored unencrypted, as a String`),
    );
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toContain('put it again as a SecureString, and reset the key in LaunchDarkly');
  });

  test('leaves a key of two environments with the first, and reports it for the other', async () => {
    const source = await started();
    put('aaa/sdk-key', sdkKey, { modifiedAt: Date.now() + 5_000 });
    put('aaa/mobile-key', 'mob-other');
    await eventually(() => expect(source.ids()).toEqual(['aaa', 'production']));
    expect(source.keys('production')).toEqual([sdkKey, mobileKey]);
    expect(source.keys('aaa')).toEqual(['mob-other']);
    expect(problem(source, 'aaa')).toBe(
      'aaa/sdk-key has the same value as production/sdk-key: give each environment its own',
    );
    expect(problem(source)).toBeUndefined();
  });

  test('moves a key to another environment at once', async () => {
    const source = await started();
    remove('production/sdk-key');
    put('shop/sdk-key', sdkKey);
    await eventually(() => expect(source.keys('shop')).toEqual([sdkKey]));
    expect(source.keys('production')).toEqual([mobileKey]);
  });

  describe('another place that is put together with another key', () => {
    const places = (source: Watched) =>
      source.delivered
        .flatMap((list) => list.filter(({ id }) => id === 'production'))
        .map(({ sdkKey: key, prefix, tableName }) =>
          `${key === sdkKey ? 'old' : 'new'} ${prefix} ${tableName ?? ''}`.trim(),
        );

    const faults: [string, (one: SsmServer) => void][] = [
      ['is read at once', () => {}],
      ['cannot be decrypted', (one) => one.forbid(`${path}/production/sdk-key`)],
      ['is throttled', (one) => one.before(({ decrypted }) => decrypted && one.throttle(1))],
      ['gets no answer but errors', (one) => one.break(`${path}/production/sdk-key`)],
    ];

    test.each(faults)('waits for the key, which %s @heavy', async (_, fault) => {
      const source = await started();
      fault(server);
      put('production/prefix', 'shop');
      put('production/table-name', 'shop-flags');
      put('production/sdk-key', newKey);
      await readAgain(server, 3);
      server.before(undefined);
      server.heal();
      await eventually(() => expect(places(source).at(-1)).toBe('new shop shop-flags'));
      expect(new Set(places(source))).toEqual(new Set(['old production', 'new shop shop-flags']));
    });

    test.each(faults)('waits for the key, which %s, where the prefix is deleted @heavy', async (_, fault) => {
      put('production/prefix', 'shop');
      const source = await started({ timings: { ...fast, settleMs: 1 } });
      fault(server);
      remove('production/prefix');
      put('production/sdk-key', newKey);
      await readAgain(server, 3);
      server.before(undefined);
      server.heal();
      await eventually(() => expect(places(source).at(-1)).toBe('new production'));
      expect(places(source)).not.toContain('old production');
    });

    test.each([
      ['was deleted', () => remove('production/sdk-key')],
      ['is invalid', () => put('production/sdk-key', 'two words')],
    ])('waits for the key that is put after the former one %s', async (_, spoil) => {
      const source = await started();
      spoil();
      await eventually(() => expect(problem(source)).toBeDefined());
      put('production/prefix', 'shop');
      await readAgain(server, 3);
      put('production/sdk-key', newKey);
      await eventually(() => expect(places(source).at(-1)).toBe('new shop'));
      expect(new Set(places(source))).toEqual(new Set(['old production', 'new shop']));
    });

    test('is taken with a key that stays once a later reading confirms it, since another key may be still to come', async () => {
      const source = await started({ timings: { ...fast, confirmMs: hourMs } });
      put('production/prefix', 'shop');
      await readAgain(server, 3);
      expect(places(source).at(-1)).toBe('old production');
      put('production/sdk-key', newKey);
      await eventually(() => expect(places(source).at(-1)).toBe('new shop'));
      expect(places(source)).not.toContain('old shop');
      put('production/prefix', 'third');
      await readAgain(server, 3);
      expect(places(source).at(-1)).toBe('new shop');
      source.advance(hourMs);
      await eventually(() => expect(places(source).at(-1)).toBe('new third'));
    });

    test('waits for the key while an earlier one is used, since the former was revoked', async () => {
      put('production/previous-sdk-key', newestKey);
      put('production/previous-sdk-key-until', new Date(Date.now() + hourMs).toISOString());
      const source = await started();
      put('production/revoked', fingerprint(sdkKey));
      remove('production/sdk-key');
      await eventually(() => expect(source.environment('production').sdkKey).toBe(newestKey));
      server.forbid(`${path}/production/sdk-key`);
      put('production/sdk-key', newKey);
      put('production/prefix', 'shop');
      await readAgain(server, 3);
      expect(source.environment('production')).toMatchObject({ sdkKey: newestKey, prefix: 'production' });
      server.heal();
      await eventually(() =>
        expect(source.environment('production')).toMatchObject({ sdkKey: newKey, prefix: 'shop' }),
      );
    });

    test('waits for a key that another environment still has', async () => {
      put('staging/sdk-key', newKey);
      put('staging/prefix', 'shop');
      const source = await started();
      put('production/sdk-key', newKey);
      put('production/prefix', 'shop');
      put('production/client-side-id', clientSideId);
      put('staging/prefix', 'elsewhere');
      await eventually(() => expect(source.environment('staging').prefix).toBe('elsewhere'));
      await readAgain(server, 3);
      expect(source.environment('production')).toMatchObject({ sdkKey, prefix: 'production' });
      expect(source.keys('production')).not.toContain(clientSideId);
      put('staging/sdk-key', newestKey);
      await eventually(() =>
        expect(source.environment('production')).toMatchObject({ sdkKey: newKey, prefix: 'shop' }),
      );
      expect(source.keys('production')).toContain(clientSideId);
    });
  });

  test.each([
    ['was deleted', () => remove('production/sdk-key')],
    ['is invalid', () => put('production/sdk-key', 'two words')],
  ])('what comes with a new SDK key opens nothing until that is read, although the former one %s', async (_, spoil) => {
    const source = await started();
    spoil();
    await eventually(() => expect(problem(source)).toBeDefined());
    put('production/sdk-key', newKey);
    put('production/client-side-id', clientSideId);
    await eventually(() => expect(source.keys('production')).toContain(clientSideId));
    const opened = source.delivered.flatMap((list) => list.filter(({ id }) => id === 'production'));
    const early = opened.filter((one) => one.sdkKey === sdkKey);
    expect(early.flatMap((one) => one.credentials.map(({ value }) => value))).not.toContain(clientSideId);
  });

  test('what is put beside an invalid SDK key opens nothing until that is corrected, and no unknown key is called unknown', async () => {
    const source = await started();
    put('production/sdk-key', 'two words');
    put('production/mobile-key', 'mob-new');
    put('production/client-side-id', clientSideId);
    await eventually(() => expect(problem(source)).toMatch(/is invalid/));
    await readAgain(server, 3);
    expect(source.environment('production').sdkKey).toBe(sdkKey);
    for (const value of ['mob-new', clientSideId]) expect(source.keys('production')).not.toContain(value);
    expect(source.unread()).toBe(2);
    put('production/sdk-key', newKey);
    await eventually(() => expect(source.keys('production')).toEqual([newKey, 'mob-new', clientSideId]));
    expect(source.unread()).toBe(0);
  });

  test('a key beside an SDK key that nobody can decrypt for days is not called unknown', async () => {
    server.forbid(`${path}/production/sdk-key`);
    const source = await started();
    expect(source.keys('production')).toEqual([]);
    source.advance(72 * hourMs);
    await readAgain(server, 3);
    expect(source.unread()).toBeGreaterThan(0);
  });

  test('keys that cannot be decrypted count for the grace time, however many there are @heavy', async () => {
    const ids = Array.from({ length: 12 }, (_, number) => `env-${number}`);
    for (const id of ids) {
      put(`${id}/sdk-key`, `sdk-of-${id}`);
      put(`${id}/mobile-key`, `mob-of-${id}`);
    }
    const source = await started();
    server.forbid(...ids.map((id) => `${path}/${id}/sdk-key`));
    for (const id of ids) put(`${id}/sdk-key`, `sdk-new-of-${id}`);
    await eventually(() => {
      for (const id of ids) expect(problem(source, id)).toMatch(/cannot be read/);
    });
    expect(source.keys('env-0')).toContain('sdk-of-env-0');
    source.advance(25 * hourMs);
    await eventually(() => {
      for (const id of ids) expect(source.keys(id)).not.toContain(`sdk-of-${id}`);
    });
  });

  test('an invalid value does not revive a previous key that has expired', async () => {
    put('production/previous-sdk-key', newestKey, { modifiedAt: Date.now() - 48 * hourMs });
    const source = await started();
    expect(source.keys('production')).toEqual([sdkKey, mobileKey]);
    put('production/previous-sdk-key', 'two words');
    await eventually(() => expect(problem(source)).toMatch(/previous-sdk-key is invalid/));
    await readAgain(server, 3);
    expect(source.delivered.flatMap((list) => valuesOf(list, 'production'))).not.toContain(newestKey);
  });

  test.each([
    ['was deleted', () => remove('production/previous-sdk-key')],
    ['is invalid', () => put('production/previous-sdk-key', 'two words')],
  ])('a later expiry does not revive a previous key that %s', async (_, spoil) => {
    put('production/previous-sdk-key', newestKey);
    put('production/previous-sdk-key-until', new Date(Date.now() - hourMs).toISOString());
    const source = await started();
    spoil();
    put('production/previous-sdk-key-until', new Date(Date.now() + hourMs).toISOString());
    await readAgain(server, 4);
    expect(source.delivered.flatMap((list) => valuesOf(list, 'production'))).not.toContain(newestKey);
  });

  test.each([
    ['was revoked', () => put('production/revoked', fingerprint(sdkKey))],
    ['is invalid', () => put('production/sdk-key', 'two words')],
    ['was deleted', () => remove('production/sdk-key')],
  ])(
    'a starting task serves an earlier key, with everything that came with it, if the present one %s, however much there is to read @heavy',
    async (_, spoil) => {
      for (let number = 0; number < 12; number++) {
        put(`env-${number}/sdk-key`, `sdk-${number}`);
        put(`env-${number}/mobile-key`, `mob-${number}`);
        put(`env-${number}/client-side-id`, `5f00000000000000000001${String(number).padStart(2, '0')}`);
      }
      put('production/previous-sdk-key', newestKey);
      put('production/previous-sdk-key-until', new Date(Date.now() + hourMs).toISOString());
      put('production/client-side-id', clientSideId);
      spoil();
      const cache = { keeper: createMemoryKeeper(), secret: 'a-secret-of-the-deployment' };
      for (let start = 0; start < 2; start++) {
        const source = await started({ cache });
        await readAgain(server, 2);
        expect(new Set(source.keys('production'))).toEqual(new Set([newestKey, mobileKey, clientSideId]));
        expect(source.environment('production')).toMatchObject({ sdkKey: newestKey, awaitsKey: true });
        expect(source.unread()).toBe(0);
        await source.close();
      }
    },
  );

  test('a file of flags that is no longer named gives way before what came with the new SDK key opens anything', async () => {
    put('dev/flags-file', '/flags/dev.json');
    put('dev/mobile-key', 'mob-dev');
    const source = await started({ timings: { ...fast, settleMs: hourMs } });
    remove('dev/flags-file');
    put('dev/sdk-key', newKey);
    put('dev/mobile-key', 'mob-new');
    put('dev/prefix', 'shop');
    await readAgain(server, 3);
    expect(source.environment('dev')).toMatchObject({ flagsFile: '/flags/dev.json', prefix: 'dev' });
    for (const value of [newKey, 'mob-new']) expect(source.keys('dev')).not.toContain(value);
    source.advance(1.1 * hourMs);
    await eventually(() => expect(source.environment('dev')).toMatchObject({ sdkKey: newKey, prefix: 'shop' }));
    await eventually(() => expect(source.keys('dev')).toEqual([newKey, 'mob-new']));
    expect(source.environment('dev').flagsFile).toBeUndefined();
  });

  test('a flags file whose parameter is deleted and put again stays in force, and so does everything around it', async () => {
    put('dev/flags-file', '/flags/dev.json');
    put('dev/mobile-key', 'mob-dev');
    const source = await started({ timings: { ...fast, settleMs: hourMs } });
    remove('dev/flags-file');
    await readAgain(server, 3);
    put('dev/flags-file', '/flags/dev.json');
    await readAgain(server, 3);
    put('dev/mobile-key', 'mob-new');
    await eventually(() => expect(source.keys('dev')).toEqual(['mob-new']));
  });

  test('a key that its folder had replaced goes to another one, also if the folder was deleted since', async () => {
    const source = await started({ timings: { ...fast, confirmMs: hourMs } });
    put('production/sdk-key', newKey);
    await eventually(() => expect(source.environment('production').sdkKey).toBe(newKey));
    for (const name of ['sdk-key', 'mobile-key']) remove(`production/${name}`);
    put('shop/sdk-key', sdkKey);
    await eventually(() => expect(source.keys('shop')).toEqual([sdkKey]));
    expect(source.unread()).toBe(0);
  });

  test('a mobile key that another folder got while its own cannot be read is that folder’s, once the former one is deleted', async () => {
    put('blue/sdk-key', newKey);
    put('blue/mobile-key', 'mob-blue');
    const source = await started();
    server.forbid(`${path}/blue/mobile-key`);
    put('blue/mobile-key', 'mob-other');
    put('production/mobile-key', 'mob-blue');
    await eventually(() => expect(problem(source)).toMatch(/has the same value as blue/));
    expect(source.keys('blue')).toContain('mob-blue');
    for (const name of ['sdk-key', 'mobile-key']) remove(`blue/${name}`);
    await eventually(() => expect(source.keys('production')).toEqual([sdkKey, 'mob-blue']));
  });

  test('a client-side ID that is replaced together with the SDK key is the environment’s until that is read', async () => {
    const other = '5f0000000000000000000007';
    put('production/client-side-id', clientSideId);
    const source = await started();
    put('production/client-side-id', other);
    put('production/sdk-key', newKey);
    await eventually(() =>
      expect(source.environment('production')).toMatchObject({ environmentId: other, sdkKey: newKey }),
    );
    const ids = source.delivered.map((list) => list.find(({ id }) => id === 'production')?.environmentId);
    expect(new Set(ids)).toEqual(new Set([clientSideId, other]));
  });

  test('a mobile key that is replaced while the SDK key is missing leaves, though the new one waits', async () => {
    const source = await started();
    remove('production/sdk-key');
    put('production/mobile-key', 'mob-new');
    await eventually(() => expect(source.keys('production')).toEqual([sdkKey]));
    put('production/sdk-key', sdkKey);
    await eventually(() => expect(source.keys('production')).toEqual([sdkKey, 'mob-new']));
  });

  test('a replaced key leaves soon, not only with the next regular reading @heavy', async () => {
    const cache = { keeper: createMemoryKeeper(), secret: 'a-secret-of-the-deployment' };
    await (await started({ cache })).close();
    put('production/sdk-key', newKey);
    const source = await started({ cache, intervalMs: hourMs });
    await eventually(() => expect(source.keys('production')).toEqual([newKey, mobileKey]));
  });

  test('writing a prefix again does not hand its place to another environment', async () => {
    put('aaa/sdk-key', newKey);
    put('bbb/sdk-key', newestKey);
    put('aaa/prefix', 'shop', { modifiedAt: 1_000 });
    put('bbb/prefix', 'shop', { modifiedAt: 2_000 });
    const source = await started();
    put('aaa/prefix', 'shop', { modifiedAt: 3_000 });
    await readAgain(server, 3);
    expect(['aaa', 'bbb'].map((id) => source.environment(id).prefix)).toEqual(['shop', 'bbb']);
  });

  test('a place that waits for a key does not make readings more frequent @heavy', async () => {
    const source = await started({ intervalMs: 60_000, timings: { ...fast, confirmMs: 1 } });
    put('staging/sdk-key', newKey);
    const lists = () => server.calls.filter(({ operation }) => operation === 'GetParametersByPath').length;
    const next = await started({ intervalMs: 60_000, timings: { ...fast, confirmMs: 1 } });
    expect(next.environment('staging').prefix).toBe('staging');
    await source.close();
    await next.close();
    // The key of another environment, which stays there, and another place.
    const waiting = await started({ intervalMs: 100, timings: { ...fast, confirmMs: 1 } });
    put('production/sdk-key', newKey);
    put('production/prefix', 'shop');
    await eventually(() => expect(problem(waiting)).toMatch(/has the same value/));
    const before = lists();
    // As often as one with the same interval that has nothing to wait for.
    await calmReadings({ intervalMs: 100 }, 10);
    expect(lists() - before).toBeLessThan(40);
  });

  test('a task that starts knows what was in force before, and grants nothing that was put beside an invalid key @heavy', async () => {
    const keeper = createMemoryKeeper();
    const cache = { keeper, secret: 'a-secret-of-the-deployment' };
    const first = await started({ cache });
    put('production/sdk-key', 'two words');
    put('production/mobile-key', 'mob-new');
    put('production/prefix', 'shop');
    await eventually(() => expect(problem(first)).toMatch(/is invalid/));
    // The replaced mobile key leaves with the next complete reading.
    await readAgain(server, 4);
    await first.close();
    const next = await started({ cache });
    const all = next.delivered.flatMap((list) => list.filter(({ id }) => id === 'production'));
    expect(new Set(all.map((one) => `${one.sdkKey === sdkKey} ${one.prefix}`))).toEqual(new Set(['true production']));
    expect(all.flatMap((one) => one.credentials.map(({ value }) => value))).not.toContain('mob-new');
    put('production/sdk-key', newKey);
    await eventually(() => expect(next.environment('production')).toMatchObject({ sdkKey: newKey, prefix: 'shop' }));
    await eventually(() => expect(next.keys('production')).toEqual([newKey, 'mob-new']));
  });

  test('a later expiry does not revive an earlier previous key while the one that it is for is being read', async () => {
    put('production/previous-sdk-key', newestKey);
    put('production/previous-sdk-key-until', new Date(Date.now() - hourMs).toISOString());
    const source = await started();
    expect(source.keys('production')).toEqual([sdkKey, mobileKey]);
    put('production/previous-sdk-key-until', new Date(Date.now() + hourMs).toISOString());
    put('production/previous-sdk-key', sdkKey);
    put('production/sdk-key', newKey);
    await eventually(() => expect(source.keys('production')).toEqual([newKey, sdkKey, mobileKey]));
    expect(source.delivered.flatMap((list) => valuesOf(list, 'production'))).not.toContain(newestKey);
  });

  test('gives an environment that would overwrite another in a store its own prefix', async () => {
    const source = await started({ defaults: { tableName: 'flags' } });
    put('aaa/sdk-key', newKey);
    put('aaa/prefix', 'production');
    put('bbb/sdk-key', newestKey);
    put('bbb/prefix', 'production');
    put('bbb/table-name', 'other');
    put('ccc/prefix', 'shop', { modifiedAt: Date.now() + 2_000 });
    put('ddd/prefix', 'shop', { modifiedAt: Date.now() + 1_000 });
    // An environment keeps its own name as prefix, even if another one claimed it earlier.
    put('production/prefix', 'production', { modifiedAt: Date.now() + 3_000 });
    await eventually(() =>
      expect(source.delivered.at(-1)?.map(({ tableName, prefix }) => [tableName, prefix])).toEqual([
        ['flags', 'aaa'],
        ['other', 'production'],
        ['flags', 'ccc'],
        ['flags', 'shop'],
        ['flags', 'production'],
      ]),
    );
    expect(problem(source, 'aaa')).toMatch(/would overwrite production in the store/);
  });

  test.each([
    ['its own', () => put('production/filters', 'web')],
    ["its project's", () => put('production/project-key', 'project')],
  ])('keeps other environments out of the place of a payload filter, %s', async (_, setFilter) => {
    setFilter();
    put('staging/sdk-key', newKey);
    put('staging/prefix', 'production/web');
    const source = await started({ defaults: { filters: { project: ['web'] } } });
    await eventually(() => expect(source.environment('staging')).toMatchObject({ prefix: 'staging' }));
    expect(source.environment('production')).toMatchObject({ prefix: 'production', filters: ['web'] });
    expect(problem(source, 'staging')).toMatch(
      /^staging\/prefix would overwrite production in the store: using the prefix staging instead/,
    );
  });

  test('a filter never moves an environment that asked for its place before, nor its own', async () => {
    put('aaa/sdk-key', newKey);
    put('aaa/prefix', 'shop/web', { modifiedAt: 1_000 });
    put('production/prefix', 'shop', { modifiedAt: 2_000 });
    put('production/filters', 'web');
    const source = await started();
    await eventually(() => expect(source.ids()).toEqual(['aaa', 'production']));
    expect(source.environment('aaa').prefix).toBe('shop/web');
    expect(source.environment('production')).toMatchObject({ prefix: 'shop', filters: [] });
    expect(problem(source)).toBe(
      'the payload filter web of production would overwrite aaa in the store at the prefix shop/web: leaving the filter out; give one of them another prefix',
    );
  });

  test('where Redis or Consul holds environments, too, different tables do not keep them apart', async () => {
    put('staging/sdk-key', newKey);
    put('staging/prefix', 'production');
    put('staging/table-name', 'other');
    const source = await started({ tablesSeparate: false });
    await eventually(() => expect(source.environment('staging').prefix).toBe('staging'));
    expect(problem(source, 'staging')).toMatch(/would overwrite production/);
  });

  test('where a Redis Cluster holds environments, too, a prefix and the same one in braces are one place', async () => {
    put('staging/sdk-key', newKey);
    put('staging/prefix', '{production}');
    const source = await started({
      tablesSeparate: false,
      prefixInStores: (prefix) => prefix.replace(/^\w+$/, '{$&}'),
    });
    await eventually(() => expect(source.environment('staging').prefix).toBe('staging'));
    expect(problem(source, 'staging')).toMatch(/would overwrite production/);
  });

  test('uses the payload filters of the project unless the environment has its own', async () => {
    put('production/project-key', 'shop');
    put('staging/project-key', 'shop');
    put('staging/sdk-key', newKey);
    put('staging/filters', 'web');
    const source = await started({ defaults: { filters: { shop: ['one', 'two'] } } });
    expect(source.environment('production').filters).toEqual(['one', 'two']);
    expect(source.environment('staging').filters).toEqual(['web']);
  });

  test('names an unknown parameter once and ignores it', async () => {
    put('production/sdk_key', 'x');
    put('production/deeper/sdk-key', 'x');
    put('stray', 'x');
    const source = await started();
    await readAgain(server);
    const warnings = source.lines.filter((line) => line.includes('Ignoring unknown SSM parameter'));
    expect(warnings).toHaveLength(3);
    expect(source.ids()).toEqual(['production']);
  });

  test('opens nothing of an environment whose SDK key cannot be decrypted, and everything of the others', async () => {
    put('staging/sdk-key', newKey);
    server.forbid(`${path}/production/sdk-key`);
    const source = await started();
    expect(source.keys('production')).toEqual([]);
    expect(problem(source)).toMatch(/^production\/sdk-key cannot be read: AccessDeniedException: The ciphertext/);
    expect(source.keys('staging')).toEqual([newKey]);
    // The mobile key waits for it.
    expect(source.unread()).toBe(2);
    server.heal();
    await eventually(() => expect(source.keys('production')).toEqual([sdkKey, mobileKey]));
    expect(problem(source)).toBeUndefined();
    expect(source.unread()).toBe(0);
  });

  test('keeps the last value for the grace period if a new one cannot be decrypted @heavy', async () => {
    const source = await started();
    server.forbid(`${path}/production/sdk-key`);
    put('production/sdk-key', newKey);
    await eventually(() => expect(problem(source)).toMatch(/cannot be read/));
    expect(source.status().state).toBe('VALID');
    source.advance(23.9 * hourMs);
    await readAgain(server);
    expect(source.keys('production')).toEqual([sdkKey, mobileKey]);
    source.advance(0.2 * hourMs);
    await eventually(() => expect(source.keys('production')).toEqual([mobileKey]));
  });

  describe.each(
    everyNth(
      3,
      ['aaa', 'zzz'].flatMap((bad) => [
        {
          ...{ bad, why: 'that its KMS key denies', reason: /AccessDeniedException/ },
          fault: (...names: string[]) => server.forbid(...names),
        },
        {
          ...{ bad, why: 'that SSM answers with 500', reason: /InternalServerError/ },
          fault: (...names: string[]) => server.break(...names),
        },
      ]),
    ),
  )('with one environment out of reach', ({ bad, why, fault, reason }) => {
    const faulty = (...names: string[]) => fault(...names.map((name) => `${path}/${bad}/${name}`));

    test(`an environment ${bad} ${why} keeps its keys without end, and every change of the others is applied @heavy`, async () => {
      put(`${bad}/sdk-key`, newKey);
      put(`${bad}/mobile-key`, 'mob-bad');
      put('other/sdk-key', 'sdk-other');
      const source = await started();
      faulty('sdk-key', 'mobile-key');
      put(`${bad}/sdk-key`, newestKey);
      await eventually(() => expect(problem(source, bad)).toMatch(reason));
      revoke('production', fingerprint(mobileKey));
      put('production/secure-mode', 'true');
      put('other/sdk-key', 'sdk-other-new');
      put('shop/sdk-key', 'sdk-shop');
      await eventually(() => expect(source.ids()).toContain('shop'));
      await eventually(() => expect(source.keys('other')).toEqual(['sdk-other-new']));
      expect(source.keys('production')).toEqual([sdkKey]);
      expect(source.environment('production').secureMode).toBe(true);
      source.advance(1_000 * hourMs);
      await readAgain(server);
      expect(source.keys(bad)).toEqual([newKey, 'mob-bad']);
      expect(source.status().state).toBe('VALID');
      expect(source.unread()).toBe(1);
      server.heal();
      await eventually(() => expect(source.keys(bad)).toEqual([newestKey, 'mob-bad']));
      expect(problem(source, bad)).toBeUndefined();
    });

    test(`a relay that starts serves everyone but the environment ${bad} ${why}, and calls no credential unknown @heavy`, async () => {
      put(`${bad}/sdk-key`, newKey);
      put('shop/sdk-key', 'sdk-shop');
      faulty('sdk-key');
      const source = await started();
      expect(source.keys('production')).toEqual([sdkKey, mobileKey]);
      expect(source.keys('shop')).toEqual(['sdk-shop']);
      expect(source.keys(bad)).toEqual([]);
      expect(problem(source, bad)).toMatch(reason);
      source.advance(1_000 * hourMs);
      await readAgain(server);
      expect(source.unread()).toBe(1);
      server.heal();
      await eventually(() => expect(source.keys(bad)).toEqual([newKey]));
      expect(source.unread()).toBe(0);
    });
  });

  test('more broken parameters than a request holds do not hold up the others, whatever their names @heavy', async () => {
    const broken = Array.from({ length: 23 }, (_, number) => `aaa-${number}/sdk-key`);
    for (const name of broken) put(name, `sdk-${name}`);
    put('shop/sdk-key', 'sdk-shop');
    server.break(...broken.map((name) => `${path}/${name}`));
    const source = await started();
    await eventually(() => expect(source.keys('shop')).toEqual(['sdk-shop']));
    expect(source.keys('production')).toEqual([sdkKey, mobileKey]);
  });

  test.each([
    ['hang', (one: SsmServer) => one.hang('GetParameters')],
    ['are denied', (one: SsmServer) => one.deny('GetParameters')],
    ['are throttled', (one: SsmServer) => one.before(({ decrypted }) => decrypted && one.throttle(1))],
  ])('revokes a key and turns secure mode on while requests to decrypt %s', async (_, fault) => {
    const source = await started();
    fault(server);
    put('production/sdk-key', newKey);
    revoke('production', fingerprint(mobileKey));
    put('production/secure-mode', 'true');
    await eventually(() => expect(source.keys('production')).toEqual([sdkKey]));
    expect(source.environment('production').secureMode).toBe(true);
  });

  test('the grace period of a key begins when others of its environment can be decrypted again @heavy', async () => {
    const source = await started();
    server.forbid(`${path}/production/sdk-key`, `${path}/production/mobile-key`);
    put('production/sdk-key', newKey);
    await eventually(() => expect(problem(source)).toMatch(/cannot be read/));
    source.advance(1_000 * hourMs);
    await readAgain(server);
    server.heal();
    server.forbid(`${path}/production/sdk-key`);
    await readAgain(server);
    expect(source.keys('production')).toEqual([sdkKey, mobileKey]);
    source.advance(24.1 * hourMs);
    await eventually(() => expect(source.keys('production')).toEqual([mobileKey]));
  });

  test('a credential that appears while the SDK key cannot be read opens nothing until it is @heavy', async () => {
    const source = await started();
    server.forbid(`${path}/production/sdk-key`);
    put('production/sdk-key', newKey);
    put('production/client-side-id', clientSideId);
    put('production/mobile-key', 'mob-new');
    await eventually(() => expect(problem(source)).toMatch(/cannot be read/));
    await readAgain(server, 4);
    expect(source.keys('production')).toEqual([sdkKey]);
    expect(source.environment('production').environmentId).toBeUndefined();
    server.heal();
    await eventually(() => expect(source.keys('production')).toEqual([newKey, 'mob-new', clientSideId]));
  });

  test.each([
    ['the permission to list is withdrawn', (one: SsmServer) => one.deny('GetParametersByPath'), /AccessDenied/],
    ['the permission to read is withdrawn', (one: SsmServer) => one.deny('GetParameters'), /AccessDenied/],
    ['SSM answers with errors', (one: SsmServer) => one.break(), /InternalServerError/],
    ['SSM is down', (one: SsmServer) => one.down(), /ECONN|socket hang up|ECONNRESET/],
    ['SSM hangs', (one: SsmServer) => one.hang(), /no answer from SSM within 300 ms/],
    ['SSM throttles', (one: SsmServer) => one.throttle(1_000_000), /ThrottlingException/],
  ])('keeps its last state while %s, and recovers afterwards', async (_, fault, message) => {
    const requestTimeoutMs = message.source.includes('300 ms') ? 300 : fast.requestTimeoutMs;
    const source = await started({ timings: { ...fast, requestTimeoutMs } });
    // A change, or the missing permission to read would not show.
    put('production/sdk-key', newKey);
    put('production/mobile-key', 'mob-new');
    fault(server);
    await eventually(() => expect(source.status()).toMatchObject({ state: 'INTERRUPTED' }));
    expect(source.status().lastError?.message).toMatch(message);
    source.advance(1_000 * hourMs);
    const failedAt = () => source.status().lastError?.time ?? 0;
    const before = failedAt();
    await eventually(() => expect(failedAt()).toBeGreaterThan(before));
    expect(new Set(source.delivered.map((list) => valuesOf(list, 'production').join()))).toEqual(
      new Set([`${sdkKey},${mobileKey}`]),
    );
    server.heal();
    await eventually(() => expect(source.environment('production').sdkKey).toBe(newKey));
    expect(source.status()).toMatchObject({ state: 'VALID', lastError: { message: expect.stringMatching(message) } });
  });

  test.each([
    ['is down', (one: SsmServer) => one.down()],
    ['hangs', (one: SsmServer) => one.hang()],
    ['denies access', (one: SsmServer) => one.deny()],
    ['throttles', (one: SsmServer) => one.throttle(1_000_000)],
    ['decrypts nothing', (one: SsmServer) => one.deny('GetParameters')],
  ])('reports no credential unknown if SSM %s at startup, and serves once it is back', async (_, fault) => {
    fault(server);
    const source = watch(server.endpoint, { timings: { ...fast, requestTimeoutMs: roomy(300) } });
    await eventually(() => expect(source.status().lastError).toBeDefined());
    expect(source.status().state).toBe('INITIALIZING');
    expect(source.delivered).toEqual([]);
    server.heal();
    await eventually(() => expect(source.keys('production')).toEqual([sdkKey, mobileKey]));
  });

  test('retries a throttled or failed request within the same read', async () => {
    server.throttle(2);
    const source = watch(server.endpoint, { intervalMs: 60_000 });
    await eventually(() => expect(source.ids()).toEqual(['production']));
    expect(source.status()).toEqual({ kind: 'ssm', state: 'VALID', stateSince: expect.any(Number) });
  });

  test('creates its own client for the region and endpoint, and closes it', async () => {
    const before = { ...process.env };
    Object.assign(process.env, { AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'test' });
    try {
      const delivered: string[] = [];
      const source = startSsmSource({
        ...{ path, region, endpoint: server.endpoint, graceMs: DAY_MS, log: silentLog },
        sink: { replace: (environments) => void delivered.push(...environments.map(({ sdkKey: key }) => key ?? '')) },
      });
      await eventually(() => expect(delivered).toEqual([sdkKey]));
      await source.close();
    } finally {
      process.env = before;
    }
  });

  test('waits for slow pages @heavy', async () => {
    for (let number = 0; number < 25; number++) put(`many-${number}/sdk-key`, `sdk-many-${number}`);
    server.slow(30);
    const source = await started();
    expect(source.ids()).toHaveLength(26);
  });

  test('delivers an empty list for an empty folder', async () => {
    const source = watch(server.endpoint, { path: '/elsewhere' });
    await eventually(() => expect(source.delivered).toEqual([[]]));
    expect(source.status().state).toBe('VALID');
  });

  test('does not deliver the same state again', async () => {
    const source = await started();
    await readAgain(server, 4);
    expect(source.delivered).toHaveLength(1);
  });

  test('has metrics for the outcome of reads and for environments with problems', async () => {
    const measures = createMeasures();
    const source = await started({ measures });
    remove('production/mobile-key');
    await eventually(() => expect(problem(source)).toBeDefined());
    const text = await measures.registry.metrics();
    expect(text).toMatch(/^launchdarkly_relay_key_source_reads_total\{outcome="complete"\} [1-9]/m);
    expect(text).toContain('launchdarkly_relay_key_source_key_problems{env="production"} 1');
    expect(text).toMatch(/^launchdarkly_relay_key_source_complete_timestamp_seconds 1\d{9}/m);
    expect(text).toContain('launchdarkly_relay_key_source_unread_keys 0');
    for (const secret of secrets) expect(text).not.toContain(secret);
    put('production/mobile-key', mobileKey);
    await eventually(async () =>
      expect(await measures.registry.metrics()).not.toContain('launchdarkly_relay_key_source_key_problems{'),
    );
  });

  test('aborts a request when closed and sends no more', async () => {
    const source = await started();
    server.hang();
    const asked = server.calls.length;
    await eventually(() => expect(server.calls.length).toBeGreaterThan(asked));
    await source.close();
    const after = server.calls.length;
    server.heal();
    await calmReadings({}, 5);
    expect(server.calls).toHaveLength(after);
  });
});
