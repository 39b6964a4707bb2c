/** The contexts of open streams, which anyone may make large: those that would take much memory are kept as compressed JSON. */
import { createHash } from 'node:crypto';
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { type Context, parseGoContext } from '../../lib/evaluation/index.ts';
import { COMMA, OPEN_BRACE, OPEN_BRACKET } from '../common/json-codes.ts';
import type { HeldContext } from '../ports.ts';
import type { RequestContext } from './request-context.ts';

/** Contexts that take more than this are compressed; ordinary ones take less. */
const MOST_PARSED_BYTES = 8 * 1024;
/** Of one value in an object or array: `[{},{}]` takes twenty times its text. */
const VALUE_BYTES = 48;
/** Of a string beside its characters. */
const STRING_BYTES = 16;

export function holdContext({ context, canonical }: RequestContext): HeldContext {
  const id = createHash('sha256').update(canonical).digest('base64');
  const bytes = parsedBytes(canonical);
  return bytes <= MOST_PARSED_BYTES ? keep(id, bytes, context) : pack(id, canonical);
}

function keep(id: string, bytes: number, context: Context): HeldContext {
  return { id, bytes, read: () => context };
}

/** A function of its own: a closure keeps alive whatever any other closure of the same function uses. */
function pack(id: string, canonical: string): HeldContext {
  // A string takes what it holds; zlib's buffer is a part of a larger one.
  return createPacked(id, deflateRawSync(canonical).toString('latin1'));
}

function createPacked(id: string, packed: string): HeldContext {
  // Evaluating for one stream reads it several times in a row.
  let recent: WeakRef<Context> | undefined;
  return {
    id,
    bytes: packed.length + STRING_BYTES,
    isPacked: true,
    read() {
      const known = recent?.deref();
      if (known) return known;
      const unpacked = unpack(packed);
      recent = new WeakRef(unpacked);
      return unpacked;
    },
  };
}

/** Bytes in the heap of the value of this JSON, estimated. */
export function parsedBytes(json: string): number {
  let values = 1;
  for (let i = 0; i < json.length; i++) {
    const code = json.charCodeAt(i);
    // In strings, too: an estimate may be too high.
    if (code === COMMA || code === OPEN_BRACKET || code === OPEN_BRACE) values++;
  }
  return 2 * json.length + VALUE_BYTES * values;
}

function unpack(packed: string): Context {
  const json = inflateRawSync(Buffer.from(packed, 'latin1')).toString();
  const context = parseGoContext(JSON.parse(json));
  if (!context) throw new Error('a context could be read once and cannot be read again');
  return context;
}
