/** How long a change takes at most, by its 99th percentile, in seconds: what alarms and the dashboard hold relays to (docs/propagation.md). */
export const promises = {
  /** From its arrival at a relay to the last stream. */
  streams: 0.1,
  /** From its arrival at a relay to the flag table, unless DynamoDB throttles. */
  table: 1,
  /** From LaunchDarkly to a reader at the edge, beside the interval at which the reader refreshes. */
  edge: 2,
} as const;
