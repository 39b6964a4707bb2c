/** The spool as the events that came with one credential use it. */
import { hash } from 'node:crypto';
import { forgetOldest } from '../common/forget-oldest.ts';
import type { CredentialKind } from '../ports.ts';
import type { Keeping } from './keeping.ts';
import type { Metadata } from './metadata.ts';
import type { Spool } from './spool.ts';

interface CredentialSpoolOptions {
  readonly environment: string;
  readonly kind: CredentialKind;
  readonly credential: string;
  /** LaunchDarkly's ID of its environment, as far as is known. Must not throw. */
  readonly environmentId: () => string | undefined;
  /** So many events are for another process. */
  readonly left: (events: number) => void;
}

export function createCredentialSpool(
  spool: Spool,
  { environment, kind, credential, environmentId, left }: CredentialSpoolOptions,
) {
  const name = { environment, kind, digest: digestOf(credential) };
  const { assign, free, settle, isTaken, written } = spool;
  let leaves = false;
  return {
    /** A body was taken in to its end. */
    body: (id: string) => spool.body({ environment, key: JSON.stringify({ ...name, of: environmentId() }) }, id),
    written,
    keepingOf(about: Metadata): Keeping {
      const queueOf = (of: string | undefined) => ({ environment, of, key: JSON.stringify({ ...name, of, about }) });
      let queue = queueOf(undefined);
      return {
        keep(batch) {
          const of = environmentId();
          if (of !== queue.of) queue = queueOf(of);
          return spool.keep(queue, batch);
        },
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
  const known = digests.get(credential);
  if (known !== undefined) return known;
  const digest = hash('sha256', `edge-flag-relay events ${credential}`).slice(0, DIGEST_CHARACTERS);
  forgetOldest(digests, MOST_DIGESTS - 1);
  digests.set(credential, digest);
  return digest;
}

const DIGEST_CHARACTERS = 32;
/** Far more than a relay has credentials. Kept, since replay compares those of all environments. */
const MOST_DIGESTS = 20_000;
const digests = new Map<string, string>();
