/** Receives the events of one environment, and keeps those of its credentials apart. */
import type { CredentialKind, EventDelivery, EventIntake, EventStatus } from '../ports.ts';
import type { CredentialEvents, CredentialEventsOptions, OwnEvent } from './credential-events.ts';
import { digestOf } from './credential-spool.ts';

export interface EnvironmentEventsOptions extends Pick<CredentialEventsOptions, 'name' | 'flag'> {
  /** The valid credentials, the present ones first. For events from the spool. Must not throw. */
  credentials?(): readonly Pick<EventDelivery, 'kind' | 'credential'>[];
  /** LaunchDarkly's ID of the environment that a credential belongs to, as far as is known. For events from the spool. Must not throw. */
  environmentOf?(kind: CredentialKind, credential: string): string | undefined;
  /**
   * The credential to send events with: the one they came with, or another one that is known to be of the same environment of LaunchDarkly.
   * Called before every attempt, so that a rotated key is used at once. Must not throw.
   */
  senderOf(kind: CredentialKind, credential: string): string;
}

export interface EnvironmentEvents extends EventIntake {
  /** `CredentialEvents.own`, with this SDK key. */
  own(sdkKey: string, event: OwnEvent): Promise<void>;
  /** How many analytics events are queued or being sent. */
  readonly events: number;
  /** Undefined: they are not for LaunchDarkly. */
  status(): EventStatus | undefined;
  /** How many events were dropped since the last call. */
  takeDropped(): number;
  /** Starts sending what is queued. */
  flush(): void;
  /**
   * Stops accepting events; resolves when all are delivered, or dropped after `timeoutMs`. `leaves`: what is in the spool then stays there,
   * for another process.
   */
  close(timeoutMs: number, leaves?: boolean): Promise<void>;
  /** What its valid credentials are known by in the spool. */
  digests(): readonly string[];
  /** The events that came with the credential of this digest; or, if that is gone, those of one that is of the same environment of LaunchDarkly. */
  left(kind: CredentialKind, digest: string, environmentId?: string): CredentialEvents | undefined;
}

interface Holder {
  readonly events: CredentialEvents;
  /** `performance.now()` of the last event. */
  usedAt: number;
}

export function createEnvironmentEvents(
  { name, senderOf, flag, credentials = () => [], environmentOf = () => undefined }: EnvironmentEventsOptions,
  parts: {
    /** A credential that was idle for this long is forgotten. */
    readonly idleMs: number;
    open(options: CredentialEventsOptions): CredentialEvents;
    /** Something arrived after `close`. */
    tooLate(): void;
    takeDropped(): number;
    reach(): Omit<EventStatus, 'pending'>;
  },
): EnvironmentEvents {
  const holders = new Map<string, Holder>();
  let closed = false;

  function holderOf({ kind, credential }: Pick<EventDelivery, 'kind' | 'credential'>): Holder {
    const id = `${kind} ${credential}`;
    const sender = () => senderOf(kind, credential);
    const environmentId = () => environmentOf(kind, credential);
    const open = () => parts.open({ name, kind, credential, environmentId, sender, flag });
    const holder = holders.get(id) ?? { events: open(), usedAt: 0 };
    holder.usedAt = performance.now();
    holders.set(id, holder);
    return holder;
  }

  const pending = () => Array.from(holders.values()).reduce((sum, { events: { events } }) => sum + events, 0);

  return {
    get closed() {
      return closed;
    },
    get events() {
      return pending();
    },
    status: () => ({ ...parts.reach(), pending: pending() }),
    async analytics(delivery) {
      if (closed) parts.tooLate();
      else await holderOf(delivery).events.analytics(delivery);
    },
    diagnostic(delivery) {
      if (closed) parts.tooLate();
      else holderOf(delivery).events.diagnostic(delivery);
    },
    takeDropped: parts.takeDropped,
    async own(credential, event) {
      if (!closed) await holderOf({ kind: 'sdkKey', credential }).events.own(event);
    },
    flush() {
      const now = performance.now();
      for (const [id, { events, usedAt }] of holders) {
        events.flush();
        if (!events.idle || now - usedAt < parts.idleMs) continue;
        events.forget();
        holders.delete(id);
      }
    },
    digests: () => (closed ? [] : credentials().map(({ credential }) => digestOf(credential))),
    left(kind, digest, environmentId) {
      const those = closed ? [] : credentials().filter((one) => one.kind === kind);
      const isSame = (of: string | undefined) => of !== undefined && of === environmentId;
      const found =
        those.find(({ credential }) => digestOf(credential) === digest) ??
        those.find(({ credential }) => isSame(environmentOf(kind, credential)));
      return found && holderOf(found).events;
    },
    async close(timeoutMs, leaves = false) {
      closed = true;
      await Promise.all(Array.from(holders.values(), ({ events }) => events.finish(timeoutMs, leaves)));
    },
  };
}
