/** Bodies for many clients: what they are made of counts, and each is compressed once. */
import { joinInSlices } from '../common/sliced-json.ts';
import { inSlices } from '../common/slices.ts';
import { type Compression, compressed, type Effort, isWorthCompressing, type SharedBody } from './encoding.ts';
import { bytesOf } from './patience.ts';
import type { Kept, Shelf } from './shelf.ts';

/** A compressed body. */
export interface Packed {
  readonly of: string;
  readonly making: Promise<Buffer>;
  /** Once it is made. */
  done: { readonly bytes: Buffer; readonly kept: Kept } | undefined;
}

interface Sharing {
  readonly lane: string;
  readonly packed: Map<string, Packed>;
  /** Among the compressed ones. */
  readonly name: string;
  readonly digest: string;
  readonly parts: readonly Buffer[];
  /** What counts for the parts; they themselves by default. */
  readonly shared?: readonly Buffer[];
  readonly effort?: Effort;
}

export function sharedBody(sharing: Sharing, shelf: Shelf): SharedBody {
  const { lane, digest, parts, shared = parts } = sharing;
  const bytes = bytesOf(parts);
  return {
    digest,
    parts,
    isShared: true,
    hold: (buffers) => shelf.hold(lane, buffers === parts ? shared : buffers),
    compressed(encoding, compress) {
      if (!isWorthCompressing(bytes)) return undefined;
      const { packed, name, effort = 'many' } = sharing;
      const known = packed.get(`${name} ${encoding}`);
      if (known?.of === digest) {
        known.done?.kept.used();
        return known.making;
      }
      const making = compress({ raw: { length: bytes }, isShared: true }, () => pack(sharing, encoding, effort, shelf));
      if (!making) return undefined;
      // Until its turn comes, the client may leave.
      const release = shelf.hold(lane, shared);
      making.then(release, release);
      keepPacked(sharing, encoding, making, shelf);
      return making;
    },
  };
}

/** While it is compressed, its bytes are in one buffer, which counts; few are at once. */
async function pack({ lane, parts }: Sharing, encoding: Compression, effort: Effort, shelf: Shelf): Promise<Buffer> {
  const raw = await inSlices(joinInSlices(parts));
  const release = shelf.hold(lane, [raw]);
  try {
    return await compressed(raw, encoding, effort);
  } finally {
    release();
  }
}

function keepPacked(
  { lane, packed, name, digest }: Sharing,
  encoding: Compression,
  making: Promise<Buffer>,
  shelf: Shelf,
): void {
  const slot = `${name} ${encoding}`;
  packed.get(slot)?.done?.kept.remove();
  const entry: Packed = { of: digest, making, done: undefined };
  packed.set(slot, entry);
  const drop = () => {
    if (packed.get(slot) === entry) packed.delete(slot);
  };
  making.then((bytes) => {
    if (packed.get(slot) === entry) entry.done = { bytes, kept: shelf.keep(lane, [bytes], drop) };
  }, drop);
}
