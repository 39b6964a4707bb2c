import type { Item } from '../../../lib/flag-table/index.ts';
import { createFeed } from '../../../relay-task/streams/messages.ts';
import { createSnapshots } from '../../../relay-task/streams/snapshots.ts';
import { flag, segment, tombstone } from '../../support/items.ts';
import { createMemory } from '../../support/memory.ts';
import { RandomChoices, randomFrom } from '../../support/random.ts';

const KB = 1024;
const sized = (key: string, version: number, kilobytes: number) =>
  flag(key, version, { filler: 'x'.repeat(kilobytes * KB) });
const textOf = (pieces: readonly Buffer[]) => Buffer.concat(pieces).toString();

/** The bytes of one chunk (RFC 9112 section 7.1). */
function chunkOf(pieces: readonly Buffer[]): string {
  const bytes = Buffer.concat(pieces);
  const line = bytes.indexOf('\r\n');
  const size = Number.parseInt(bytes.toString('latin1', 0, line), 16);
  expect(bytes).toHaveLength(line + 2 + size + 2);
  expect(bytes.toString('latin1', line + 2 + size)).toBe('\r\n');
  return bytes.toString('utf8', line + 2, line + 2 + size);
}

/** What of the second is not shared with the first. */
function ownBytes(pieces: readonly Buffer[], others: readonly Buffer[]): number {
  const place = ({ buffer, byteOffset }: Buffer) => [buffer, byteOffset] as const;
  const isShared = (piece: Buffer) =>
    others.some((other) => {
      const [[a, from], [b, otherFrom]] = [place(piece), place(other)];
      return a === b && from === otherFrom && piece.length === other.length;
    });
  return pieces.filter((piece) => !isShared(piece)).reduce((sum, { length }) => sum + length, 0);
}

test('a snapshot of two megabytes shares all but a few blocks with the one before a change, whichever item changed', () => {
  const count = 1_000;
  const view = createMemory(...Array.from({ length: count }, (_, i) => sized(`f${i}`, 1, 2)), segment('s', 1));
  const snapshots = createSnapshots(createFeed('all', view), 'chunked');
  let { pieces, bytes } = snapshots.make();
  expect(bytes).toBeGreaterThan(2 * KB * KB);
  const changes: readonly (readonly Item[])[] = [
    [sized('f0', 2, 2)],
    [sized('f500', 2, 1)],
    [sized('f501', 2, 5)],
    [tombstone('features', 'f502', 2)],
    [sized(`f${count - 1}`, 2, 2)],
    [sized('new', 1, 2)],
    [segment('s', 2)],
    [sized('f502', 3, 2)],
  ];
  for (const items of changes) {
    view.set(...items);
    const after = snapshots.make().pieces;
    // The changed block, and what is copied together at both ends.
    expect(ownBytes(after, pieces)).toBeLessThan(4 * 64 * KB);
    pieces = after;
  }
  expect(snapshots.make().pieces.map(({ length }) => length)).toEqual(pieces.map(({ length }) => length));
});

test('a small snapshot is one piece, and a large item is cut into pieces of 256 KB', () => {
  const small = createMemory(flag('a', 1), segment('s', 1));
  expect(createSnapshots(createFeed('all', small), 'chunked').make().pieces).toHaveLength(1);
  const large = createMemory(flag('a', 1), sized('large', 1, 1_000), flag('b', 1));
  const { pieces } = createSnapshots(createFeed('all', large), 'chunked').make();
  for (const { length } of pieces) expect(length).toBeLessThanOrEqual(256 * KB);
  expect(pieces.length).toBeLessThan(8);
});

class Changes extends RandomChoices {
  private version = 1;
  item(): Item {
    this.version++;
    const key = `k${this.whole(0, 60)}`;
    if (this.chance(0.25)) return tombstone('features', key, this.version);
    if (this.chance(0.2)) return segment(key, this.version, { note: 'ü\n'.repeat(this.whole(0, 5_000)) });
    return flag(key, this.version, { note: 'é"'.repeat(this.whole(0, 12_000)) });
  }
}

const seed = process.env.SEED ?? 'snapshots';

test(`every snapshot has exactly the live items of its moment, after any changes (seed ${JSON.stringify(seed)}) @heavy`, () => {
  for (let round = 0; round < (process.env.LONG ? 200 : 2); round++) {
    const changes = new Changes(randomFrom(`${seed} ${round}`));
    const view = createMemory(changes.item());
    const dices = randomFrom(`${seed} ${round} steps`);
    const kind = round % 2 === 0 ? 'all' : 'flags';
    const snapshots = createSnapshots(createFeed(kind, view), 'chunked');
    const old: { readonly pieces: readonly Buffer[]; readonly text: string }[] = [];
    for (let step = 0; step < (process.env.LONG ? 100 : 40); step++) {
      const dice = dices();
      if (dice < 0.02) view.put(Array.from({ length: 20 }, () => changes.item()));
      else view.set(changes.item());
      if (dice > 0.98) snapshots.clear();
      const { pieces, bytes } = snapshots.make();
      expect(Buffer.concat(pieces)).toHaveLength(bytes);
      const text = chunkOf(pieces);
      const live = (wanted: Item['kind']) =>
        Object.fromEntries(
          [...view.items(wanted)].filter(({ deleted }) => !deleted).map(({ key, json }) => [key, JSON.parse(json)]),
        );
      const [event, data, ...rest] = text.split('\n');
      expect([event, rest]).toEqual(['event: put', ['', '']]);
      expect(JSON.parse(data!.slice('data: '.length))).toEqual(
        kind === 'flags'
          ? live('features')
          : { path: '/', data: { flags: live('features'), segments: live('segments') } },
      );
      if (step % 10 === 0) old.push({ pieces, text: textOf(pieces) });
    }
    // Clients may still be reading earlier ones.
    for (const { pieces, text } of old) expect(textOf(pieces)).toBe(text);
  }
});
