import { parseContext } from '../../../lib/evaluation/index.ts';
import type { Item } from '../../../lib/flag-table/index.ts';
import type { ClientView, CredentialKind } from '../../../relay-task/ports.ts';
import { turnsOfLoop, until } from '../../support/eventually.ts';
import { flag, segment, tombstone } from '../../support/items.ts';
import { RandomChoices, randomFrom } from '../../support/random.ts';
import type { StreamReader } from '../../support/read-stream.ts';
import { type ClientHub, evalx, startClientHub } from './start-client-hub.ts';

/**
 * Random schedules about one flag whose versions rise and fall, so that no other flag causes the whole set that would
 * repair what a client got wrong.
 *
 * The clients are models of LaunchDarkly's SDKs: a `put` replaces everything, a `patch` or `delete` applies only if its
 * version is above the one that is held, a deletion's included (launchdarkly-js-sdk-common 5.8, `patch` and `delete` of its
 * stream; @launchdarkly/js-client-sdk-common 1.32, `FlagUpdater.upsert`).
 */
interface Answer {
  readonly version: number;
  readonly value?: unknown;
}

function heldBy({ events }: StreamReader): Map<string, Answer> {
  let held = new Map<string, Answer>();
  for (const { event, data } of events) {
    const { key, ...answer } = JSON.parse(data);
    if (event === 'put') held = new Map(Object.entries(JSON.parse(data)));
    else if ((held.get(key)?.version ?? -1) < answer.version) held.set(key, answer);
  }
  return held;
}
/** Values without versions, since a higher version with the same answer need not be sent. */
const valuesOf = (answers: Iterable<[string, Answer]>) =>
  JSON.stringify([...answers].flatMap(([key, { value }]) => (value === undefined ? [] : [[key, value]])).sort());

const AUDIENCES = ['environmentId', 'mobileKey'] as const;

interface Reader {
  readonly audience: CredentialKind;
  readonly key: string;
  readonly stream: StreamReader;
}

class Schedule extends RandomChoices {
  private salt = 0;
  readonly number = (from: number, to: number) => this.whole(from, to);
  readonly share = (share: number) => this.chance(share);
  readonly one = <T>(choices: readonly T[]) => this.pick(choices);

  /** The flag, visible to both audiences, to one or to none; or its deletion. */
  x(version: number): Item {
    if (this.chance(0.25)) return tombstone('features', 'x', version);
    const visible = { usingMobileKey: this.chance(0.6), usingEnvironmentId: this.chance(0.6) };
    return flag('x', version, {
      clientSideAvailability: visible,
      on: this.chance(0.8),
      variations: [`v${version}.${this.salt++}`, this.pick(['off', `off ${version}`])],
      rules: this.chance(0.4)
        ? [{ id: 'r', variation: 1, clauses: [{ attribute: '', op: 'segmentMatch', values: ['s'] }] }]
        : [],
    });
  }
  s(version: number): Item {
    return segment('s', version, { included: ['u0', 'u1', 'u2'].filter(() => this.chance(0.5)) });
  }
}

const seed = process.env.SEED ?? 'schedules';
const ROUNDS = process.env.LONG ? 1_500 : 10;

/** Fills a slice of a pass with each evaluation while `slow.on`, so that other things happen in the middle of passes. */
const slowed =
  (slow: { on: boolean }) =>
  (view: ClientView): ClientView => ({
    ...view,
    evaluateOne(...args) {
      for (const end = performance.now() + (slow.on ? 4.5 : 0); performance.now() < end; );
      return view.evaluateOne(...args);
    },
  });

/** Changes and connects in a random order, then everything comes to rest. */
async function run(round: number, started: ClientHub, slow: { on: boolean }): Promise<void> {
  const choices = new Schedule(randomFrom(`${seed} ${round}`));
  const { environment, put, upsert, read } = started;
  const contextOf = (key: string) => parseContext({ kind: 'user', key })!;
  const now = (audience: CredentialKind, key: string) => evalx(environment, contextOf(key), audience);
  const readers: Reader[] = [];
  const opening: Promise<void>[] = [];
  /** What every audience and context would be answered after each change. */
  const states: Map<string, string>[] = [];
  const keys = ['u0', 'u1', 'u2', 'u3'];
  const record = () => {
    const all = AUDIENCES.flatMap((audience) => keys.map((key) => [`${audience} ${key}`, now(audience, key)] as const));
    states.push(new Map(all));
  };
  const open = async (audience: CredentialKind, key: string) => {
    const from = states.length - 1;
    const base64 = Buffer.from(JSON.stringify({ kind: 'user', key })).toString('base64url');
    const path = audience === 'mobileKey' ? `/meval/${base64}` : `/eval/64a0/${base64}`;
    const stream = await read(path);
    readers.push({ audience, key, stream });
    const { event, data } = await stream.next();
    const possible = states
      .slice(from)
      .map((state) => valuesOf(Object.entries(JSON.parse(state.get(`${audience} ${key}`)!))));
    const got = valuesOf(Object.entries(JSON.parse(data)));
    if (event !== 'put' || !possible.includes(got))
      throw new Error(`round ${round}: a stream started with ${event} ${data}; newer are ${possible.join(' ')}`);
  };
  put(choices.x(10), segment('s', 10), flag('other', 1));
  record();
  for (const key of keys) for (const audience of AUDIENCES) await open(audience, key);
  let version = 10;
  slow.on = true;
  for (let step = choices.number(3, 9); step > 0; step--) {
    const dice = choices.number(1, 10);
    if (dice <= 5) {
      version = choices.share(0.8)
        ? Math.max(version, environment.get('features', 'x')?.version ?? 0) + choices.number(1, 6)
        : choices.number(1, 20);
      upsert(choices.x(version));
    } else if (dice <= 8) {
      version = choices.number(1, 16);
      const x = choices.share(0.25) ? [] : [choices.x(version)];
      put(...x, environment.get('segments', 's')!, flag('other', 1));
    } else upsert(choices.s(10 + states.length));
    record();
    if (choices.share(0.3)) {
      const opened = open(choices.one(AUDIENCES), choices.one(keys));
      opened.catch(() => {});
      opening.push(opened);
    }
    // From no turn at all, to the end of the pass.
    await turnsOfLoop(choices.one([0, 0, 1, 2, 5, 60]));
  }
  await Promise.all(opening);
  await until(`round ${round}: every client holds what evalx answers`, () =>
    readers.every(
      ({ audience, key, stream }) =>
        valuesOf(heldBy(stream)) === valuesOf(Object.entries(JSON.parse(now(audience, key)))),
    ),
  );
}

test(`clients start with the newest answers and end with evalx's, whatever versions a flag goes through during passes (seed ${JSON.stringify(seed)})`, async () => {
  for (let round = 0; round < ROUNDS; round++) {
    const slow = { on: false };
    const started = await startClientHub({ wrap: slowed(slow) });
    try {
      await run(round, started, slow);
    } finally {
      await started.close();
    }
  }
}, 900_000);
