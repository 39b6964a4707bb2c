/** The messages between the two functions of the synthetic check. */

/** The caller's request. The key appears in no log: payloads of invocations are sent over TLS and not recorded. */
export interface Question {
  readonly sdkKey: string;
  /** The environment's prefix in the flag table; may be empty. */
  readonly prefix: string;
}

export interface Check {
  readonly ok: boolean;
  /** How long the check took, whether it succeeded or failed. */
  readonly ms: number;
  readonly problem?: string;
}

export interface Answer {
  /** Whether a stream could be opened and its first event contained the flags. Undefined: there is no load balancer to ask. */
  readonly stream?: Check;
  /** Whether flags could be read from the table, as any function in this region reads them. */
  readonly table: Check;
  /** Number of flags that differ in version or exist on one side only; undefined unless both checks succeeded. */
  readonly differing?: number;
}
