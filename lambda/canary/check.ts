/** What the two functions of the synthetic check say to each other. */

/** Asked by the caller. The key is in no log: invocations and their payloads travel by TLS and are not recorded. */
export interface Question {
  readonly sdkKey: string;
  /** Of the environment in the flag table; empty: none. */
  readonly prefix: string;
}

export interface Check {
  readonly ok: boolean;
  /** From the question to the flags, or to the problem. */
  readonly ms: number;
  readonly problem?: string;
}

export interface Answer {
  /** A stream was opened, and its first event held the flags. */
  readonly stream: Check;
  /** Flags were read from the table, as any function of this region would. */
  readonly table: Check;
  /** Flags of which one side has another version than the other, or none; undefined unless both answered. */
  readonly differing?: number;
}

/** One line for people, without keys: no problem of ours repeats what was sent. */
export function problemOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
