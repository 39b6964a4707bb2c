/**
 * Where log lines and metrics go: stdout. A full disk, a closed pipe, or a pipe or a terminal that takes nothing costs lines,
 * which are counted, and never the process, its event loop or more than a bounded amount of memory.
 */
import { constants, openSync, writeSync } from 'node:fs';
import { Socket } from 'node:net';

/** Lines that wait for a slow reader of a pipe, or for a terminal. */
const MAX_WAITING_BYTES = 1_048_576;
const LINE_FEED = 0x0a;
/** Between two looks whether a terminal takes output again. */
const TERMINAL_MS = 100;

/** A line with its line feed, to stdout as it is: for what runs without a relay's output. */
export function writeToStdout(line: string): void {
  process.stdout.write(line);
}

export interface Output {
  /** A line with its line feed. Never throws. */
  write(line: string): void;
  /** How many lines were lost since the start. */
  lost(): number;
  /** Set while no lines are accepted; `since`: Unix ms. */
  losing(): { readonly since: number; readonly reason: string } | undefined;
}

interface OutputOptions {
  readonly stream?: NodeJS.WriteStream & { readonly fd: number };
  /** Lines are accepted again: how many were lost meanwhile, and why the last one was. May write. */
  onRecovered?(lines: number, reason: string): void;
}

export function createOutput({ stream = process.stdout, onRecovered }: OutputOptions = {}): Output {
  let total = 0;
  let missing = 0;
  let reason = '';
  let since = 0;

  /** Answers that the line was not sent. */
  function lose(why: string): false {
    if (missing === 0) since = Date.now();
    total += 1;
    missing += 1;
    reason = why;
    return false;
  }

  // Without a listener the error of a closed pipe would end the process. Other code may write to the stream, too.
  stream.on('error', () => {});
  const send = stream.isTTY ? createTerminal(stream.fd, lose) : stream instanceof Socket ? sendToPipe : sendToFile;

  /** Pipes are not blocking: what the reader does not take waits in the stream. */
  function sendToPipe(line: string): boolean {
    if (!stream.writable) return lose('the reader of stdout closed it');
    if (stream.writableLength > MAX_WAITING_BYTES) return lose('nobody reads stdout');
    stream.write(line, (error) => {
      if (error) lose(error.message);
    });
    return stream.writableLength === 0;
  }

  let isTorn = false;
  /** Not through the stream, which would be destroyed by the first error, also if the disk has room again later. */
  function sendToFile(line: string): boolean {
    // A disk may take the beginning of a line. The next one does not become its end.
    const bytes = Buffer.from(isTorn ? `\n${line}` : line);
    let sent = 0;
    try {
      while (sent < bytes.length) sent += writeSync(stream.fd, bytes, sent);
      isTorn = false;
      return true;
    } catch (error) {
      if (sent > 0) isTorn = bytes[sent - 1] !== LINE_FEED;
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
    losing: () => (missing > 0 ? { since, reason } : undefined),
  };
}

/**
 * Sends lines to a terminal, which takes none after Ctrl-S, or while the other end of its ssh session is stuck. Node.js writes
 * to terminals synchronously, so the terminal is opened once more, not blocking. The function answers whether nothing waits;
 * `lose` is called for each lost line.
 */
function createTerminal(fd: number, lose: (why: string) => false): (line: string) => boolean {
  const own = openTerminal(fd) ?? fd;
  let waiting: Buffer[] = [];
  let waitingBytes = 0;
  let timer: NodeJS.Timeout | undefined;

  function sendWaiting(): void {
    timer = undefined;
    try {
      for (;;) {
        const [first] = waiting;
        if (first === undefined) return;
        const sent = writeSync(own, first);
        waitingBytes -= sent;
        if (sent === first.length) waiting.shift();
        else waiting[0] = first.subarray(sent);
      }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EAGAIN') {
        timer = setTimeout(sendWaiting, TERMINAL_MS).unref();
        return;
      }
      // The terminal is gone.
      for (const _ of waiting) lose((error as Error).message);
      waiting = [];
      waitingBytes = 0;
    }
  }

  return (line) => {
    if (waitingBytes > MAX_WAITING_BYTES) return lose('the terminal takes no output');
    const bytes = Buffer.from(line);
    waiting.push(bytes);
    waitingBytes += bytes.length;
    if (timer === undefined) sendWaiting();
    return waitingBytes === 0;
  };
}

/**
 * The terminal behind a descriptor, not blocking for this process alone. Undefined where it cannot be opened, as outside Linux: then
 * writing to it blocks.
 */
function openTerminal(fd: number): number | undefined {
  try {
    return openSync(`/proc/self/fd/${fd}`, constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch {
    return undefined;
  }
}
