/**
 * A relay that gets its flags by FDv2 beside LaunchDarkly's Node SDK on the same upstream: random changes and faults, and after
 * them both have the same flags, those of the upstream. `SEED=<n>` runs one script, `LONG=1` more, with faults after which the
 * SDK polls every 30 s.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { init, type LDClient } from '@launchdarkly/node-server-sdk';
import { seedsInGroups } from '../relay-task/store/random-relays.ts';
import { seededRandom } from '../relay-task/store/seeded-random.ts';
import { eventually } from '../support/eventually.ts';
import { type FakeFDv2, intent, startFakeFDv2 } from '../support/fake-fdv2.ts';
import { flagData, segmentData } from '../support/items.ts';
import { silentLog } from '../support/logs.ts';
import { startTestRelay, type TestRelay } from '../support/start-relay.ts';

const sdkKey = 'sdk-fdv2-upstream';
const user = { kind: 'user', key: 'u' };
const keys = ['a', 'b', 'c', 'd', 'e'];
const quick = { firstMs: 20, maxMs: 200 };
const asksForFDv1 = { 'X-LD-FD-Fallback': 'true' };

/** A flag whose value is its version, and which needs a segment that everyone is in. */
function flagOf(key: string, version: number) {
  return flagData(key, version, {
    rules: [
      { id: 'r', variation: 0, clauses: [{ op: 'segmentMatch', attribute: '', values: ['all'], negate: false }] },
    ],
    fallthrough: { variation: 1 },
    variations: [`${key}:${version}`, 'nobody'],
  });
}

/** What happens to the upstream, and whether the SDK's stream outlives it. */
type Fault = (fake: FakeFDv2) => unknown;

const faults: Readonly<Record<string, Fault>> = {
  cut: ({ upstream }) => upstream.cut(),
  end: ({ upstream }) => upstream.end(),
  forget: (fake) => {
    fake.forget();
    fake.upstream.cut();
  },
  unavailable(fake) {
    fake.trouble = () => ({ status: 503 });
    fake.upstream.cut();
  },
  refused(fake) {
    fake.trouble = () => 'cut';
    fake.upstream.cut();
  },
  error: (fake) => fake.send({ event: 'error', data: { payload_id: 'p', reason: 'test' } }),
  heartBeat: (fake) => fake.send({ event: 'heart-beat', data: {} }),
  unknown: (fake) => fake.send({ event: 'surprise', data: { some: 'thing' } }),
  unfinished: (fake) =>
    fake.send(
      { event: 'put-object', data: { kind: 'flag', key: 'a', version: 1, object: flagOf('a', 1) } },
      intent('xfer-changes'),
    ),
};

/** After these the SDK goes to polling, or to FDv1. */
const slowFaults: Readonly<Record<string, Fault>> = {
  garbage: ({ upstream }) => upstream.send('event: put-object\ndata: {"kind":\n\n'),
  notFound(fake) {
    fake.trouble = ({ url }) => (url.startsWith('/sdk/stream') ? { status: 404 } : undefined);
    fake.upstream.cut();
  },
  fallback(fake) {
    fake.headersFor = ({ url }) => (url.startsWith('/sdk/stream') || url.startsWith('/sdk/poll') ? asksForFDv1 : {});
    fake.upstream.cut();
  },
};

interface Script {
  readonly fake: FakeFDv2;
  readonly client: LDClient;
  readonly relay: TestRelay;
  readonly versions: Map<string, number>;
  readonly done: string[];
}

const wantedOf = ({ versions }: Script) =>
  Object.fromEntries([...versions].flatMap(([key, version]) => (version > 0 ? [[key, `${key}:${version}`]] : [])));

/** Everyone has the flags of the upstream. */
async function expectEqual(script: Script): Promise<void> {
  const { client, relay, done } = script;
  await eventually(async () => {
    const wanted = wantedOf(script);
    const state = await client.allFlagsState(user);
    const response = await fetch(
      `${relay.uri}/sdk/evalx/contexts/${Buffer.from(JSON.stringify(user)).toString('base64url')}`,
      {
        headers: { authorization: sdkKey },
      },
    );
    const evaluated = (await response.json()) as Record<string, { value: unknown }>;
    const served = Object.fromEntries(Object.entries(evaluated).map(([key, { value }]) => [key, value]));
    expect({ done, sdk: state.allValues(), relay: served }).toEqual({ done, sdk: wanted, relay: wanted });
  }, 120_000);
}

async function runScript(seed: number): Promise<void> {
  const random = seededRandom(seed);
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!;
  const fake = await startFakeFDv2(flagOf('a', 1), flagOf('b', 1));
  fake.setQuietly(
    'segment',
    segmentData('all', 1, {
      rules: [{ id: 'r', clauses: [{ op: 'matches', attribute: 'key', values: ['.'], negate: false }] }],
    }),
  );
  const mode = pick(['fdv2', 'fdv2', 'fdv2-streaming', 'fdv2-polling']);
  const relay = await startTestRelay(
    {
      ...{ LD_ENV_test: sdkKey, STREAM_URI: fake.uri, BASE_URI: fake.uri },
      ...{ UPSTREAM_PROTOCOL: mode, POLL_INTERVAL: '1s' },
    },
    { timings: { upstream: { backoff: quick, refusedBackoff: quick, fallbackMs: 1_000, recoveryMs: 1_000 } } },
  );
  const client = init(sdkKey, {
    ...{ streamUri: fake.uri, baseUri: fake.uri, sendEvents: false, logger: silentLog },
    dataSystem: {
      dataSource: { dataSourceOptionsType: 'standard', streamInitialReconnectDelay: 0.02, pollInterval: 30 },
    },
  });
  const script: Script = {
    fake,
    client,
    relay,
    versions: new Map([
      ['a', 1],
      ['b', 1],
    ]),
    done: [`${seed}`, mode],
  };
  const { versions, done } = script;
  const all = process.env.LONG || process.env.SEED ? { ...faults, ...slowFaults } : faults;
  try {
    await client.waitForInitialization({ timeout: 60 });
    await expectEqual(script);
    for (let step = 0; step < 12; step++) {
      if (random() < 0.6) {
        const key = pick(keys);
        const version = Math.abs(versions.get(key) ?? 0) + 1;
        const isGone = random() < 0.25;
        versions.set(key, isGone ? -version : version);
        done.push(`${key}:${isGone ? -version : version}`);
        await (isGone ? fake.remove('flag', key, version) : fake.set('flag', flagOf(key, version)));
      } else {
        const name = pick(Object.keys(all));
        done.push(name);
        await all[name]!(fake);
      }
      if (random() < 0.5) await delay(random() * 200);
      if (random() < 0.3) {
        done.push('heal');
        fake.trouble = () => undefined;
      }
    }
    fake.trouble = () => undefined;
    await expectEqual(script);
  } finally {
    client.close();
    await relay.close();
    await fake.close();
  }
}

test.each(seedsInGroups({ ordinary: 8, long: 60, atOnce: 8 }).map((group) => [group.join(', '), group] as const))(
  'in the scripts %s the relay has the flags that the Node SDK has',
  async (_, group) => {
    await Promise.all(group.map(runScript));
  },
);
