import { obscureKey } from '../../../relay-task/common/secrets.ts';
import { resultOf } from '../../../relay-task/common/slices.ts';
import type { StoreStatus, UpstreamStatus } from '../../../relay-task/ports.ts';
import {
  createHealth,
  type EnvironmentHealth,
  type HealthOptions,
  type RelayHealth,
  type RelayStatus,
} from '../../../relay-task/status/health.ts';

const T = 1_760_000_000_000;
const sdkKey = 'sdk-00000000-1111-2222-3333-444455556666';
const upstream = (more: Partial<UpstreamStatus> = {}): UpstreamStatus => ({
  state: 'VALID',
  stateSince: T,
  stateNow: 0,
  refused: false,
  current: true,
  checkedAt: T,
  checkedNow: 0,
  ...more,
});
const environment = (more: Partial<EnvironmentHealth> = {}): EnvironmentHealth => ({
  name: 'production',
  sdkKey,
  credentials: [{ kind: 'sdkKey', value: sdkKey }],
  createdAt: T,
  createdNow: 0,
  initialized: true,
  upstream: upstream(),
  stores: [],
  unreadable: [],
  refusedPatterns: [],
  failedItems: [],
  ...more,
});
const empty = { initialized: false, upstream: upstream({ state: 'INITIALIZING', current: false, checkedAt: 0 }) };

function start(environments: EnvironmentHealth[], more: Partial<HealthOptions> = {}) {
  const state = { now: T + 1_000, keysKnown: true, environments };
  const health = createHealth({
    version: '1.2.3',
    environments: () => state.environments,
    keysKnown: () => state.keysKnown,
    initTimeoutMs: 10_000,
    disconnectedStatusTimeMs: 60_000,
    readyRequires: 'any',
    now: () => state.now,
    monotonic: () => state.now - T,
    ...more,
  });
  health.setListening();
  return { health, state };
}

const statusOf = (health: RelayHealth): RelayStatus => JSON.parse([...health.status()].join(''));
const environmentStatusOf = (health: RelayHealth, identifier: string) => resultOf(health.environmentStatus(identifier));

describe('readiness', () => {
  test('needs a listening server, the list of environments, and data', () => {
    const state = { known: false };
    const health = createHealth({
      version: '1',
      environments: () => [environment()],
      keysKnown: () => state.known,
      initTimeoutMs: 1,
      disconnectedStatusTimeMs: 1,
      readyRequires: 'any',
    });
    expect(health.readiness()).toEqual({ ready: false, waitingFor: ['the server to listen'] });
    health.setListening();
    expect(health.readiness()).toEqual({ ready: false, waitingFor: ['the list of environments'] });
    state.known = true;
    expect(health.readiness()).toEqual({ ready: true, waitingFor: [] });
  });

  test.each([
    [
      'is false while an environment waits for its first data',
      [environment(), environment({ name: 'b', ...empty })],
      false,
    ],
    [
      'is true once the only environment without data is past INIT_TIMEOUT',
      [environment(), environment({ name: 'b', ...empty, createdNow: -60_000 })],
      true,
    ],
    [
      'is true if the only environment without data was rejected upstream',
      [environment(), environment({ name: 'b', initialized: false, upstream: upstream({ refused: true }) })],
      true,
    ],
    [
      'is true if the only environment without data has no key',
      [environment(), environment({ name: 'b', initialized: false, upstream: undefined })],
      true,
    ],
    [
      'is false if all environments are past INIT_TIMEOUT without data',
      [environment({ ...empty, createdNow: -60_000 })],
      false,
    ],
    ['is true without any environment', [], true],
    [
      'is true if upstream is interrupted but there is data',
      [environment({ upstream: upstream({ state: 'INTERRUPTED' }) })],
      true,
    ],
  ])('%s', (_title, environments, ready) => {
    expect(start(environments).health.readiness().ready).toBe(ready);
  });

  test('with READY_REQUIRES=all needs data for every environment', () => {
    const environments = [environment(), environment({ name: 'b', ...empty, createdNow: -60_000 })];
    const { health, state } = start(environments, { readyRequires: 'all' });
    expect(health.readiness()).toEqual({ ready: false, waitingFor: ['data for environment "b"'] });
    state.environments = [environment()];
    expect(health.readiness().ready).toBe(true);
  });

  test('stays true once reached, whatever happens, until draining', () => {
    const { health, state } = start([environment()]);
    expect(health.readiness().ready).toBe(true);
    state.environments = [environment(empty)];
    state.keysKnown = false;
    expect(health.readiness().ready).toBe(true);
    health.setDraining();
    expect(health.readiness().ready).toBe(false);
  });
});

describe('/status', () => {
  const store: StoreStatus = {
    state: 'VALID',
    stateSince: T,
    database: 'dynamodb',
    dbServer: 'https://user:secret@db.example',
    dbPrefix: 'prod',
    dbTable: 'flags',
    writer: true,
    oversized: ['huge'],
  };

  test("has ld-relay's fields", () => {
    const { health } = start([
      environment({
        credentials: [
          { kind: 'sdkKey', value: sdkKey },
          { kind: 'mobileKey', value: 'mob-00000000-1111-2222-3333-444455556666' },
        ],
        environmentId: '64a0c0ffee',
        stores: [store],
        upstream: upstream({
          lastError: { kind: 'NETWORK_ERROR', time: T, message: 'connect ECONNREFUSED' },
          delay: { since: T, message: 'it waits' },
        }),
        unreadable: [{ kind: 'features', key: 'bad', reason: 'not JSON' }],
        refusedPatterns: [{ kind: 'features', key: 'worse', pattern: '(' }],
        failedItems: [{ kind: 'features', key: 'deep', reason: 'RangeError' }],
      }),
    ]);
    expect(statusOf(health)).toEqual({
      environments: {
        production: {
          sdkKey: 'sdk-********-****-****-****-*******56666',
          mobileKey: 'mob-********-****-****-****-*******56666',
          envId: '64a0c0ffee',
          status: 'connected',
          connectionStatus: {
            state: 'VALID',
            stateSince: T,
            lastError: { kind: 'NETWORK_ERROR', time: T, message: 'connect ECONNREFUSED' },
            delay: { since: T, message: 'it waits' },
          },
          dataStoreStatus: {
            state: 'VALID',
            stateSince: T,
            database: 'dynamodb',
            dbServer: 'https://user:xxxxx@db.example',
            dbPrefix: 'prod',
            dbTable: 'flags',
          },
          initialized: true,
          checkedAt: T,
          streams: 0,
          stores: [{ ...store, dbServer: 'https://user:xxxxx@db.example' }],
          unreadable: [{ kind: 'features', key: 'bad', reason: 'not JSON' }],
          refusedPatterns: [{ kind: 'features', key: 'worse', pattern: '(' }],
          failedItems: [{ kind: 'features', key: 'deep', reason: 'RangeError' }],
        },
      },
      status: 'degraded',
      reasons: ['oversized-items', 'unreadable-items', 'failed-items'].map((what) => expect.objectContaining({ what })),
      version: '1.2.3',
      clientVersion: '1.2.3',
      ready: true,
    });
  });

  test('says why something failed, without the secrets in the message', () => {
    const message = `cannot use ${sdkKey} at https://me:pass@proxy/?auth=api-00000000-1111`;
    const said = 'cannot use sdk-… at https://…@proxy/?auth=api-…';
    const { health } = start(
      [
        environment({
          upstream: upstream({ lastError: { kind: 'ERROR_RESPONSE', time: T, statusCode: 401, message } }),
          stores: [{ ...store, lastError: { time: T, message } }],
          keyProblem: { since: T, message },
          unreadable: [{ kind: 'features', key: 'bad', reason: message }],
        }),
      ],
      { source: () => ({ kind: 'ssm', state: 'INTERRUPTED', stateSince: T, lastError: { time: T, message } }) },
    );
    expect(statusOf(health)).toMatchObject({
      environments: {
        production: {
          connectionStatus: { lastError: { kind: 'ERROR_RESPONSE', time: T, statusCode: 401, message: said } },
          stores: [{ lastError: { time: T, message: said } }],
          keyProblem: { since: T, message: said },
          unreadable: [{ reason: said }],
        },
      },
      keySource: { lastError: { time: T, message: said } },
    });
    expect(JSON.stringify(statusOf(health))).not.toMatch(/:pass|0000-/);
  });

  test('lists a hundred invalid items of an environment, and the beginning of what is said about them', () => {
    const long = 'x'.repeat(100_000);
    const unreadable = Array.from({ length: 1_000 }, (_, at) => ({
      kind: 'features' as const,
      key: `${at}${long}`,
      reason: long,
    }));
    const { health } = start([environment({ unreadable })]);
    expect(statusOf(health).environments.production?.unreadable).toHaveLength(100);
    expect(statusOf(health).environments.production).toMatchObject({ moreUnreadable: 900 });
    expect(JSON.stringify(statusOf(health)).length).toBeLessThan(250_000);
  });

  test('looks up each environment when its part is read, in the whole and in the search for one', () => {
    let lookedUp = 0;
    const health = createHealth({
      version: '1',
      *environments() {
        for (; lookedUp < 1_000; lookedUp++) yield environment({ name: `e${lookedUp}` });
      },
      keysKnown: () => true,
      initTimeoutMs: 1,
      disconnectedStatusTimeMs: 1,
      readyRequires: 'any',
    });
    const whole = health.status();
    for (let part = 0; part < 10; part++) expect([whole.next().done, lookedUp]).toEqual([false, part]);
    lookedUp = 0;
    const one = health.environmentStatus('e900');
    for (let step = 0; step < 10; step++) expect([one.next().done, lookedUp]).toEqual([false, step]);
    expect(resultOf(one)).toMatchObject({ status: 'connected' });
    expect(lookedUp).toBe(900);
  });

  test('without environments is JSON, too', () => {
    expect(statusOf(start([]).health)).toMatchObject({ environments: {}, status: 'healthy' });
  });

  test('counts lost log lines once there is one', () => {
    let lost = 0;
    const { health } = start([environment()], { logLinesLost: () => lost });
    expect(statusOf(health)).not.toHaveProperty('logLinesLost');
    lost = 3;
    expect(statusOf(health).logLinesLost).toBe(3);
  });

  test('reports an environment as disconnected after DISCONNECTED_STATUS_TIME', () => {
    const { health, state } = start([environment({ upstream: upstream({ state: 'INTERRUPTED', stateSince: T }) })]);
    state.now = T + 59_999;
    expect(statusOf(health).status).toBe('healthy');
    state.now = T + 60_000;
    expect(statusOf(health)).toMatchObject({
      status: 'degraded',
      environments: { production: { status: 'disconnected' } },
    });
  });

  test.each([1, -1])(
    'a step of the clock by %i h makes no outage longer or shorter, and a wait for data neither',
    (hours) => {
      const times = { wall: T, monotonic: 59_999 };
      const waiting = environment({ name: 'b', ...empty });
      const { health } = start(
        [environment({ upstream: upstream({ state: 'INTERRUPTED', current: false }) }), waiting],
        { now: () => times.wall, monotonic: () => times.monotonic, initTimeoutMs: 60_000 },
      );
      times.wall += hours * 3_600_000;
      expect(statusOf(health).environments.production).toMatchObject({ status: 'connected' });
      expect(health.readiness().ready).toBe(false);
      times.monotonic += 1;
      expect(statusOf(health).environments.production).toMatchObject({ status: 'disconnected' });
      expect(statusOf(health).reasons[0]).toMatchObject({
        what: 'disconnected',
        since: T,
        message: expect.stringContaining('1 min'),
      });
      expect(health.readiness().ready).toBe(true);
    },
  );

  test('reports an environment with data from a store as disconnected at once, until it was connected for the first time', () => {
    const { health, state } = start([environment({ upstream: upstream({ state: 'INITIALIZING', stateSince: T }) })]);
    const disconnected = { status: 'degraded', environments: { production: { status: 'disconnected' } } };
    expect(statusOf(health)).toMatchObject(disconnected);
    state.environments = [environment({ upstream: upstream({ state: 'VALID' }) })];
    expect(statusOf(health)).toMatchObject({
      status: 'healthy',
      environments: { production: { status: 'connected' } },
    });
    state.environments = [environment({ upstream: upstream({ state: 'INTERRUPTED', stateSince: T }) })];
    expect(statusOf(health)).toMatchObject({ status: 'healthy' });
  });

  test('reports an environment without data or key as disconnected and initializing since its creation', () => {
    const { health } = start([environment({ initialized: false, upstream: undefined })]);
    expect(statusOf(health)).toMatchObject({
      status: 'degraded',
      environments: {
        production: {
          status: 'disconnected',
          connectionStatus: { state: 'INITIALIZING', stateSince: T },
          dataStoreStatus: { state: 'INITIALIZING', stateSince: 0 },
        },
      },
    });
  });

  test('finds one environment by name, client-side ID, or project and environment key', () => {
    const labels = { envKey: 'prod', envName: 'Production', projKey: 'web', projName: 'Web' };
    const { health } = start([environment({ name: 'a/b', environmentId: '64a0', labels })]);
    for (const identifier of ['a/b', '64a0', 'web/prod']) {
      expect(environmentStatusOf(health, identifier)).toMatchObject({ ...labels, envId: '64a0' });
    }
    expect(environmentStatusOf(health, 'a')).toBeUndefined();
  });
});

// The first has LaunchDarkly's documented format; ld-relay shows more of the others.
test.each([
  ['sdk-00000000-1111-2222-3333-444455556666', 'sdk-********-****-****-****-*******56666'],
  ['mob-abcdefgh-1111-2222-3333-444455556666', 'mob-********-****-****-****-*******56666'],
  ['rel-0011aabb-zz', 'rel-********-**'],
  ['sdk-xyz12345', 'sdk-********'],
  ['abcde', '*****'],
  ['', ''],
])('the key %s is shown as %s', (key, shown) => {
  expect(obscureKey(key)).toBe(shown);
});

describe('/status with rotating keys', () => {
  const old = 'sdk-99999999-1111-2222-3333-444455551111';

  test('shows the expiring key as ld-relay does, and every key with its expiry', () => {
    const { health } = start([
      environment({
        credentials: [
          { kind: 'sdkKey', value: sdkKey },
          { kind: 'sdkKey', value: old, expiresAt: T + 60_000 },
        ],
      }),
    ]);
    expect(environmentStatusOf(health, 'production')).toMatchObject({
      sdkKey: 'sdk-********-****-****-****-*******56666',
      expiringSdkKey: 'sdk-********-****-****-****-*******51111',
      sdkKeys: [
        { value: 'sdk-********-****-****-****-*******56666' },
        { value: 'sdk-********-****-****-****-*******51111', expiry: T + 60_000 },
      ],
    });
  });

  test('reports problems with keys and with their source', () => {
    const keyProblem = { since: T, message: 'the parameter sdk-key is missing' };
    const source = { kind: 'ssm', state: 'INTERRUPTED', stateSince: T } as const;
    const { health } = start([environment({ keyProblem })], { source: () => source });
    expect(statusOf(health)).toMatchObject({
      keySource: { kind: 'ssm', state: 'INTERRUPTED' },
      environments: { production: { keyProblem } },
      status: 'degraded',
      reasons: [{ what: 'key-source-down' }, { environment: 'production', what: 'keys-unconfirmed' }],
    });
  });
});

test('stale Big Segments are shown in /status, and degrade the relay only if configured to', () => {
  const bigSegments = { available: true, potentiallyStale: true, lastSynchronizedOn: T - 600_000 };
  const environments = [environment({ bigSegments })];
  expect(statusOf(start(environments).health)).toMatchObject({
    status: 'healthy',
    environments: { production: { bigSegmentStatus: bigSegments } },
  });
  const degrading = { bigSegmentsStaleAsDegraded: true };
  expect(statusOf(start(environments, degrading).health).status).toBe('degraded');
  const away = environment({ bigSegments: { available: false, potentiallyStale: false, lastSynchronizedOn: T } });
  expect(statusOf(start([away], degrading).health).status).toBe('degraded');
});

test('events that do not get away are shown in /status with their runbook, without secrets, and degrade nothing', () => {
  const lastError = { kind: 'ERROR_RESPONSE', time: T, message: `refused ${sdkKey}`, statusCode: 401 } as const;
  const events = { state: 'INTERRUPTED', stateSince: T, lastError, pending: 3 } as const;
  const spool = { stateSince: T, lastError: { time: T, message: 'ENOSPC' }, bytes: 1, maxBytes: 2 };
  const { health } = start(
    [
      environment({ events }),
      environment({ name: 'b', events: { ...events, state: 'VALID' } }),
      environment({ name: 'c' }),
    ],
    { eventSpool: () => ({ ...spool, state: 'INTERRUPTED' }) },
  );
  const shown = { ...events, lastError: { ...lastError, message: 'refused sdk-…' } };
  const { environments, eventSpool, ...rest } = statusOf(health);
  expect(rest).toMatchObject({ status: 'healthy', reasons: [] });
  expect(environments.production?.eventStatus).toEqual({ ...shown, runbook: 'operations.md#events-dropped' });
  expect(environments.b?.eventStatus).toEqual({ ...shown, state: 'VALID' });
  expect(environments.c).not.toHaveProperty('eventStatus');
  expect(eventSpool).toEqual({ ...spool, state: 'INTERRUPTED', runbook: 'operations.md#event-spool' });
  const recovered = start([], { eventSpool: () => ({ ...spool, state: 'VALID' }) });
  expect(statusOf(recovered.health).eventSpool).toEqual({ ...spool, state: 'VALID' });
  expect(statusOf(start([]).health)).not.toHaveProperty('eventSpool');
});
