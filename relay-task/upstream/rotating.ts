import type { Log, Upstream, UpstreamSink, UpstreamStatus } from '../ports.ts';

export interface RotatingOptions {
  readonly sdkKey: string;
  /** Starts the upstream of one key; it tries for ever until it is closed. */
  start(sdkKey: string, sink: UpstreamSink, onStatus: (status: UpstreamStatus) => void): Upstream;
  readonly sink: UpstreamSink;
  onStatus?(status: UpstreamStatus): void;
  readonly log: Log;
}

export interface RotatingUpstream extends Upstream {
  /**
   * Goes over to another key as soon as that has delivered everything. Until then the old one goes on feeding, for ever
   * if the new one is refused, and both are tried.
   */
  setKey(sdkKey: string): void;
  /** Set while LaunchDarkly refuses a new key and the one before it goes on. `since`: Unix ms. */
  keyProblem(): { readonly since: number; readonly message: string } | undefined;
}

interface Member {
  readonly sdkKey: string;
  upstream: Upstream | undefined;
  delivered: boolean;
}

/** An upstream whose key can change without a gap: the new connection has delivered before the old one is let go. */
export function startRotating(options: RotatingOptions): RotatingUpstream {
  const { sink, log } = options;
  const closing = new Set<Promise<void>>();
  let closed = false;
  let active = createMember(options.sdkKey);
  let next: Member | undefined;
  /** What went before, so that a change of key neither hides an error nor looks like an outage. */
  let lastError: UpstreamStatus['lastError'];
  let validBefore: { readonly promotedSince: number; readonly since: number } | undefined;

  function start(member: Member) {
    const present = () => !closed && (member === active || member === next);
    // Before its first `put` a new key has nothing to add to what the old one says.
    const feeds = () => present() && (member === active || member.delivered);
    const memberSink: UpstreamSink = {
      put(items, unreadable, receivedAt) {
        if (!present()) return;
        member.delivered = true;
        sink.put(items, unreadable, receivedAt);
        promoteWhenReady();
      },
      upsert: (item, receivedAt) => void (feeds() && sink.upsert(item, receivedAt)),
      skip: (item) => void (feeds() && sink.skip(item)),
    };
    member.upstream = options.start(member.sdkKey, memberSink, () => {
      if (!present() || !member.upstream) return;
      promoteWhenReady();
      options.onStatus?.(read());
    });
    // It may have delivered while it was started.
    promoteWhenReady();
  }

  /** Not before it is current: a status in between would say that upstream is lost. */
  function promoteWhenReady() {
    const status = next?.upstream?.status();
    if (!next?.delivered || !status?.current) return;
    const before = read();
    lastError = before.lastError;
    validBefore = before.state === 'VALID' ? { promotedSince: status.stateSince, since: before.stateSince } : undefined;
    const old = active;
    active = next;
    next = undefined;
    leave(old);
    log.info('upstream is asked with the new SDK key');
  }

  function leave({ upstream }: Member) {
    const done = upstream?.close().catch((error: unknown) => {
      log.warn('an upstream did not close', { reason: String(error) });
    });
    if (!done) return;
    closing.add(done);
    void done.finally(() => closing.delete(done));
  }

  function read(): UpstreamStatus {
    const own = active.upstream!.status();
    const { lastError: nextError, refused: nextRefused = true } = next?.upstream?.status() ?? {};
    const trouble = nextError && { ...nextError, message: `with the new SDK key: ${nextError.message}` };
    const latest = latestOf(latestOf(lastError, own.lastError), trouble);
    const stayedValid = own.state === 'VALID' && own.stateSince === validBefore?.promotedSince;
    return {
      ...own,
      ...(stayedValid && validBefore && { stateSince: validBefore.since }),
      ...(latest && { lastError: latest }),
      // While one of the two may still be let in, nobody can say that the environment is refused.
      refused: own.refused && nextRefused,
    };
  }

  start(active);

  return {
    status: read,

    keyProblem() {
      const { refused, stateSince, lastError: refusal } = next?.upstream?.status() ?? {};
      if (!refused || stateSince === undefined) return undefined;
      const reason = refusal?.message ?? 'it was not let in';
      return {
        since: stateSince,
        message: `the new SDK key is refused (${reason}): LaunchDarkly is asked with the one before it`,
      };
    },

    setKey(sdkKey) {
      if (closed || sdkKey === (next ?? active).sdkKey) return;
      lastError = read().lastError;
      if (next) leave(next);
      next = undefined;
      if (sdkKey === active.sdkKey) return options.onStatus?.(read());
      next = createMember(sdkKey);
      start(next);
    },

    async close() {
      closed = true;
      leave(active);
      if (next) leave(next);
      await Promise.all(closing);
    },
  };
}

const createMember = (sdkKey: string): Member => ({ sdkKey, upstream: undefined, delivered: false });

function latestOf<T extends { readonly time: number }>(a: T | undefined, b: T | undefined): T | undefined {
  return a && b ? (a.time > b.time ? a : b) : (a ?? b);
}
