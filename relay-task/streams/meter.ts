import type { CredentialKind } from '../ports.ts';
import type { StreamKind } from './messages.ts';

/** Why a stream ended. `client`: it went away itself, or its network did. */
export type CloseReason = 'client' | 'slow' | 'age' | 'revoked' | 'removed' | 'shutdown';

/** What the hub tells of its doings. `family` is whatever the caller of `open` named the client. */
export interface StreamMeter {
  opened(environment: string, kind: StreamKind, family: string, credentialKind: CredentialKind): void;
  closed(
    environment: string,
    kind: StreamKind,
    family: string,
    reason: CloseReason,
    credentialKind: CredentialKind,
  ): void;
  /** A stream was turned away because too many were waiting for their first payload, or because the relay is closing. */
  refused(environment: string): void;
  /** Bytes handed to sockets, framing included. */
  wrote(bytes: number): void;
  /** A change has been written to everyone who can take it; counted from the arrival of the bytes that caused it. */
  broadcast(durationMs: number): void;
  /** A whole set was put together. */
  snapshot(environment: string, kind: StreamKind, bytes: number): void;
}

const ignore = () => {};
export const silentMeter: StreamMeter = {
  opened: ignore,
  closed: ignore,
  refused: ignore,
  wrote: ignore,
  broadcast: ignore,
  snapshot: ignore,
};
