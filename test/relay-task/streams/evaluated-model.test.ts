import { parseContext } from '../../../lib/evaluation/index.ts';
import type { Item } from '../../../lib/flag-table/index.ts';
import { until } from '../../support/eventually.ts';
import { flag, segment, tombstone } from '../../support/items.ts';
import { RandomChoices, randomFrom } from '../../support/random.ts';
import type { StreamEvent, StreamReader } from '../../support/read-stream.ts';
import { evalx, startClientHub } from './start-client-hub.ts';

interface Held {
  readonly version: number;
  readonly value?: unknown;
  readonly variation?: number;
}

/** What a client-side SDK holds after these events: `put` replaces everything, other events apply if their version is higher. */
function heldAfter(events: readonly StreamEvent[]): Record<string, unknown> {
  let held = new Map<string, Held>();
  for (const { event, data } of events) {
    const parsed = JSON.parse(data);
    if (event === 'put') held = new Map(Object.entries(parsed));
    else {
      const { key, ...answer } = parsed as Held & { key: string };
      const known = held.get(key);
      if (!known || known.version < answer.version) held.set(key, answer);
    }
  }
  return valuesOf(Object.fromEntries(held));
}

/** Values and variations only, since a higher version with the same answer need not be sent. */
function valuesOf(flags: Record<string, Held>): Record<string, unknown> {
  const present = Object.entries(flags).filter(([, { variation }]) => variation !== undefined);
  return Object.fromEntries(present.sort().map(([key, { value, variation }]) => [key, [value, variation]]));
}

class Changes extends RandomChoices {
  private readonly versions = new Map<string, number>();
  private readonly keys = ['f0', 'f1', 'f2', 'f3', 'f4', 'f5'];
  private readonly segments = ['s0', 's1', 's2'];
  readonly users = ['u0', 'u1', 'u2', 'u3', 'u4', 'u5'];

  private version(key: string, rise = 1): number {
    const version = (this.versions.get(key) ?? 10) + rise;
    this.versions.set(key, version);
    return version;
  }
  private anyUsers(): string[] {
    return this.users.filter(() => this.chance(0.4));
  }
  private flag(key: string, rise?: number): Item {
    const index = this.keys.indexOf(key);
    return flag(key, this.version(key, rise), {
      on: this.chance(0.9),
      targets: [{ variation: 1, values: this.anyUsers() }],
      prerequisites: this.chance(0.3) && index > 0 ? [{ key: this.pick(this.keys.slice(0, index)), variation: 0 }] : [],
      rules: this.chance(0.5)
        ? [
            {
              id: 'r',
              variation: 1,
              clauses: [{ op: 'segmentMatch', attribute: '', values: [this.pick(this.segments)] }],
            },
          ]
        : [],
      clientSideAvailability: { usingMobileKey: true, usingEnvironmentId: this.chance(0.8) },
    });
  }
  private segment(key: string, rise?: number): Item {
    const nested = key !== 's0' && this.chance(0.4);
    return segment(key, this.version(key, rise), {
      included: this.anyUsers(),
      rules: nested ? [{ clauses: [{ op: 'segmentMatch', attribute: '', values: ['s0'] }] }] : [],
    });
  }
  one(): Item {
    if (this.chance(0.3)) {
      const key = this.pick(this.segments);
      return this.chance(0.2) ? tombstone('segments', key, this.version(key)) : this.segment(key);
    }
    const key = this.pick(this.keys);
    return this.chance(0.15) ? tombstone('features', key, this.version(key)) : this.flag(key);
  }
  /** A full set, in which versions may be lower. */
  all(): Item[] {
    const rise = () => this.whole(-4, 1);
    return [
      ...this.segments.filter(() => this.chance(0.8)).map((key) => this.segment(key, rise())),
      ...this.keys.filter(() => this.chance(0.8)).map((key) => this.flag(key, rise())),
    ];
  }
}

const seed = process.env.SEED ?? 'evaluated streams';
const ROUNDS = process.env.LONG ? 60 : 3;
const STEPS = 120;

test(`clients end with what evalx returns after any changes and connects (seed ${JSON.stringify(seed)})`, async () => {
  for (let round = 0; round < ROUNDS; round++) {
    const changes = new Changes(randomFrom(`${seed} ${round}`));
    const dices = randomFrom(`${seed} ${round} readers`);
    const started = await startClientHub();
    const { environment, put, upsert, evaluated } = started;
    const readers: { readonly key: string; readonly reader: StreamReader }[] = [];
    const check = (when: string) =>
      until(`round ${round} ${when}: every client holds what evalx answers`, () =>
        readers.every(({ key, reader }) => {
          const context = parseContext({ kind: 'user', key })!;
          const expected = valuesOf(JSON.parse(evalx(environment, context, 'environmentId')));
          return JSON.stringify(heldAfter(reader.events)) === JSON.stringify(expected);
        }),
      );
    if (round % 2 === 0) put(...changes.all());
    for (let step = 0; step < STEPS; step++) {
      const dice = dices();
      if (dice < 0.15 && readers.length < 20) {
        const key = changes.users[step % changes.users.length]!;
        readers.push({ key, reader: await evaluated({ kind: 'user', key }) });
      } else if (dice < 0.22) put(...changes.all());
      else upsert(changes.one());
      // Sometimes several changes happen before the hub is notified.
      if (dice > 0.6) await new Promise((resolve) => setImmediate(resolve));
      if (step % 30 === 29) await check(`after step ${step}`);
    }
    await check('at the end');
    await started.close();
  }
}, 600_000);
