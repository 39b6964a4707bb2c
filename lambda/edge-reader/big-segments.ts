import { hash } from 'node:crypto';
import type { BigSegmentsAnswer } from '../../lib/evaluation/index.ts';
import { type Attributes, inNamespace, type Key } from '../../lib/flag-table/index.ts';

/** Like LaunchDarkly's SDKs: memberships are cached for 5 s, and are stale 120 s after the last synchronisation. */
const REMEMBER_MS = 5_000;
const STALE_MS = 120_000;
const MOST_REMEMBERED = 1_000;

/** The answers that a call has loaded; only `BigSegments` looks inside. */
export type Answers = Map<string, BigSegmentsAnswer>;

interface BigSegments {
  /**
   * The answer for a context key, if it was loaded for the call, or read within the last 5 s. `loaded` undefined: for a call that cannot load, to
   * which a read that failed within the last 5 s is an answer, too.
   */
  answer(contextKey: string, loaded: Answers | undefined): BigSegmentsAnswer | undefined;
  /**
   * Reads the keys from the table and sets an answer for each. Never rejects: without members that may be used, the answer is
   * what was known last, as STALE, or STORE_ERROR; it is not cached.
   */
  load(contextKeys: Iterable<string>, loaded: Answers): Promise<void>;
}

/** Big Segment memberships as LaunchDarkly's stores keep them. Expiry is fixed; the Node SDK's slides, so that it never reads a busy key again. */
export function createBigSegments(options: {
  readonly prefix: string;
  get(keys: readonly Key[]): Promise<readonly (Attributes | undefined)[]>;
  /** Whose flags are evaluated: a hash of the SDK key, and after a dot LaunchDarkly's ID of the environment if it is known. */
  source(): string | undefined;
  now(): number;
}): BigSegments {
  const { prefix, get, source, now } = options;
  const ofMetadata = inNamespace(prefix, 'big_segments_metadata');
  const namespace = inNamespace(prefix, 'big_segments_user');
  const memory = new Map<string, { readAt: number; membership: Record<string, boolean>; synchronizedOn: number }>();
  /** When reads failed, by context. */
  const failures = new Map<string, number>();

  const owner = () => (source() ?? '').split('.');
  /** What was read for one environment's flags is never used for another's. */
  const id = (contextKey: string) => `${owner().pop()}\n${contextKey}`;

  const isRecent = (at: number | undefined) => now() >= (at as number) && now() - (at as number) < REMEMBER_MS;

  const remembered = (key: string): BigSegmentsAnswer | undefined => {
    const found = memory.get(key);
    if (!found || !isRecent(found.readAt)) return undefined;
    return { status: now() - found.synchronizedOn < STALE_MS ? 'HEALTHY' : 'STALE', membership: found.membership };
  };

  /** Without members that may be used. */
  const last = (key: string): BigSegmentsAnswer => {
    const membership = memory.get(key)?.membership;
    return { status: membership ? 'STALE' : 'STORE_ERROR', membership };
  };

  return {
    answer(contextKey, loaded) {
      const key = id(contextKey);
      return loaded?.get(key) ?? remembered(key) ?? (!loaded && isRecent(failures.get(key)) ? last(key) : undefined);
    },
    async load(contextKeys, loaded) {
      const keys = [...contextKeys];
      const hashes = keys.map((key) => hash('sha256', key, 'base64'));
      const readAt = now();
      try {
        const [metadata, ...users] = await get([
          { namespace: ofMetadata, key: ofMetadata },
          ...hashes.map((key) => ({ namespace, key })),
        ]);
        if (isUsable(metadata, owner()[1])) {
          if (memory.size + keys.length > MOST_REMEMBERED) memory.clear();
          const at = Number(Object(metadata?.synchronizedOn).N ?? 0);
          for (const [index, key] of keys.map(id).entries()) {
            // The store was emptied, and who fills it has not named the environment yet.
            if (!at && memory.get(key)?.synchronizedOn) continue;
            const membership: Record<string, boolean> = Object.create(null);
            // `included` takes precedence.
            for (const ref of refs(users[index], 'excluded')) membership[ref] = false;
            for (const ref of refs(users[index], 'included')) membership[ref] = true;
            // The relay names contexts whose item lacks segments, `*` for any: such a membership is never in step.
            const lacks = refs(metadata, 'incomplete').some((one) => one === '*' || one === hashes[index]);
            memory.set(key, { readAt, membership, synchronizedOn: lacks ? 0 : at });
          }
        }
      } catch {}
      if (failures.size > MOST_REMEMBERED) failures.clear();
      for (const key of keys.map(id)) {
        const found = remembered(key);
        if (!found) failures.set(key, now());
        loaded.set(key, found ?? last(key));
      }
    },
  };
}

/**
 * False: the members are another environment's, or are being deleted, or the environment's own are not complete yet. A relay
 * names the environment first, and writes the time of synchronisation once everything is there. ld-relay names no environment.
 */
function isUsable(metadata: Attributes | undefined, own: string | undefined): boolean {
  const { environment, emptying, synchronizedOn } = metadata ?? {};
  if (emptying || !environment) return !emptying;
  return synchronizedOn !== undefined && (own === undefined || Object(environment).S === own);
}

const refs = (attributes: Attributes | undefined, name: string): readonly string[] =>
  Object(attributes?.[name]).SS ?? [];
