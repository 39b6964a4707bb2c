interface HandoverOptions<M> {
  readonly sdkKey: string;
  /** A connection's state, before it is opened. */
  create(sdkKey: string): M;
  /** Whether the new connection can replace the active one. */
  isReady(next: M): boolean;
  /** Whether the active connection stays in use until then; if not, the new one replaces it at once. */
  isKept(active: M): boolean;
  /** The new connection is about to replace the active one. */
  onPromote(next: M): void;
  /** Closes a connection that is no longer used. */
  leave(member: M): void;
}

/** Changes the key of a connection without a gap: the old connection closes after the new one is ready. */
export function createHandover<M extends { readonly sdkKey: string }>(options: HandoverOptions<M>) {
  const { create, isReady, isKept, leave } = options;
  let active = create(options.sdkKey);
  let next: M | undefined;
  return {
    active: () => active,
    /** The connection that is to replace the active one. */
    next: () => next,
    /** Switches to another key. Returns the connection to open, if there is a new one. */
    setKey(sdkKey: string): M | undefined {
      if (sdkKey === (next ?? active).sdkKey) return undefined;
      if (next) leave(next);
      next = undefined;
      if (sdkKey === active.sdkKey) return undefined;
      const member = create(sdkKey);
      if (isKept(active)) next = member;
      else {
        leave(active);
        active = member;
      }
      return member;
    },
    /** Call when the new connection may have become ready. */
    promoteWhenReady(): void {
      if (!next || !isReady(next)) return;
      options.onPromote(next);
      const old = active;
      active = next;
      next = undefined;
      leave(old);
    },
    leaveAll(): void {
      leave(active);
      if (next) leave(next);
    },
  };
}
