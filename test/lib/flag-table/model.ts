/**
 * A writer, as a log of single-item writes. The model keeps the complete items of every revision that was ever begun, so that a
 * test can check whether a reading is one of them.
 */
import {
  type Attributes,
  compareRev,
  type EncodedBody,
  encodeBody,
  encodeDelta,
  encodeHead,
  formatRev,
  type Item,
  type Kind,
  parseRev,
  type Rev,
  SNAPSHOT_FORMAT,
} from '../../../lib/flag-table/index.ts';

interface Edit {
  slot: number;
  what: 'set' | 'delete' | 'revert' | 'vanish';
  text: string;
}

export type Operation =
  | { type: 'change'; edits: Edit[]; crashAfter: number | undefined }
  | { type: 'rewrite'; crashAfter: number | undefined }
  | { type: 'body'; edits: Edit[]; crashAfter: number | undefined }
  | { type: 'takeover' }
  /** A writer that does not know that it lost its lease finishes the publication that was interrupted. */
  | { type: 'zombie' }
  | { type: 'renew' };

const limits = { dataBytes: 400, blockBytes: 512 };
export const idOf = (item: { kind: Kind; key: string }) => `${item.kind}/${item.key}`;

/** The slots' keys: any Unicode, the same key in both kinds, names of object properties. */
const keys = ['a', 'ключ', '鍵.with-dots', '🎏', '__proto__', 'constructor', 'a b', '\u0000', 'Z'.repeat(300)];

type Content = ReadonlyMap<string, Item>;

export interface Model {
  readonly log: { key: string; attributes: Attributes }[];
  /** The content of each revision, by the revision as a string. */
  readonly published: Map<string, Content>;
  run(operation: Operation): Promise<void>;
  /** Whether two writers wrote at the same time: readers may then refuse the snapshot until the next body. */
  readonly overtaken: boolean;
  /** The newest revision whose head was written. */
  newest(): Rev | undefined;
}

export function createModel(prefix: string): Model {
  const log: Model['log'] = [];
  const published = new Map<string, Content>();
  let memory = new Map<string, Item>();
  let epoch = 1_760_000_000_000;
  let seq = 0;
  let beat = 0;
  /** The body that the writer knows to be in the table; if undefined, its next publication must be a body. */
  let base: { rev: Rev; content: Content; bank: 0 | 1; encoded: EncodedBody | undefined } | undefined;
  let rev: Rev | undefined;
  let nextBank: 0 | 1 = 0;
  let headRev: Rev | undefined;
  let headBase: Rev | undefined;
  let undone: Attributes[] = [];
  let overtaken = false;

  const revOf = (attributes: Attributes) => (attributes.rev as { S: string }).S;
  const latest = (key: string) => log.findLast((write) => write.key === key)?.attributes;

  /** A conditional put, which only replaces an older revision; false if it was refused. */
  function put(attributes: Attributes): boolean {
    const key = (attributes.key as { S: string }).S;
    const stored = latest(key);
    if (stored && key !== 'head' && revOf(stored) >= revOf(attributes)) return false;
    log.push({ key, attributes });
    return true;
  }

  const head = () =>
    encodeHead(prefix, {
      format: SNAPSHOT_FORMAT,
      owner: 'model',
      epoch,
      beat,
      checkedAt: 1,
      ...(rev && { rev }),
      ...(headBase && { base: headBase }),
    });

  function publish(writes: Attributes[], crashAfter: number | undefined, done: () => void): void {
    if (crashAfter !== undefined && crashAfter < writes.length + 1) {
      for (const write of writes.slice(0, crashAfter)) put(write);
      undone = writes.slice(crashAfter);
      takeover();
      return;
    }
    // A part of an interrupted body may have a newer revision: then the publication is abandoned, as writers do.
    if (!writes.every(put)) return;
    done();
    headRev = rev;
    headBase = base?.rev;
    put(head());
  }

  /**
   * A new writer, which uses the table only if head and body agree; otherwise its first publication is a body. Readers already
   * apply a delta whose head was not written before a crash, so the new writer continues from it.
   */
  function takeover(): void {
    epoch += 1000;
    seq = 0;
    const body = latest('body');
    const whole = body && base && formatRev(base.rev) === revOf(body) && published.get(revOf(body));
    if (!whole) base = undefined;
    const delta = latest('delta');
    if (whole && delta && (delta.base as { S: string }).S === revOf(body)) {
      rev = parseRev(revOf(delta));
      [headRev, headBase] = [rev, base?.rev];
    }
    if (body) nextBank = (body.bank as { N: string }).N === '0' ? 1 : 0;
    put(head());
  }

  function edit(edits: readonly Edit[], mayVanish: boolean): void {
    memory = new Map(memory);
    for (const { slot, what, text } of edits) {
      const kind: Kind = slot % 2 === 0 ? 'features' : 'segments';
      const key = keys[Math.floor(slot / 2) % keys.length]!;
      const id = idOf({ kind, key });
      const version = (memory.get(id)?.version ?? 0) + 1;
      if (what === 'set')
        memory.set(id, { kind, key, version, deleted: false, json: JSON.stringify({ key, version, text }) });
      else if (what === 'delete') {
        memory.set(id, { kind, key, version, deleted: true, json: JSON.stringify({ key, version, deleted: true }) });
      } else if (what === 'vanish') {
        if (mayVanish) memory.delete(id);
      } else {
        const old = base?.content.get(id);
        if (old) memory.set(id, old);
      }
    }
  }

  async function writeBody(asRev: Rev, crashAfter: number | undefined): Promise<void> {
    const content = new Map(memory);
    const bank = nextBank;
    const encoded = await encodeBody({
      prefix,
      items: content.values(),
      rev: asRev,
      bank,
      previous: base?.encoded,
      limits,
    });
    publish([...encoded.parts, encoded.body], crashAfter, () => {
      base = { rev: asRev, content, bank, encoded };
      rev = asRev;
      nextBank = bank === 0 ? 1 : 0;
    });
  }

  function begin(): Rev {
    seq += 1;
    const next = { epoch, seq };
    published.set(formatRev(next), new Map(memory));
    return next;
  }

  return {
    log,
    published,
    newest: () => headRev,
    get overtaken() {
      return overtaken;
    },
    async run(operation) {
      switch (operation.type) {
        case 'takeover':
          return takeover();
        case 'zombie':
          if (undone.length > 0) overtaken = true;
          for (const write of undone) put(write);
          undone = [];
          return;
        case 'renew':
          beat += 1;
          put(head());
          return;
        case 'rewrite':
          // The body repeats the last publication under the same revision.
          if (
            base &&
            rev &&
            compareRev(rev, base.rev) > 0 &&
            published.get(formatRev(rev)) &&
            sameContent(memory, published.get(formatRev(rev))!)
          ) {
            await writeBody(rev, operation.crashAfter);
          }
          return;
        case 'body': {
          edit(operation.edits, true);
          return writeBody(begin(), operation.crashAfter);
        }
        case 'change': {
          edit(operation.edits, base === undefined);
          const next = begin();
          const differing = base && [...memory.values()].filter((item) => base!.content.get(idOf(item)) !== item);
          const vanished = base && [...base.content.keys()].some((id) => !memory.has(id));
          const delta =
            differing && !vanished
              ? await encodeDelta({ prefix, items: differing, rev: next, base: base!.rev })
              : undefined;
          if (!delta) return writeBody(next, operation.crashAfter);
          return publish([delta], operation.crashAfter, () => {
            rev = next;
          });
        }
      }
    },
  };
}

function sameContent(a: Content, b: Content): boolean {
  return a.size === b.size && [...a].every(([id, item]) => describe(b.get(id)) === describe(item));
}

function describe(item: Item | undefined): string {
  return JSON.stringify(item && [item.kind, item.key, item.version, item.deleted, item.json]);
}

/** How a snapshot differs from the content of its revision; undefined if it does not. */
export function findMixture(
  published: Model['published'],
  snapshot: { rev: Rev; items(): Iterable<Item>; get(kind: Kind, key: string): Item | undefined },
): string | undefined {
  const expected = published.get(formatRev(snapshot.rev));
  if (!expected) return `revision ${formatRev(snapshot.rev)} was never published`;
  const items = [...snapshot.items()];
  const read = new Map(items.map((item) => [idOf(item), item]));
  if (read.size !== items.length) return 'an item came twice';
  if (!sameContent(read, expected)) return `not the content of revision ${formatRev(snapshot.rev)}`;
  for (const item of items)
    if (snapshot.get(item.kind, item.key) !== item) return `get(${idOf(item)}) is another object`;
  if (snapshot.get('features', 'no such flag') !== undefined) return 'an item was found that does not exist';
  return undefined;
}
