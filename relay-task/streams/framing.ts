/**
 * Bytes on the wire of an event stream: RFC 9112 section 7.1 (chunks) around server-sent events (HTML standard, 9.2).
 */

/** `chunked` for HTTP/1.1; `plain`, ended by the end of the connection, for HTTP/1.0 (older nginx speaks it to its upstreams). */
export type Framing = 'chunked' | 'plain';

/** `event: NAME`, one `data:` line, a blank line. `json` is made one line: line breaks in JSON text stand between tokens only. */
export function eventText(name: string, json: string): string {
  return `event: ${name}\ndata: ${oneLine(json)}\n\n`;
}

/** JSON text without line breaks. Inside a JSON string they are always escaped, so a space means the same. */
export function oneLine(json: string): string {
  return json.includes('\n') || json.includes('\r') ? json.replace(/[\r\n]+/g, ' ') : json;
}

/** What is written to one socket at once. */
export const PIECE_BYTES = 256 * 1024;

export function frame(text: string, framing: Framing): Buffer {
  if (framing === 'plain') return Buffer.from(text);
  const size = Buffer.byteLength(text);
  const before = `${size.toString(16)}\r\n`;
  const bytes = Buffer.allocUnsafeSlow(before.length + size + 2);
  bytes.write(before, 0, 'latin1');
  bytes.write(text, before.length, 'utf8');
  bytes.write('\r\n', before.length + size, 'latin1');
  return bytes;
}

/** A comment of one line and no event: it resets read timeouts of SDKs and of proxies, and nobody sees it. */
export const heartbeats: Readonly<Record<Framing, Buffer>> = {
  chunked: frame(':\n', 'chunked'),
  plain: Buffer.from(':\n'),
};

/** What ends a body so that the client knows it was ended on purpose. */
export const terminators: Readonly<Record<Framing, Buffer>> = {
  chunked: Buffer.from('0\r\n\r\n'),
  plain: Buffer.alloc(0),
};

/**
 * The head of a stream. `more`: headers beside those of every stream, or instead of them; CORS for browsers. Names and
 * values that no header can have are left out.
 */
export function streamHead(
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
    // Whoever brings headers of CORS decides for himself which origins may read.
    ...(Object.keys(more).length === 0 && { 'Access-Control-Allow-Origin': '*' }),
    'X-Accel-Buffering': 'no',
  };
  if (environmentId !== undefined && /^[!-~]+$/.test(environmentId)) headers['X-LD-EnvID'] = environmentId;
  if (framing === 'chunked') headers['Transfer-Encoding'] = 'chunked';
  for (const [name, value] of Object.entries(more)) {
    if (!/^[\w-]+$/.test(name) || !/^[\t -~]*$/.test(value)) continue;
    const known = Object.keys(headers).find((other) => other.toLowerCase() === name.toLowerCase());
    headers[known ?? name] = value;
  }
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return Buffer.from(`HTTP/1.1 200 OK\r\n${lines.join('')}\r\n`);
}

/** Makes heads; the plain one is made once a second. */
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

/** Bytes in pieces as they are handed to sockets: large enough for few writes, small enough that draining shows progress. */
export function piecesOf(bytes: Buffer): Buffer[] {
  const pieces: Buffer[] = [];
  for (let from = 0; from < bytes.length; from += PIECE_BYTES) pieces.push(bytes.subarray(from, from + PIECE_BYTES));
  return pieces;
}
