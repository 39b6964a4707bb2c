/** Decodes and verifies body, parts and delta from the table; checks the hash first. A returned string is the reason of a refusal. */
import { type Attributes, readBytes, readNumber, readText } from './attributes.ts';
import { decodeBlocks, type ItemsByKind, openBlock } from './blocks.ts';
import { SNAPSHOT_FORMAT, wrongFormat } from './head.ts';
import { compareRev, parseRev, type Rev } from './rev.ts';
import type { Delta } from './snapshot.ts';
import { MAX_PARTS, sealBody, sealDelta } from './snapshot-format.ts';

export interface Body {
  readonly rev: Rev;
  readonly source: string | undefined;
  readonly bank: 0 | 1;
  readonly parts: number;
  readonly sha256: Buffer;
  readonly data: Buffer;
}

/** A body without its parts: unverified, so it must not be used before `joinBody`. */
export function decodeBody(attributes: Attributes): Body | string {
  const common = decodeCommon(attributes, 'body');
  if (typeof common === 'string') return common;
  const bank = readNumber(attributes, 'bank');
  const parts = readNumber(attributes, 'parts');
  if ((bank !== 0 && bank !== 1) || parts === undefined || !Number.isInteger(parts) || parts < 0 || parts > MAX_PARTS)
    return `body: invalid bank ${bank} or parts ${parts}`;
  return { ...common, bank, parts };
}

/** The whole data of a body. `lags`: the missing part may still arrive, by replication or an unfinished publication. */
export function joinBody(
  body: Body,
  parts: readonly (Attributes | undefined)[],
): { data: Buffer } | { reason: string; lags: boolean } {
  const pieces = [body.data];
  for (let i = 0; i < body.parts; i++) {
    const part = parts[i];
    const data = part && readBytes(part, 'data');
    if (!data || compareRev(parseRev(readText(part, 'rev')), body.rev) !== 0) {
      return { reason: `body: part ${i} is missing or of another revision`, lags: true };
    }
    pieces.push(data);
  }
  const data = pieces.length > 1 ? Buffer.concat(pieces) : body.data;
  return sealBody(body.rev, body.bank, body.parts, data).equals(body.sha256)
    ? { data }
    : { reason: 'body: wrong hash', lags: false };
}

/** Reads all items of a delta at once, since it is small. Equal items in `changed` are reused as objects. */
export function decodeDelta(attributes: Attributes, changed?: ItemsByKind): Delta | string {
  const common = decodeCommon(attributes, 'delta');
  if (typeof common === 'string') return common;
  const { rev, source, sha256, data } = common;
  const base = parseRev(readText(attributes, 'base'));
  if (!base || compareRev(rev, base) <= 0) return 'delta: base is missing or not older';
  if (!sealDelta(rev, base, data).equals(sha256)) return 'delta: wrong hash';
  const blocks = decodeBlocks(data);
  if (typeof blocks === 'string') return `delta: ${blocks}`;
  const items = blocks.length === 1 ? openBlock(blocks[0]!, [changed]) : undefined;
  return items
    ? { rev, source, base, items: items as ItemsByKind, deltaBytes: data.length }
    : 'delta: cannot be inflated';
}

function decodeCommon(attributes: Attributes, name: string) {
  const format = readNumber(attributes, 'format');
  if (format !== SNAPSHOT_FORMAT) return wrongFormat(name, format);
  const rev = parseRev(readText(attributes, 'rev'));
  const sha256 = readBytes(attributes, 'sha256');
  const data = readBytes(attributes, 'data');
  const source = readText(attributes, 'source');
  return rev && sha256 && data ? { rev, source, sha256, data } : `${name}: rev, sha256 or data is missing`;
}
