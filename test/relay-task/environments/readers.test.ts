/**
 * The invariant that everything downstream relies on: every reader that applies the changes holds what memory holds, and
 * memory holds what an SDK connected directly to LaunchDarkly would hold.
 *
 * The readers here follow LaunchDarkly's own rule: a put replaces everything, a patch or delete counts only when its
 * version is strictly higher than the one held.
 */
import fc from 'fast-check';
import type { Item, Kind } from '../../../lib/flag-table/index.ts';
import { createEnvironment } from '../../../relay-task/environments/environment.ts';
import type { Change, UnreadableItem } from '../../../relay-task/ports.ts';
import { createLogRecorder } from '../../support/logs.ts';
import { flagData, segmentData } from '../upstream/support.ts';

interface Spec {
  readonly kind: Kind;
  readonly key: string;
  readonly version: number;
  /** -1: a tombstone. */
  readonly content: number;
  /** Equal data in other bytes. */
  readonly spaced: boolean;
}

type Event =
  | { readonly type: 'put' | 'boot'; readonly items: readonly Spec[]; readonly skipped: readonly Spec[] }
  | { readonly type: 'upsert' | 'skip'; readonly item: Spec }
  | { readonly type: 'connect' };

const spec: fc.Arbitrary<Spec> = fc.record({
  kind: fc.constantFrom<Kind>('features', 'segments'),
  key: fc.constantFrom('a', 'b'),
  version: fc.integer({ min: 1, max: 5 }),
  content: fc.constantFrom(-1, 0, 1),
  spaced: fc.boolean(),
});
const nameOf = ({ kind, key }: { kind: Kind; key: string }) => `${kind}/${key}`;
const specs = fc.uniqueArray(spec, { maxLength: 4, selector: nameOf });
const event: fc.Arbitrary<Event> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ type: fc.constant('put' as const), items: specs, skipped: fc.constant([]) }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('put' as const), items: specs, skipped: specs }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('boot' as const), items: specs, skipped: fc.constant([]) }) },
  { weight: 6, arbitrary: fc.record({ type: fc.constant('upsert' as const), item: spec }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('skip' as const), item: spec }) },
  { weight: 1, arbitrary: fc.constant({ type: 'connect' as const }) },
);

function itemOf({ kind, key, version, content, spaced }: Spec): Item {
  if (content < 0) return { kind, key, version, deleted: true, json: JSON.stringify({ key, version, deleted: true }) };
  const data =
    kind === 'features'
      ? flagData(key, version, { variations: [content, 'off'] })
      : segmentData(key, version, { included: [`member ${content}`] });
  return { kind, key, version, deleted: false, json: JSON.stringify(data, null, spaced ? 1 : 0) };
}

/** An in-memory store like that of every official server SDK. */
function createReader() {
  let held = new Map<string, Item>();
  return {
    put: (items: Iterable<Item>) => {
      held = new Map([...items].map((item) => [nameOf(item), item]));
    },
    offer: (item: Item) => {
      const before = held.get(nameOf(item));
      if (!before || item.version > before.version) held.set(nameOf(item), item);
    },
    get: (name: string) => held.get(name),
    live: () => live(held.values()),
  };
}

/** The live items as canonical text, which is fast to compare. */
function live(items: Iterable<Item>): string {
  const present = [...items].filter(({ deleted }) => !deleted).sort((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1));
  return present.map((item) => `${nameOf(item)} ${JSON.stringify(JSON.parse(item.json))}`).join('\n');
}

function equal(actual: unknown, expected: unknown) {
  if (actual !== expected) expect(actual).toBe(expected);
}

/** Runs the events and fails if a reader, or an SDK without a relay, differs from memory. */
function run(events: readonly Event[]) {
  const memory = () => [...environment.items('features'), ...environment.items('segments')];
  const readers = [createReader()];
  const direct = createReader();
  let generation = 0;
  const environment = createEnvironment({
    name: 'test',
    log: createLogRecorder().log,
    onChange(change: Change) {
      equal(change.generation, ++generation);
      for (const reader of readers) {
        if (change.kind === 'put') reader.put(memory().filter(({ deleted }) => !deleted));
        else for (const item of change.items) reader.offer(item);
      }
    },
  });

  for (const next of events) {
    const before = environment.initialized;
    if (next.type === 'connect' && before) {
      const reader = createReader();
      reader.put(memory().filter(({ deleted }) => !deleted));
      readers.push(reader);
    } else if (next.type === 'put') {
      const skipped = next.skipped.map(({ kind, key }): UnreadableItem => ({ kind, key, reason: 'test' }));
      const names = new Set(skipped.map(nameOf));
      const items = next.items.map(itemOf).filter((item) => !names.has(nameOf(item)));
      const kept = [...names].flatMap((name) => direct.get(name) ?? []);
      environment.put(items, skipped, 0);
      direct.put([...items, ...kept]);
    } else if (next.type === 'boot') {
      const items = next.items.map(itemOf);
      equal(environment.boot(items), !before);
      if (!before) direct.put(items);
    } else if (next.type === 'upsert') {
      const item = itemOf(next.item);
      environment.upsert(item, 0);
      if (before) direct.offer(item);
    } else if (next.type === 'skip') {
      environment.skip({ kind: next.item.kind, key: next.item.key, reason: 'test' });
    }
    const held = live(memory());
    for (const reader of readers) equal(reader.live(), held);
    equal(held, direct.live());
    equal(environment.generation, generation);
  }
}

test('readers always hold what memory holds, and memory what a direct SDK would hold', () => {
  const seed = process.env.SEED === undefined ? {} : { seed: Number(process.env.SEED) };
  fc.assert(fc.property(fc.array(event, { maxLength: 12 }), run), {
    numRuns: process.env.LONG ? 100_000 : 600,
    ...seed,
  });
}, 600_000);
