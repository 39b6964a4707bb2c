/** Event streams on the wire: server-sent events (HTML standard, 9.2) in chunks (RFC 9112 section 7.1). */
import { environmentIdHeader } from '../common/environment-id.ts';

/** `chunked` for HTTP/1.1; `plain`, ended by closing the connection, for HTTP/1.0, which older nginx uses for upstreams. */
export type Framing = 'chunked' | 'plain';

/** `event: NAME`, one `data:` line, a blank line. */
export function eventText(name: string, json: string): string {
  return `event: ${name}\ndata: ${oneLine(json)}\n\n`;
}

/** JSON text without line breaks. They occur between tokens only, where a space means the same. */
export function oneLine(json: string): string {
  return json.includes('\n') || json.includes('\r') ? json.replace(/[\r\n]+/g, ' ') : json;
}

/** How much is written to one socket at once. */
export const PIECE_BYTES = 256 * 1024;
/** Up to so much is copied, to be written together. */
export const BLOCK_BYTES = 64 * 1024;

export function frame(text: string, framing: Framing): Buffer {
  if (framing === 'plain') return Buffer.from(text);
  const size = Buffer.byteLength(text);
  const { before, after } = chunkAround(size, framing);
  const bytes = Buffer.allocUnsafeSlow(before.length + size + after.length);
  bytes.write(before, 0, 'latin1');
  bytes.write(text, before.length, 'utf8');
  bytes.write(after, before.length + size, 'latin1');
  return bytes;
}

/** What comes before and after `size` bytes to make them one chunk. */
export function chunkAround(size: number, framing: Framing): { readonly before: string; readonly after: string } {
  return framing === 'plain' ? { before: '', after: '' } : { before: `${size.toString(16)}\r\n`, after: '\r\n' };
}

/** A comment, which clients ignore but which resets read timeouts of SDKs and proxies. */
export const heartbeats: Readonly<Record<Framing, Buffer>> = {
  chunked: frame(':\n', 'chunked'),
  plain: Buffer.from(':\n'),
};

/** Ends a body so that the client can tell it was ended on purpose. */
export const terminators: Readonly<Record<Framing, Buffer>> = {
  chunked: Buffer.from('0\r\n\r\n'),
  plain: Buffer.alloc(0),
};

/**
 * The head of a stream. `more`: headers that are added to those of every stream or replace them; CORS for browsers. Invalid
 * names and values are left out.
 */
function streamHead(
  framing: Framing,
  environmentId: string | undefined,
  now: Date,
  more: Readonly<Record<string, string>> = {},
): Buffer {
  const headers: Record<string, string> = {
    Date: now.toUTCString(),
    'Content-Type': 'text/event-stream; charset=utf-8',
    'Cache-Control': 'no-cache, no-store, must-revalidate',
    Connection: framing === 'chunked' ? 'keep-alive' : 'close',
    // Given CORS headers already say which origins may read.
    ...(Object.keys(more).length === 0 && { 'Access-Control-Allow-Origin': '*' }),
    'X-Accel-Buffering': 'no',
    ...environmentIdHeader(environmentId),
  };
  if (framing === 'chunked') headers['Transfer-Encoding'] = 'chunked';
  for (const [name, value] of Object.entries(more)) {
    if (!/^[\w-]+$/.test(name) || !/^[\t -~]*$/.test(value)) continue;
    const known = Object.keys(headers).find((other) => other.toLowerCase() === name.toLowerCase());
    headers[known ?? name] = value;
  }
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return Buffer.from(`HTTP/1.1 200 OK\r\n${lines.join('')}\r\n`);
}

/** Makes heads; one without further headers is made once a second. */
export function createHeads(framing: Framing, environmentId: () => string | undefined) {
  let plain: { readonly second: number; readonly bytes: Buffer } | undefined;
  return (more: Readonly<Record<string, string>> | undefined): Buffer => {
    const now = Date.now();
    if (more) return streamHead(framing, environmentId(), new Date(now), more);
    const second = Math.floor(now / 1000);
    if (plain?.second !== second) plain = { second, bytes: streamHead(framing, environmentId(), new Date(now)) };
    return plain.bytes;
  };
}

/** Splits bytes into pieces for sockets: large enough for few writes, small enough that draining shows progress. */
export function piecesOf(bytes: Buffer): Buffer[] {
  const pieces: Buffer[] = [];
  for (let from = 0; from < bytes.length; from += PIECE_BYTES) pieces.push(bytes.subarray(from, from + PIECE_BYTES));
  return pieces;
}

/** In bytes. */
export function sizeOf(pieces: readonly Buffer[] = []): number {
  let bytes = 0;
  for (const { length } of pieces) bytes += length;
  return bytes;
}

/** Small parts are copied together to save system calls, large ones are not copied. */
export function inPieces(parts: readonly Buffer[]): Buffer[] {
  const pieces: Buffer[] = [];
  let group: Buffer[] = [];
  let size = 0;
  const flush = () => {
    const [only] = group;
    if (only) pieces.push(...piecesOf(group.length === 1 ? only : Buffer.concat(group)));
    group = [];
    size = 0;
  };
  for (const part of parts) {
    if (size + part.length > BLOCK_BYTES) flush();
    group.push(part);
    size += part.length;
  }
  flush();
  return pieces;
}
