import { hash } from 'node:crypto';
import type { BigSegmentsAnswer } from '../../lib/evaluation/index.ts';
import { type Attributes, type Key, namespaces } from '../../lib/flag-table/index.ts';

/** Like LaunchDarkly's SDKs: memberships are cached for 5 s, and are stale 120 s after the last synchronisation. */
const REMEMBER_MS = 5_000;
const STALE_MS = 120_000;
const MOST_REMEMBERED = 1_000;

export type Answers = Map<string, BigSegmentsAnswer>;

export interface BigSegments {
  /** The cached answer for a context key, if it was read within the last 5 s. */
  remembered(contextKey: string): BigSegmentsAnswer | undefined;
  /** Reads the keys from the table and sets an answer for each. Never rejects: on failure the answers are STORE_ERROR and are not cached. */
  load(contextKeys: Iterable<string>, answers: Answers): Promise<void>;
}

/** Big Segment memberships as LaunchDarkly's stores keep them. Expiry is fixed; the Node SDK's slides, so that it never reads a busy key again. */
export function createBigSegments(options: {
  readonly prefix: string;
  get(keys: readonly Key[]): Promise<readonly (Attributes | undefined)[]>;
  now(): number;
}): BigSegments {
  const { prefix, get, now } = options;
  const { bigSegmentsMetadata, bigSegmentsUser } = namespaces(prefix);
  const memory = new Map<string, { readAt: number; membership: Record<string, boolean>; synchronizedOn: number }>();

  const remembered = (contextKey: string): BigSegmentsAnswer | undefined => {
    const found = memory.get(contextKey);
    if (!found || now() - found.readAt >= REMEMBER_MS || now() < found.readAt) return undefined;
    return { status: now() - found.synchronizedOn < STALE_MS ? 'HEALTHY' : 'STALE', membership: found.membership };
  };

  return {
    remembered,
    async load(contextKeys, answers) {
      const keys = [...contextKeys];
      const readAt = now();
      try {
        const [metadata, ...users] = await get([
          { namespace: bigSegmentsMetadata, key: bigSegmentsMetadata },
          ...keys.map((key) => ({ namespace: bigSegmentsUser, key: hash('sha256', key, 'base64') })),
        ]);
        if (memory.size + keys.length > MOST_REMEMBERED) memory.clear();
        for (const [index, key] of keys.entries()) {
          const membership: Record<string, boolean> = Object.create(null);
          // `included` takes precedence.
          for (const ref of refs(users[index], 'excluded')) membership[ref] = false;
          for (const ref of refs(users[index], 'included')) membership[ref] = true;
          memory.set(key, { readAt, membership, synchronizedOn: Number(Object(metadata?.synchronizedOn).N ?? 0) });
          answers.set(key, remembered(key) ?? { status: 'STALE', membership });
        }
      } catch {
        for (const key of keys) answers.set(key, { status: 'STORE_ERROR' });
      }
    },
  };
}

const refs = (attributes: Attributes | undefined, name: string): readonly string[] =>
  Object(attributes?.[name]).SS ?? [];
