/** How node:http reads requests: those for streams are upgrades, and bodies that come in crumbs end their connection. */
import { IncomingMessage } from 'node:http';
import { createPacedLines } from '../common/paced-lines.ts';
import type { Log } from '../ports.ts';
import { clientAddress } from './client-address.ts';
import type { Dispatcher } from './dispatch.ts';
import { createCrumbCount, ignoreBodies } from './pieces.ts';
import { isOneTooMany } from './pipelining.ts';

export interface ListenerOptions {
  readonly log: Log;
  /** How long a client may take to send the head of a request: 10,000 ms. */
  readonly headersTimeoutMs?: number;
  /**
   * How long an idle connection stays open: 4,010,000 ms. It must exceed the load balancer's idle timeout (at most 4,000 s on
   * an ALB), or a request sent just as the relay closes becomes a 502. An idle socket costs a few KB.
   */
  readonly keepAliveTimeoutMs?: number;
  /** The largest head of a request: 64 KiB, an ALB's limit. */
  readonly maxHeaderBytes?: number;
}

export function listenerOptions(options: ListenerOptions, { asksForStream }: Pick<Dispatcher, 'asksForStream'>) {
  const tell = createPacedLines();
  class Request extends IncomingMessage {
    #upgrade: boolean | undefined;
    readonly #isCrumb = createCrumbCount(this.socket);

    /** node:http calls this for each piece of a body, including one that waits and one that is not read. */
    override push(piece: Buffer | null, encoding?: BufferEncoding): boolean {
      if (piece === null) return super.push(null);
      if (this.socket.destroyed) return false;
      if (!this.#isCrumb(piece.length)) return super.push(piece, encoding);
      const address = clientAddress(this);
      tell('crumbs', (more) =>
        options.log.warn('A connection was closed: bodies come in too many pieces of a few bytes', {
          address,
          ...more,
        }),
      );
      ignoreBodies(this.socket);
      this.socket.destroy();
      return false;
    }

    /** As node:http's, which would parse the rest without showing it to `push`. */
    _dump(): void {
      this.removeAllListeners('data');
      this.resume();
    }
    /** node:http reads this before anything after the head. The client's own Upgrade header has no effect. */
    get upgrade(): boolean {
      // Of requests above the limit no more is parsed. The answer must not change while others are written.
      this.#upgrade ??= isOneTooMany(this) || asksForStream(this);
      return this.#upgrade;
    }
    set upgrade(_value: unknown) {}
  }
  const { headersTimeoutMs = 10_000 } = options;
  return {
    IncomingMessage: Request as unknown as typeof IncomingMessage,
    headersTimeout: headersTimeoutMs,
    keepAliveTimeout: options.keepAliveTimeoutMs ?? 4_010_000,
    connectionsCheckingInterval: Math.min(5_000, headersTimeoutMs),
    // It is checked with everything else that node:http accepts, for streams as well.
    requireHostHeader: false,
    maxHeaderSize: options.maxHeaderBytes ?? 64 * 1024,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: 60_000,
  };
}
