import { LONGEST_TIMER_MS } from '../common/pause.ts';
import type { Credential, CredentialKind } from '../ports.ts';
import { credentialId } from './credential-id.ts';
import { longerOf } from './longer-of.ts';

/** The only ways in which a registry changes. */
type RegistryChange<E> =
  /** One environment, or one filtered view of it. Credentials, if given, become those of the name. */
  | {
      readonly type: 'add-environment';
      readonly name: string;
      /** The key of a payload filter; '' or absent: everything. */
      readonly filter?: string;
      readonly environment: E;
      readonly credentials?: readonly Credential[];
    }
  /** One filtered view, or, without `filter`, the name with all its views and credentials. */
  | { readonly type: 'remove-environment'; readonly name: string; readonly filter?: string }
  /** The complete set of the name: what is not in it is revoked. */
  | { readonly type: 'set-credentials'; readonly name: string; readonly credentials: readonly Credential[] }
  /** The source of keys has been read completely: from now on an unknown credential is unknown. */
  | { readonly type: 'source-complete' };

type Found<E> =
  | { readonly name: string; readonly filter: string; readonly environment: E }
  | 'unknown-credential'
  | 'unknown-filter'
  /** Not known yet: answer with 503, never 4xx. */
  | 'not-yet';

/** A credential that no longer opens an environment; its streams must be closed. */
export interface Vanished<E> {
  readonly name: string;
  readonly filter: string;
  readonly environment: E;
  readonly kind: CredentialKind;
  readonly credential: string;
  readonly reason: 'revoked' | 'expired' | 'removed';
}

/** The clock and timer, replaceable in tests. */
export interface Clock {
  /** Unix ms. */
  now(): number;
  /** Runs something once after `ms`; returns a function that cancels it. */
  after(ms: number, run: () => void): () => void;
}

export interface Registry<E> {
  /** Returns what was refused, one sentence each, without any key; everything else was applied. */
  apply(change: RegistryChange<E>): readonly string[];
  find(kind: CredentialKind, credential: string, filter?: string): Found<E>;
  /** Whether the source of keys has been read completely once. */
  readonly complete: boolean;
  /** The valid credentials of a name, for `/status` and for upstreams. */
  credentials(name: string): readonly Credential[];
  /** Calls the listener with what vanished, after each change; returns a function that unsubscribes. */
  onVanished(listener: (vanished: readonly Vanished<E>[]) => void): () => void;
  /** Stops waiting for expiries. */
  close(): void;
}

interface Holder<E> {
  readonly name: string;
  readonly views: Map<string, E>;
  credentials: readonly Credential[];
}

const systemClock: Clock = {
  now: Date.now,
  after(ms, run) {
    const timer = setTimeout(run, ms).unref();
    return () => clearTimeout(timer);
  },
};

/** Maps a credential and a filter to an environment. */
export function createRegistry<E>({ clock = systemClock }: { clock?: Clock } = {}): Registry<E> {
  const holders = new Map<string, Holder<E>>();
  const byCredential = new Map<string, { readonly holder: Holder<E>; readonly credential: Credential }>();
  const listeners = new Set<(vanished: readonly Vanished<E>[]) => void>();
  const expiries = createExpiries(clock, expire);
  let complete = false;

  const isValid = ({ expiresAt }: Credential) => expiresAt === undefined || clock.now() <= expiresAt;

  function holderOf(name: string): Holder<E> {
    const holder = holders.get(name) ?? { name, views: new Map(), credentials: [] };
    holders.set(name, holder);
    return holder;
  }

  function setCredentials(holder: Holder<E>, offered: readonly Credential[], reason: Vanished<E>['reason']) {
    const ownerOf = (id: string) => byCredential.get(id)?.holder;
    const { accepted, problems } = judge(holder, offered, ownerOf, isValid);
    const gone = holder.credentials.filter(({ kind, value }) => !accepted.has(credentialId({ kind, value })));
    const vanished = gone.flatMap((credential) =>
      vanishedOf(holder, [...holder.views.keys()], credential, isValid(credential) ? reason : 'expired'),
    );
    for (const { kind, value } of gone) {
      byCredential.delete(credentialId({ kind, value }));
      expiries.set(credentialId({ kind, value }), undefined);
    }
    for (const [id, credential] of accepted) {
      byCredential.set(id, { holder, credential });
      expiries.set(id, credential.expiresAt);
    }
    holder.credentials = [...accepted.values()];
    return { problems, vanished };
  }

  function remove(name: string, filter: string | undefined): Vanished<E>[] {
    const holder = holders.get(name);
    if (!holder) return [];
    if (filter !== undefined && !holder.views.has(filter)) return [];
    if (filter !== undefined && holder.views.size > 1) return removeView(holder, filter);
    // With the last view the name goes, too, so that its credentials become unknown.
    const { vanished } = setCredentials(holder, [], 'removed');
    holders.delete(name);
    return vanished;
  }

  function expire(ids: readonly string[]) {
    const due = new Set(ids.flatMap((id) => byCredential.get(id)?.holder ?? []));
    tell([...due].flatMap((holder) => setCredentials(holder, holder.credentials.filter(isValid), 'expired').vanished));
  }

  function tell(vanished: readonly Vanished<E>[]) {
    if (vanished.length > 0) for (const listener of listeners) listener(vanished);
  }

  return {
    apply(change) {
      if (change.type === 'source-complete') {
        complete = true;
        return [];
      }
      if (change.type === 'remove-environment') {
        tell(remove(change.name, change.filter));
        return [];
      }
      const holder = holderOf(change.name);
      const replaced =
        change.type === 'add-environment' ? setView(holder, change.filter ?? '', change.environment) : [];
      const { problems, vanished } = change.credentials
        ? setCredentials(holder, change.credentials, 'revoked')
        : { problems: [], vanished: [] };
      tell([...replaced, ...vanished]);
      return problems;
    },

    find(kind, value, filter = '') {
      const known = byCredential.get(credentialId({ kind, value }));
      if (!known || !isValid(known.credential)) return complete ? 'unknown-credential' : 'not-yet';
      const { name, views } = known.holder;
      const environment = views.get(filter);
      // Credentials may be known before their environment is built.
      if (environment === undefined) return complete && views.size > 0 ? 'unknown-filter' : 'not-yet';
      return { name, filter, environment };
    },

    get complete() {
      return complete;
    },

    credentials: (name) => holders.get(name)?.credentials.filter(isValid) ?? [],

    onVanished(listener) {
      listeners.add(listener);
      return () => {
        listeners.delete(listener);
      };
    },

    close: expiries.close,
  };
}

/**
 * Calls `onDue` with the IDs whose time is over. A change costs the same however many others wait: the timer is only set
 * again when it would come too late, and when it comes too early it looks again.
 */
function createExpiries({ now, after }: Clock, onDue: (ids: readonly string[]) => void) {
  /** Unix ms, by ID. */
  const waiting = new Map<string, number>();
  let firesAt = Number.POSITIVE_INFINITY;
  let cancel = () => {};

  function arm(at: number) {
    cancel();
    firesAt = Math.min(at + 1, now() + LONGEST_TIMER_MS);
    cancel = after(Math.max(0, firesAt - now()), fire);
  }

  function fire() {
    firesAt = Number.POSITIVE_INFINITY;
    const due = [...waiting].filter(([, at]) => at < now()).map(([id]) => id);
    for (const id of due) waiting.delete(id);
    onDue(due);
    const next = [...waiting.values()].reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY);
    if (next + 1 < firesAt) arm(next);
  }

  return {
    set(id: string, expiresAt: number | undefined) {
      if (expiresAt === undefined) {
        waiting.delete(id);
        return;
      }
      waiting.set(id, expiresAt);
      if (expiresAt + 1 < firesAt) arm(expiresAt);
    },
    close: () => cancel(),
  };
}

/** Which of the offered credentials a name may have, by ID, and why not the others. */
function judge<E>(
  holder: Holder<E>,
  offered: readonly Credential[],
  ownerOf: (id: string) => Holder<E> | undefined,
  isValid: (credential: Credential) => boolean,
) {
  const problems: string[] = [];
  const accepted = new Map<string, Credential>();
  for (const credential of offered) {
    const id = credentialId(credential);
    const owner = ownerOf(id);
    if (credential.value === '') {
      problems.push(`environment "${holder.name}" has an empty ${credential.kind}; leave it out instead`);
    } else if (owner && owner !== holder) {
      problems.push(describeDuplicate(credential, holder.name, owner.name));
    } else if (isValid(credential)) {
      // A key that is listed twice is valid for as long as either says.
      accepted.set(id, longerOf(accepted.get(id), credential));
    }
  }
  return { accepted, problems };
}

/** Returns what vanished with the environment that was there before. */
function setView<E>(holder: Holder<E>, filter: string, environment: E): Vanished<E>[] {
  const previous = holder.views.get(filter);
  const vanished = previous === undefined || previous === environment ? [] : removeView(holder, filter);
  holder.views.set(filter, environment);
  return vanished;
}

function removeView<E>(holder: Holder<E>, filter: string): Vanished<E>[] {
  const vanished = holder.credentials.flatMap((credential) => vanishedOf(holder, [filter], credential, 'removed'));
  holder.views.delete(filter);
  return vanished;
}

function vanishedOf<E>(
  { name, views }: Holder<E>,
  filters: readonly string[],
  { kind, value }: Credential,
  reason: Vanished<E>['reason'],
): Vanished<E>[] {
  return filters.flatMap((filter) => {
    const environment = views.get(filter);
    return environment === undefined ? [] : [{ name, filter, environment, kind, credential: value, reason }];
  });
}

/** Without the key: the names of the two environments are enough to find it. */
function describeDuplicate({ kind }: Credential, name: string, owner: string): string {
  return `the ${kind} of environment "${name}" already belongs to environment "${owner}"; give each its own`;
}
