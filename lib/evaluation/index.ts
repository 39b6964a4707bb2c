/**
 * Flag evaluation with the same answers as LaunchDarkly's Node server SDK or, with `createGoDialect`, its Go evaluator. It has no
 * imports and runs anywhere; the caller provides hashing and storage.
 */
export { bucketByHex } from './bucketing.ts';
export { clientSideAvailability } from './client-side.ts';
export { compileFlag } from './compile.ts';
export { compileFlagInSteps, compileSegmentInSteps } from './compile-in-steps.ts';
export { bigSegmentRef, compileSegment } from './compile-segment.ts';
export { canonicalKey, isKind, parseContext, secureModeHash } from './context.ts';
export { createDependencies, type Uses } from './dependencies.ts';
export {
  describeFlagProblem,
  describeFlagProblemInSteps,
  describeSegmentProblem,
  describeSegmentProblemInSteps,
} from './describe.ts';
export { createNodeDialect, type Dialect } from './dialect.ts';
export { createEvaluator, isExperiment } from './evaluator.ts';
export { describeGoContextProblem, parseGoContext, withoutOverridden } from './go/context.ts';
export { createGoDialect, type Pattern } from './go/dialect.ts';
export { createMemo } from './memo.ts';
export type * from './model.ts';
export { openFeatureErrorCode, toLaunchDarkly } from './open-feature.ts';
export type { TextPattern } from './operators.ts';
export { errorDetail } from './outcome.ts';
export { createRedact, isPrivateReference, PRIVATE_REFERENCES, type RedactOptions } from './redact.ts';
export { sameFlagInSteps, sameSegmentInSteps } from './same.ts';
export { type Field, type Shape, shapes } from './schema.ts';
export { sha1Bucket, sha1BucketFloat32 } from './sha1.ts';
