/** Reads the body of a request whose socket has left node:http to become a stream: RFC 9112 sections 6 and 7.1. */
import type { IncomingHttpHeaders } from 'node:http';
import type { Socket } from 'node:net';
import { Refusal } from './reply.ts';
import { createCollector, endedEarly } from './request-body.ts';

export interface BareBodyOptions {
  readonly limitBytes: number;
  readonly timeoutMs: number;
}

/** Takes bytes as they arrive; true at the end of the body. Throws Refusal 400. */
type Deframe = (bytes: Buffer, take: (piece: Buffer) => void) => boolean;

/** A line of chunked framing or of trailers. */
const MAX_LINE_BYTES = 8 * 1024;

/**
 * Resolves with the body as it was sent, leaving the socket paused and without listeners. `head`: bytes that arrived with the
 * request's head. Rejects with Refusal: 400, 408, 413.
 */
export function readBareBody(
  socket: Socket,
  head: Buffer,
  headers: IncomingHttpHeaders,
  { limitBytes, timeoutMs }: BareBodyOptions,
): Promise<Buffer> {
  const collector = createCollector(limitBytes);
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
    if (headers.expect?.toLowerCase() === '100-continue' && head.length === 0) {
      socket.write('HTTP/1.1 100 Continue\r\n\r\n');
    }
    socket.on('data', onData).on('end', onGone).on('close', onGone);
    socket.resume();
    // Even without bytes, since there may be no body.
    onData(head);
  });
}

function deframerFor(headers: IncomingHttpHeaders): Deframe {
  const coding = headers['transfer-encoding'];
  if (coding === undefined) return byLength(Number(headers['content-length'] ?? 0));
  if (coding.trim().toLowerCase() === 'chunked') return byChunks();
  throw new Refusal(400, 'Transfer-Encoding must be chunked');
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

function byChunks(): Deframe {
  let line = Buffer.alloc(0);
  let left = 0;
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
      const lineEnd = rest.indexOf('\n');
      line = Buffer.concat([line, lineEnd < 0 ? rest : rest.subarray(0, lineEnd)]);
      if (line.length > MAX_LINE_BYTES) throw new Refusal(400, 'a line between the chunks of the body is too long');
      if (lineEnd < 0) return false;
      rest = rest.subarray(lineEnd + 1);
      const text = line.toString('latin1').replace(/\r$/, '');
      line = Buffer.alloc(0);
      if (expects === 'trailer') {
        if (text === '') return true;
      } else if (expects === 'end of chunk') {
        if (text !== '') throw new Refusal(400, 'a chunk of the body is longer than its size line says');
        expects = 'size';
      } else {
        left = chunkSize(text);
        expects = left === 0 ? 'trailer' : 'data';
      }
    }
    return false;
  };
}

/** Extensions after the size are ignored. */
function chunkSize(line: string): number {
  const [, digits] = /^([0-9a-f]{1,8})[ \t]*(?:;.*)?$/i.exec(line) ?? [];
  if (digits === undefined) throw new Refusal(400, 'a chunk of the body has no size');
  return Number.parseInt(digits, 16);
}
