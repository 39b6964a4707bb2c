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

/** The head of every stream. CORS for browsers is the business of the routes that browsers use. */
export function streamHead(framing: Framing, environmentId: string | undefined, now: Date): Buffer {
  const lines = [
    'HTTP/1.1 200 OK',
    `Date: ${now.toUTCString()}`,
    'Content-Type: text/event-stream; charset=utf-8',
    'Cache-Control: no-cache, no-store, must-revalidate',
    framing === 'chunked' ? 'Connection: keep-alive' : 'Connection: close',
    'Access-Control-Allow-Origin: *',
    'X-Accel-Buffering: no',
  ];
  if (environmentId !== undefined && /^[!-~]+$/.test(environmentId)) lines.push(`X-LD-EnvID: ${environmentId}`);
  if (framing === 'chunked') lines.push('Transfer-Encoding: chunked');
  return Buffer.from(`${lines.join('\r\n')}\r\n\r\n`);
}
