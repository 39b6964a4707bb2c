/** The decisions of a call chain as one signed text of letters, digits, `-`, `_` and `.`, which no library encodes otherwise. */
import { createHmac, timingSafeEqual } from 'node:crypto';
import type { Detail } from '../../lib/evaluation/index.ts';
import { jsonOf } from './json-of.ts';

export interface ChainKey {
  /** Names the secret in the header: 1 to 32 characters from a-z A-Z 0-9 _ -. */
  readonly id: string;
  /** At least 32 characters, from a random source. */
  readonly secret: string;
}

export interface Chained {
  /** Unix ms: when the first of the decisions was made. */
  readonly at: number;
  /** The latest revision that one of them was made with; undefined if there was none. */
  readonly rev: string | undefined;
  readonly decisions: ReadonlyMap<string, Detail>;
}

/** Why a header is not used. `signature`: it is another environment's, too. */
export type Refusal = 'malformed' | 'oversize' | 'unknown-key' | 'signature' | 'other-context' | 'expired';

interface Seal {
  /** As many of the decisions as fit, from the first on; undefined if none does. */
  close(contextKey: string, chained: Chained, mostBytes: number): string | undefined;
  /** Its age is for the caller to judge. Never throws. */
  open(text: string, contextKey: string): Chained | Refusal;
}

const TEXT = /^([\w-]{1,32})\.([\w-]+)\.([\w-]{43})$/;
/** A larger value, as JSON in characters, does not travel: its flag is decided by each service. */
const MOST_VALUE = 512;
/** Its length in base64, and that of the rest beside payload and key's ID: two dots and the signature. */
const base64Length = (bytes: number) => Math.ceil((bytes * 4) / 3);
const AROUND_BYTES = 45;

/** The payload: [index, value, reason] by flag. */
type Packed = readonly [number | null, unknown, string | Detail['reason']];

export function createSeal(prefix: string, keys: readonly ChainKey[]): Seal {
  const sign = ({ secret }: ChainKey, text: string) =>
    createHmac('sha256', secret).update(`edge-flags 1\n${prefix}\n${text}`).digest('base64url');
  // Keyed, so that nobody who sees it can guess the context's key.
  const hashOf = ({ secret }: ChainKey, contextKey: string) =>
    createHmac('sha256', secret).update(`edge-flags context\n${contextKey}`).digest('base64url').slice(0, 16);

  return {
    close(contextKey, { at, rev, decisions }, mostBytes) {
      const [key] = keys;
      if (!key) return undefined;
      const content = { c: hashOf(key, contextKey), t: at, ...(rev !== undefined && { r: rev }) };
      let bytes = JSON.stringify(content).length + '"d":{},'.length;
      const fitting: [string, Packed][] = [];
      for (const [flagKey, detail] of decisions) {
        const packed = typeof flagKey === 'string' ? pack(detail) : undefined;
        if (!packed) continue;
        const more = Buffer.byteLength(JSON.stringify({ [flagKey]: packed }));
        if (key.id.length + AROUND_BYTES + base64Length(bytes + more) > mostBytes) continue;
        bytes += more;
        fitting.push([flagKey, packed]);
      }
      if (fitting.length === 0) return undefined;
      const payload = Buffer.from(JSON.stringify({ ...content, d: Object.fromEntries(fitting) })).toString('base64url');
      const text = `${key.id}.${payload}`;
      return `${text}.${sign(key, text)}`;
    },
    open(text, contextKey) {
      const [, id, payload = '', signature = ''] = TEXT.exec(text) ?? [];
      if (id === undefined) return 'malformed';
      const key = keys.find((one) => one.id === id);
      if (!key) return 'unknown-key';
      if (!timingSafeEqual(Buffer.from(sign(key, `${id}.${payload}`)), Buffer.from(signature))) return 'signature';
      return parse(payload, hashOf(key, contextKey));
    },
  };
}

/** Undefined for what only means something where it was decided, such as a fallback that has no JSON. */
function pack({ value, variationIndex, reason }: Detail): Packed | undefined {
  const json = jsonOf(value);
  if (json === undefined || json.length > MOST_VALUE) return undefined;
  const isPlain = Object.keys(reason).length === 1;
  // Read back, so that what a caller's object does when it is written happens once.
  return [variationIndex, JSON.parse(json), isPlain ? reason.kind : reason];
}

function parse(payload: string, contextHash: string): Chained | Refusal {
  try {
    const { c, t, r, d } = JSON.parse(Buffer.from(payload, 'base64url').toString()) as Record<string, unknown>;
    if (c !== contextHash) return 'other-context';
    if (typeof t !== 'number' || !(r === undefined || typeof r === 'string')) return 'malformed';
    const decisions = new Map<string, Detail>();
    for (const [flagKey, packed] of Object.entries(d as Record<string, Packed>)) {
      const [variationIndex, value, said] = packed;
      const reason = typeof said === 'string' ? { kind: said } : said;
      if (!(variationIndex === null || Number.isInteger(variationIndex)) || typeof reason.kind !== 'string')
        return 'malformed';
      decisions.set(flagKey, { value, variationIndex, reason } as Detail);
    }
    return { at: t, rev: r, decisions };
  } catch {
    return 'malformed';
  }
}
