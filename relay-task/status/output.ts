/**
 * Where log lines and metrics go: stdout. A full disk, a closed pipe or a pipe that nobody reads costs lines, which are
 * counted, and never the process, its event loop or more than a bounded amount of memory.
 */
import { writeSync } from 'node:fs';
import { Socket } from 'node:net';

/** Lines that wait for a slow reader of a pipe. */
const MAX_WAITING_BYTES = 1_048_576;

export interface Output {
  /** A line with its line feed. Never throws. */
  write(line: string): void;
  /** How many lines were lost since the start. */
  lost(): number;
}

export interface OutputOptions {
  readonly stream?: NodeJS.WriteStream & { readonly fd: number };
  /** Lines are accepted again: how many were lost meanwhile, and why the last one was. May write. */
  onRecovered?(lines: number, reason: string): void;
}

export function createOutput({ stream = process.stdout, onRecovered }: OutputOptions = {}): Output {
  let total = 0;
  let missing = 0;
  let reason = '';

  /** Answers that the line was not sent. */
  function lose(why: string): false {
    total += 1;
    missing += 1;
    reason = why;
    return false;
  }

  // Without a listener the error of a closed pipe would end the process. Other code may write to the stream, too.
  stream.on('error', () => {});
  const send = stream instanceof Socket && !stream.isTTY ? sendToPipe : sendToFile;

  /** Pipes are not blocking: what the reader does not take waits in the stream. */
  function sendToPipe(line: string): boolean {
    if (!stream.writable) return lose('the reader of stdout closed it');
    if (stream.writableLength > MAX_WAITING_BYTES) return lose('nobody reads stdout');
    stream.write(line, (error) => {
      if (error) lose(error.message);
    });
    return stream.writableLength === 0;
  }

  /** Not through the stream, which would be destroyed by the first error, also if the disk has room again later. */
  function sendToFile(line: string): boolean {
    try {
      const bytes = Buffer.from(line);
      for (let sent = 0; sent < bytes.length; ) sent += writeSync(stream.fd, bytes, sent);
      return true;
    } catch (error) {
      return lose((error as Error).message);
    }
  }

  return {
    write(line) {
      if (!send(line) || missing === 0) return;
      const lines = missing;
      missing = 0;
      onRecovered?.(lines, reason);
    },
    lost: () => total,
  };
}
