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
  /** Resolves with undefined while there is nothing to start from, or when `closing` was aborted. */
  open(sinkOf: SinkOf, closing: AbortSignal): Promise<TenantUpstream | undefined>;
  readonly sinkOf: SinkOf;
  onStarted(): void;
}) {
  const { name, log, description } = options;
  const background = createBackground();
  let starting = true;
  let retry: NodeJS.Timeout | undefined;
  let problem: EnvironmentDescription['keyProblem'];
  const closing = new AbortController();
  const members = createMembers({
    sinkOf: options.sinkOf,
    onPromoted() {
      problem = undefined;
    },
    onLeft: (upstream) => background.add(upstream.close()),
  });

  async function start(): Promise<void> {
    if (closing.signal.aborted) return;
    starting = true;
    const member = members.begin(description());
    try {
      member.upstream = await options.open(members.sinkOf(member), closing.signal);
      if (closing.signal.aborted) return await member.upstream?.close();
      if (!member.upstream || !members.active?.upstream) members.promote(member);
      starting = false;
      follow();
      options.onStarted();
    } catch (error) {
      starting = false;
      members.leaveNext();
      tryAgain((error as Error).message);
      throw error;
    }
  }

  function tryAgain(reason: string): void {
    if (members.active?.upstream) problem = { since: problem?.since ?? Date.now(), message: `${reason}; ${STILL}` };
    retry = setTimeout(() => {
      // Logged only here: where the configuration itself is wrong, the relay exits with this reason before.
      log.error('Could not start the flag source for the environment; retrying', {
        environment: name,
        reason,
        runbook: 'operations.md#broken-flags-files',
      });
      start().catch(() => {});
    }, RETRY_MS);
    retry.unref();
  }

  function follow(): void {
    const wanted = description();
    // A start in progress looks for changes itself when it is done.
    if (starting || wanted === members.latest?.followed) return;
    if (members.next && !isSameSource(wanted, members.next.followed)) members.leaveNext();
    const { latest } = members;
    if (!latest || !isSameSource(wanted, latest.followed)) {
      clearTimeout(retry);
      background.add(start());
      return;
    }
    if (latest === members.active) {
      // What could not be started is no longer wanted.
      clearTimeout(retry);
      problem = undefined;
    }
    const { sdkKey } = latest.followed;
    latest.followed = wanted;
    if (wanted.sdkKey !== undefined && wanted.sdkKey !== sdkKey) latest.upstream?.setKey?.(wanted.sdkKey);
  }

  return {
    /** Undefined while there is none: before the first start, or without a key. */
    present: () => members.active?.upstream,
    /** Rejects when the upstream cannot be started; it is tried again then. */
    start,
    /** The description has changed. */
    follow,
    /** Set while another source cannot be started, so that the one before it stays in use. */
    problem(): EnvironmentDescription['keyProblem'] {
      const { active, next } = members;
      if (!active || !next?.upstream) return problem;
      const reason = next.upstream.status().lastError?.message ?? 'no answer so far';
      return { since: next.since, message: `the new source has delivered no flags yet (${reason}); ${STILL}` };
    },
    async close(): Promise<void> {
      closing.abort();
      clearTimeout(retry);
      members.leaveNext();
      members.leaveActive();
      await background.ended();
    },
  };
}

/** The source in use and the one that follows it, if there is any. */
function createMembers(options: {
  readonly sinkOf: SinkOf;
  onPromoted(): void;
  onLeft(upstream: TenantUpstream): void;
}) {
  let active: Member | undefined;
  /** Opened, but it has not delivered yet. */
  let next: Member | undefined;

  function leave(member: Member | undefined): void {
    if (!member || member.left) return;
    member.left = true;
    if (member.upstream) options.onLeft(member.upstream);
  }

  /** From now on this is the source. */
  function promote(member: Member): void {
    if (member === active) return;
    leave(active);
    active = member;
    next = undefined;
    options.onPromoted();
  }

  return {
    get active() {
      return active;
    },
    get next() {
      return next;
    },
    get latest() {
      return next ?? active;
    },
    begin(followed: EnvironmentDescription): Member {
      next = { followed, upstream: undefined, since: Date.now(), left: false };
      return next;
    },
    promote,
    leaveNext() {
      leave(next);
      next = undefined;
    },
    leaveActive: () => leave(active),
    /** Data of a member that was left, or of one that has not delivered its whole set, changes nothing. */
    sinkOf:
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
      },
  };
}

/** Whether an upstream can be kept under the next description; a changed key is handed to it. */
function isSameSource(a: EnvironmentDescription, b: EnvironmentDescription): boolean {
  const sameKeys = (a.sdkKey === undefined) === (b.sdkKey === undefined);
  return sameKeys && a.flagsFile === b.flagsFile && a.data?.id === b.data?.id;
}
