/** The spool as the events that came with one credential use it. */
import { hash } from 'node:crypto';
import type { CredentialKind } from '../ports.ts';
import type { Keeping } from './keeping.ts';
import type { Metadata } from './metadata.ts';
import type { Spool } from './spool.ts';

interface CredentialSpoolOptions {
  readonly environment: string;
  readonly kind: CredentialKind;
  readonly credential: string;
  /** So many events are for another process. */
  readonly left: (events: number) => void;
}

export function createCredentialSpool(spool: Spool, { environment, kind, credential, left }: CredentialSpoolOptions) {
  const name = { environment, kind, digest: digestOf(credential) };
  const key = JSON.stringify(name);
  const { assign, free, settle, isTaken, written } = spool;
  let leaves = false;
  return {
    /** A body was taken in to its end. */
    body: (id: string) => spool.body({ environment, key }, id),
    written,
    keepingOf(about: Metadata): Keeping {
      const queue = { environment, key: JSON.stringify({ ...name, about }) };
      return {
        keep: (batch) => spool.keep(queue, batch),
        assign,
        free,
        settle,
        isTaken,
        left,
        stays: async () => (leaves ? spool.stays() : () => false),
      };
    },
    /** From now on, what is in the spool may stay there for another process. */
    leave(): void {
      leaves = true;
    },
  };
}

/** Identifies a credential on the disk, and does not tell it. */
export function digestOf(credential: string): string {
  return hash('sha256', `edge-flag-relay events ${credential}`).slice(0, DIGEST_CHARACTERS);
}

const DIGEST_CHARACTERS = 32;
