import type { CredentialKind, StreamKind } from '../ports.ts';

/**
 * Why a stream ended. `client`: the client or its network closed it. `failed`: its data could not be made. `memory`: there was no room for
 * its first answers, or it did not read them while others needed the room.
 */
export type CloseReason = 'client' | 'failed' | 'memory' | 'slow' | 'age' | 'revoked' | 'removed' | 'shutdown';

/**
 * Why a stream was turned away. `memory`: open streams, or those of its environment or address, hold all the memory that they may.
 * `queue`: too many wait for their first payload. `closing`: the relay or the environment is closing, or has no such streams.
 */
export type RefusalReason = 'memory' | 'queue' | 'closing';

/** What was written to every stream of one kind: when the first and the last of its changes arrived, by `performance.now()`. */
interface BroadcastPass {
  readonly environment: string;
  readonly kind: StreamKind;
  readonly since: number;
  readonly until: number;
}

/** Receives the hub's measurements. `family` is the client's name from the opening. */
export interface StreamMeter {
  opened(environment: string, kind: StreamKind, family: string, credentialKind: CredentialKind): void;
  closed(
    environment: string,
    kind: StreamKind,
    family: string,
    reason: CloseReason,
    credentialKind: CredentialKind,
  ): void;
  refused(environment: string, reason: RefusalReason): void;
  /** One that was opened may get its first payload, at once or after a wait. */
  admitted(environment: string): void;
  /** It was closed before that. */
  unserved(environment: string, reason: CloseReason): void;
  /** Work for streams threw; those that it was for are closed. */
  failed(environment: string, kind: StreamKind, error: unknown): void;
  /** Bytes handed to sockets, framing included. */
  wrote(bytes: number): void;
  /** A change was written to every connection that accepts it; counted from the arrival of the bytes that caused it. */
  broadcast(durationMs: number, pass: BroadcastPass): void;
  /** A whole set was serialised. */
  snapshot(environment: string, kind: StreamKind, bytes: number): void;
}

const ignore = () => {};
export const silentMeter: StreamMeter = {
  opened: ignore,
  closed: ignore,
  refused: ignore,
  admitted: ignore,
  unserved: ignore,
  failed: ignore,
  wrote: ignore,
  broadcast: ignore,
  snapshot: ignore,
};
