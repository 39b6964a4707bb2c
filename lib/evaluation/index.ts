/**
 * Flag evaluation with the same answers as LaunchDarkly's Node server SDK. It has no imports and runs anywhere; the caller
 * provides hashing and storage.
 */
export { bucketByHex } from './bucketing.ts';
export { clientSideAvailability } from './client-side.ts';
export { compileFlag } from './compile.ts';
export { bigSegmentRef, compileSegment } from './compile-segment.ts';
export { canonicalKey, parseContext, secureModeHash } from './context.ts';
export { describeFlagProblem, describeSegmentProblem } from './describe.ts';
export { describeContextProblem } from './describe-context.ts';
export { createEvaluator } from './evaluator.ts';
export type * from './model.ts';
export { normalizeFlag, normalizeSegment } from './normalize.ts';
export { sameFlag, sameSegment } from './same.ts';
export { sha1Bucket } from './sha1.ts';
