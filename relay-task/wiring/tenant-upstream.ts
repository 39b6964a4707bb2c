/** The upstream of one tenant: started, tried again, and kept to the description that the source gives at present. */
import type { EnvironmentDescription, Log, Upstream, UpstreamSink } from '../ports.ts';
import { createBackground } from './background.ts';

export interface TenantUpstream extends Upstream {
  /** Another key for the same data; absent where no key is used. */
  setKey?(sdkKey: string): void;
  /** Set while a new key is rejected and the one before it is still used. */
  keyProblem?(): EnvironmentDescription['keyProblem'];
}

/** Where data of this source goes, see `sourceOf`. */
export type SinkOf = (source: string) => UpstreamSink;

export interface FollowingUpstream {
  /** Undefined while there is none: before the first start, or without a key. */
  present(): TenantUpstream | undefined;
  /** Rejects when the upstream cannot be started; it is tried again then. */
  start(): Promise<void>;
  /** The description has changed. */
  follow(): void;
  /** Set while another source cannot be started, so that the one before it stays in use. */
  problem(): EnvironmentDescription['keyProblem'];
  close(): Promise<void>;
}

const RETRY_MS = 5_000;
const STILL = 'the source before it stays in use';

/** One source that was opened, or is being opened. */
interface Member {
  /** The description that it was started for or has followed since. */
  followed: EnvironmentDescription;
  /** Undefined while it is being opened. */
  upstream: TenantUpstream | undefined;
  /** Unix ms. */
  readonly since: number;
  left: boolean;
}

/** When the description names another source, the earlier one stays in use until the new one has delivered. */
export function createFollowingUpstream(options: {
  readonly name: string;
  readonly log: Log;
  description(): EnvironmentDescription;
  /** Resolves with undefined while there is nothing to start from. */
  open(sinkOf: SinkOf): Promise<TenantUpstream | undefined>;
  readonly sinkOf: SinkOf;
  onStarted(): void;
}): FollowingUpstream {
  const { name, log, description } = options;
  const background = createBackground();
  let active: Member | undefined;
  /** Opened, but it has not delivered yet. */
  let next: Member | undefined;
  let starting = true;
  let retry: NodeJS.Timeout | undefined;
  let problem: EnvironmentDescription['keyProblem'];
  let closed = false;

  function leave(member: Member | undefined): void {
    if (!member || member.left) return;
    member.left = true;
    if (member.upstream) background.add(member.upstream.close());
  }

  /** From now on this is the source. */
  function promote(member: Member): void {
    if (member === active) return;
    leave(active);
    active = member;
    next = undefined;
    problem = undefined;
  }

  /** Data of a member that was left, or of one that has not delivered its whole set, changes nothing. */
  const gated =
    (member: Member): SinkOf =>
    (source) => {
      const sink = options.sinkOf(source);
      return {
        put(items, unreadable, receivedAt) {
          if (member.left) return;
          promote(member);
          sink.put(items, unreadable, receivedAt);
        },
        upsert: (item, receivedAt) => void (member === active && sink.upsert(item, receivedAt)),
        skip: (item) => void (member === active && sink.skip(item)),
      };
    };

  async function start(): Promise<void> {
    if (closed) return;
    starting = true;
    const member: Member = { followed: description(), upstream: undefined, since: Date.now(), left: false };
    next = member;
    try {
      member.upstream = await options.open(gated(member));
      if (closed) return await member.upstream?.close();
      if (!member.upstream || !active?.upstream) promote(member);
      starting = false;
      follow();
      options.onStarted();
    } catch (error) {
      starting = false;
      leave(next);
      next = undefined;
      tryAgain((error as Error).message);
      throw error;
    }
  }

  function tryAgain(reason: string): void {
    if (active?.upstream) problem = { since: problem?.since ?? Date.now(), message: `${reason}; ${STILL}` };
    retry = setTimeout(() => {
      // Logged only here: where the configuration itself is wrong, the relay exits with this reason before.
      log.error('Could not start the flag source for the environment; retrying', { environment: name, reason });
      start().catch(() => {});
    }, RETRY_MS);
    retry.unref();
  }

  function follow(): void {
    const wanted = description();
    // A start in progress looks for changes itself when it is done.
    if (starting || wanted === (next ?? active)?.followed) return;
    if (next && !isSameSource(wanted, next.followed)) {
      leave(next);
      next = undefined;
    }
    const latest = next ?? active;
    if (!latest || !isSameSource(wanted, latest.followed)) {
      clearTimeout(retry);
      background.add(start());
      return;
    }
    if (latest === active) {
      // What could not be started is no longer wanted.
      clearTimeout(retry);
      problem = undefined;
    }
    const { sdkKey } = latest.followed;
    latest.followed = wanted;
    if (wanted.sdkKey !== undefined && wanted.sdkKey !== sdkKey) latest.upstream?.setKey?.(wanted.sdkKey);
  }

  return {
    present: () => active?.upstream,
    start,
    follow,
    problem() {
      if (!active || !next?.upstream) return problem;
      const reason = next.upstream.status().lastError?.message ?? 'no answer so far';
      return { since: next.since, message: `the new source has delivered no flags yet (${reason}); ${STILL}` };
    },
    async close() {
      closed = true;
      clearTimeout(retry);
      leave(next);
      leave(active);
      await background.ended();
    },
  };
}

/** Whether an upstream can go on with the next description; a key that only changes is handed to it. */
function isSameSource(a: EnvironmentDescription, b: EnvironmentDescription): boolean {
  const sameKeys = (a.sdkKey === undefined) === (b.sdkKey === undefined);
  return sameKeys && a.flagsFile === b.flagsFile && a.data?.id === b.data?.id;
}
