/** How patient the forwarding is, in ms. */
export interface EventTimings {
  /** For one request, from the connection to the end of the answer. */
  readonly requestTimeoutMs: number;
  /** After a failure that will pass (no answer, 5xx, 400, 408, 429), doubled with each in a row, up to half less at random. */
  readonly firstRetryMs: number;
  readonly longestRetryMs: number;
  /** The same after a refusal (401, 403, 404 …), which only a person mends. A changed key is tried at once. */
  readonly firstRefusedMs: number;
  readonly longestRefusedMs: number;
  /** Between attempts while the forwarding is being closed. */
  readonly closingRetryMs: number;
  /** A payload that could not be delivered for so long is dropped. */
  readonly keepForMs: number;
  /** Contexts that were seen are forgotten, and so described again, this often. */
  readonly forgetContextsMs: number;
  /** A queue that was not used for so long is given up. */
  readonly idleQueueMs: number;
}

export const usualTimings: EventTimings = {
  requestTimeoutMs: 30_000,
  firstRetryMs: 1_000,
  longestRetryMs: 60_000,
  firstRefusedMs: 60_000,
  longestRefusedMs: 600_000,
  closingRetryMs: 250,
  keepForMs: 3_600_000,
  forgetContextsMs: 300_000,
  idleQueueMs: 600_000,
};
