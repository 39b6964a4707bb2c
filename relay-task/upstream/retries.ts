/** How requests to LaunchDarkly are retried, as its SDKs do it. */
import type { BackoffTimes } from '../common/backoff.ts';

export const RETRY_TIMES: BackoffTimes = { firstMs: 1_000, maxMs: 30_000 };

/** After a response that needs someone to act, such as 401. */
export const REFUSED_TIMES: BackoffTimes = { firstMs: 300_000, maxMs: 3_600_000 };
