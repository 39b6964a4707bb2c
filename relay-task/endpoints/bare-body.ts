/** Reads the body of a request whose socket has left node:http to become a stream: RFC 9112 sections 6 and 7.1. */
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { Holding } from './holdings.ts';
import { createCrumbCount } from './pieces.ts';
import { Refusal } from './reply.ts';
import { createCollector, endedEarly } from './request-body.ts';

interface BareBodyOptions {
  readonly limitBytes: number;
  readonly timeoutMs: number;
  readonly memory: Holding;
}

/** Takes bytes as they arrive; true at the end of the body. Throws Refusal 400. */
type Deframe = (bytes: Buffer, take: (piece: Buffer) => void) => boolean;

const LF = 0x0a;
/** A line with a chunk's size and extensions, or all trailers. */
const MAX_LINES_BYTES = 8 * 1024;
/** Of all chunk extensions of a body; clients send none. */
const MAX_EXTENSIONS_BYTES = 16 * 1024;

const TOKEN = "[!#$%&'*+.^_`|~\\w-]+";
const QUOTED = '"(?:[\\t !#-[\\]-~\\x80-\\xff]|\\\\[\\t -~\\x80-\\xff])*"';
const SIZE_LINE = new RegExp(`^0*([\\da-f]{1,8})((?:;${TOKEN}(?:=(?:${TOKEN}|${QUOTED}))?)*)$`, 'i');
const TRAILER = new RegExp(`^${TOKEN}:[\\t -~\\x80-\\xff]*$`);
/** Trailers that would change where the body ends (RFC 9110 section 6.5.1). */
const FRAMING = /^(?:content-length|transfer-encoding):/i;

/**
 * Resolves with the body as it was sent, leaving the socket paused and without listeners. `head`: bytes that arrived with the
 * request's head. Rejects with Refusal: 400, 408, 413, 503.
 */
export function readBareBody(
  socket: Socket,
  head: Buffer,
  { headers, httpVersion }: IncomingMessage,
  { limitBytes, timeoutMs, memory }: BareBodyOptions,
): Promise<Buffer> {
  const collector = createCollector(limitBytes, memory);
  const isCrumb = createCrumbCount(socket);
  return new Promise((resolve, reject) => {
    const settle = (finish: () => void) => {
      clearTimeout(timer);
      socket.off('data', onData).off('end', onGone).off('close', onGone);
      socket.pause();
      finish();
    };
    const fail = (error: unknown) => settle(() => reject(error));
    const done = () => {
      try {
        const body = collector.finish();
        settle(() => resolve(body));
      } catch (error) {
        fail(error);
      }
    };
    const onGone = () => fail(endedEarly());
    const onData = (bytes: Buffer) => {
      let pointless = false;
      try {
        const over = deframe(bytes, (piece) => {
          if (isCrumb(piece.length)) throw new Refusal(400, 'the body comes in too many chunks of a few bytes');
          pointless ||= collector.add(piece);
        });
        if (over || pointless) done();
      } catch (error) {
        fail(error);
      }
    };
    const timer = setTimeout(() => fail(new Refusal(408, `the body did not arrive within ${timeoutMs} ms`)), timeoutMs);
    let deframe: Deframe;
    try {
      deframe = deframerFor(headers);
    } catch (error) {
      return fail(error);
    }
    if (headers.expect !== undefined && httpVersion !== '1.0' && head.length === 0) {
      socket.write('HTTP/1.1 100 Continue\r\n\r\n');
    }
    socket.on('data', onData).on('end', onGone).on('close', onGone);
    socket.resume();
    // Even without bytes, since there may be no body.
    onData(head);
  });
}

/** The head was checked: its length is a number, and its only coding is chunked. */
function deframerFor(headers: IncomingHttpHeaders): Deframe {
  return headers['transfer-encoding'] === undefined ? byLength(Number(headers['content-length'] ?? 0)) : byChunks();
}

function byLength(lengthBytes: number): Deframe {
  let left = lengthBytes;
  return (bytes, take) => {
    const piece = bytes.subarray(0, left);
    left -= piece.length;
    if (piece.length > 0) take(piece);
    return left === 0;
  };
}

/** As strict as node:http: no other reader along the way may see another end of the body. */
function byChunks(): Deframe {
  let line = '';
  let left = 0;
  let trailersBytes = 0;
  let extensionsBytes = 0;
  let expects: 'size' | 'data' | 'end of chunk' | 'trailer' = 'size';
  return (bytes, take) => {
    let rest = bytes;
    while (rest.length > 0) {
      if (expects === 'data') {
        const piece = rest.subarray(0, left);
        left -= piece.length;
        rest = rest.subarray(piece.length);
        take(piece);
        if (left === 0) expects = 'end of chunk';
        continue;
      }
      const lineEnd = rest.indexOf(LF);
      const part = lineEnd < 0 ? rest : rest.subarray(0, lineEnd);
      if (trailersBytes + line.length + part.length > MAX_LINES_BYTES) throw tooLong();
      line += part.toString('latin1');
      if (lineEnd < 0) return false;
      rest = rest.subarray(lineEnd + 1);
      const text = line;
      line = '';
      if (!text.endsWith('\r')) throw new Refusal(400, 'a line between the chunks of the body must end in CR LF');
      const content = text.slice(0, -1);
      if (expects === 'trailer') {
        trailersBytes += text.length + 1;
        if (content === '') return true;
        checkTrailer(content);
      } else if (expects === 'end of chunk') {
        if (content !== '') throw new Refusal(400, 'a chunk of the body is longer than its size line says');
        expects = 'size';
      } else {
        const { sizeBytes, extensions } = readSizeLine(content);
        extensionsBytes += extensions.length;
        if (extensionsBytes > MAX_EXTENSIONS_BYTES) throw tooManyExtensions();
        left = sizeBytes;
        expects = left === 0 ? 'trailer' : 'data';
      }
    }
    return false;
  };
}

/** Extensions after the size are checked and ignored. */
function readSizeLine(line: string): { readonly sizeBytes: number; readonly extensions: string } {
  const [, digits, extensions = ''] = SIZE_LINE.exec(line) ?? [];
  if (digits !== undefined) return { sizeBytes: Number.parseInt(digits, 16), extensions };
  throw new Refusal(400, 'the line before a chunk of the body must be a hexadecimal size, with extensions at most');
}

function checkTrailer(line: string): void {
  if (TRAILER.test(line) && !FRAMING.test(line)) return;
  throw new Refusal(400, 'a line after the last chunk is not a trailer field');
}

function tooLong(): Refusal {
  return new Refusal(400, `a line between the chunks of the body, or its trailers, exceed ${MAX_LINES_BYTES} bytes`);
}

function tooManyExtensions(): Refusal {
  return new Refusal(400, `the chunk extensions of the body exceed ${MAX_EXTENSIONS_BYTES} bytes`);
}
