import type { Log, Upstream, UpstreamSink, UpstreamStatus } from '../ports.ts';
import { createHandover } from './handover.ts';
import { createStatus, FRESH_MS } from './status.ts';

interface RotatingOptions {
  readonly sdkKey: string;
  /** Starts the upstream of one key; it retries until it is closed. */
  start(sdkKey: string, sink: UpstreamSink, onStatus: (status: UpstreamStatus) => void): Upstream;
  /** Where the flag sets of this key go. Upserts of one key never follow the set of another. */
  sinkOf(sdkKey: string): UpstreamSink;
  onStatus?(status: UpstreamStatus): void;
  readonly log: Log;
}

interface Member {
  readonly sdkKey: string;
  /** Unix ms. */
  readonly since: number;
  upstream: Upstream;
  delivered: boolean;
}

/** Stands in for an upstream until it is started. */
const notStarted: Upstream = { status: createStatus({ freshMs: FRESH_MS }).read, close: async () => {} };

/** An upstream that changes keys without a gap: the old connection closes after the new one has delivered. */
export function startRotating(options: RotatingOptions) {
  const { log } = options;
  const closing = new Set<Promise<void>>();
  let closed = false;
  const handover = createHandover<Member>({
    sdkKey: options.sdkKey,
    create: (sdkKey) => ({ sdkKey, since: Date.now(), upstream: notStarted, delivered: false }),
    // Waits until the new upstream is current, so that the status never shows an outage.
    isReady: ({ delivered, upstream }) => delivered && upstream.status().current,
    isKept: () => true,
    onPromote({ upstream }) {
      const before = read();
      lastError = before.lastError;
      const promotedSince = upstream.status().stateSince;
      validBefore = before.state === 'VALID' ? { promotedSince, since: before.stateSince } : undefined;
      log.info('LaunchDarkly stream now uses the new SDK key');
    },
    leave,
  });
  /** Whose flag set was delivered last. */
  let source: Member | undefined;
  /** Carried over, so that a key change neither hides an error nor looks like an outage. */
  let lastError: UpstreamStatus['lastError'];
  let validBefore: { readonly promotedSince: number; readonly since: number } | undefined;

  function start(member: Member) {
    const sink = options.sinkOf(member.sdkKey);
    const present = () => !closed && (member === handover.active() || member === handover.next());
    // The two keys may be of different environments, if one of them was a mistake.
    const feeds = () => present() && member === source;
    const memberSink: UpstreamSink = {
      put(items, unreadable, receivedAt) {
        if (!present()) return;
        member.delivered = true;
        source = member;
        sink.put(items, unreadable, receivedAt);
        handover.promoteWhenReady();
      },
      upsert: (item, receivedAt) => void (feeds() && sink.upsert(item, receivedAt)),
      skip: (item) => void (feeds() && sink.skip(item)),
    };
    member.upstream = options.start(member.sdkKey, memberSink, () => {
      if (!present() || member.upstream === notStarted) return;
      handover.promoteWhenReady();
      options.onStatus?.(read());
    });
    // `start` may have delivered synchronously.
    handover.promoteWhenReady();
  }

  function leave({ upstream }: Member) {
    const done = upstream.close().catch((error: unknown) => {
      log.warn('Could not close an upstream', { reason: String(error), runbook: 'operations.md#relay-error' });
    });
    closing.add(done);
    void done.finally(() => closing.delete(done));
  }

  function read(): UpstreamStatus {
    const own = handover.active().upstream.status();
    const stayedValid = own.state === 'VALID' && own.stateSince === validBefore?.promotedSince;
    return {
      ...withNext(own, handover.next()?.upstream.status(), lastError),
      ...(stayedValid && validBefore && { stateSince: validBefore.since }),
    };
  }

  start(handover.active());

  return {
    status: read,

    /** Set while LaunchDarkly sends nothing for the new key, so that the previous one stays in use. `since`: Unix ms. */
    keyProblem(): { readonly since: number; readonly message: string } | undefined {
      const next = handover.next();
      if (!next || next.delivered) return undefined;
      const { refused, stateSince, lastError: failure } = next.upstream.status();
      const what = refused ? 'rejected the new SDK key' : 'has sent no flags for the new SDK key yet';
      const reason = failure?.message ?? 'no answer so far';
      return {
        since: (refused ? stateSince : undefined) ?? next.since,
        message: `LaunchDarkly ${what} (${reason}), so requests with it get 503; still using the previous one`,
      };
    },

    /**
     * Switches to another key once its connection has delivered the full flag set. Until then, possibly forever, the old
     * key's connection stays in use and both keep retrying.
     */
    setKey(sdkKey: string): void {
      if (closed || sdkKey === (handover.next() ?? handover.active()).sdkKey) return;
      lastError = read().lastError;
      const member = handover.setKey(sdkKey);
      if (member) start(member);
      else options.onStatus?.(read());
    },

    async close(): Promise<void> {
      closed = true;
      handover.leaveAll();
      await Promise.all(closing);
    },
  };
}

/** The status of the active upstream and of the one that is to replace it, as one. */
function withNext(
  own: UpstreamStatus,
  next: UpstreamStatus | undefined,
  lastError: UpstreamStatus['lastError'],
): UpstreamStatus {
  const nextError = next?.lastError;
  const trouble = nextError && { ...nextError, message: `with the new SDK key: ${nextError.message}` };
  const latest = latestOf(latestOf(lastError, own.lastError), trouble);
  return {
    ...own,
    ...(latest && { lastError: latest }),
    // The environment counts as refused only when LaunchDarkly rejects both keys.
    refused: own.refused && (next?.refused ?? true),
  };
}

function latestOf<T extends { readonly time: number }>(a: T | undefined, b: T | undefined): T | undefined {
  return a && b ? (a.time > b.time ? a : b) : (a ?? b);
}
