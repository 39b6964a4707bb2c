/** Timeouts and delays of event forwarding. */
export interface EventTimings {
  /** For one request, from the connection to the end of the response. */
  readonly requestTimeoutMs: number;
  /** A request that is not answered for this long does not hold back later payloads of its queue. */
  readonly slowAfterMs: number;
  /** After a temporary failure (no response, 5xx, 400 once, 408, 429); doubles with each failure in a row, minus jitter. */
  readonly firstRetryMs: number;
  readonly longestRetryMs: number;
  /** The same after a refusal (401, 403, 404 …), which needs someone to act. A changed key is tried at once. */
  readonly firstRefusedMs: number;
  readonly longestRefusedMs: number;
  /** After LaunchDarkly rejected some events from an address, its events are sent separately for this long. */
  readonly suspectMs: number;
  /** Maximum delay between attempts during shutdown. */
  readonly closingRetryMs: number;
  /** A payload that could not be delivered for this long is dropped. */
  readonly keepForMs: number;
  /** How often known contexts are forgotten, and so described again. */
  readonly forgetContextsMs: number;
  /** A queue that was not used for this long is removed. So is everything remembered for such a credential. */
  readonly idleQueueMs: number;
  /** In this time, an environment logs the same problem with its events at most once. */
  readonly sameLineMs: number;
}

export const usualTimings: EventTimings = {
  requestTimeoutMs: 30_000,
  slowAfterMs: 500,
  firstRetryMs: 1_000,
  longestRetryMs: 60_000,
  firstRefusedMs: 60_000,
  longestRefusedMs: 600_000,
  suspectMs: 300_000,
  closingRetryMs: 250,
  keepForMs: 3_600_000,
  forgetContextsMs: 300_000,
  idleQueueMs: 600_000,
  sameLineMs: 60_000,
};
