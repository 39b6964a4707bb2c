import { createHash } from 'node:crypto';
import {
  type BigSegmentsStatus,
  type Bucket,
  bucketByHex,
  compileFlag,
  compileSegment,
  createEvaluator,
  type Evaluator,
  type Flag,
  type Segment,
} from '../../../lib/evaluation/index.ts';

export type Items = Readonly<Record<string, unknown>>;

/** A Big Segment store as the vectors describe it: memberships by raw context key; keys in `failKeys` cannot be read. */
export interface BigSegmentsFixture {
  readonly status: BigSegmentsStatus;
  readonly memberships: Readonly<Record<string, Readonly<Record<string, boolean>> | null>>;
  readonly failKeys?: readonly string[];
}

export const sha1Hex = (text: string) => createHash('sha1').update(text).digest('hex');

export const byHex = bucketByHex(sha1Hex);

/** An evaluator over plain JSON, with the compiled flags. */
export function evaluatorOf(
  flags: Items = {},
  segments: Items = {},
  bigSegments?: BigSegmentsFixture,
  bucket: Bucket = byHex,
): Evaluator & { readonly flags: ReadonlyMap<string, Flag> } {
  const flagTable = new Map<string, Flag>(Object.entries(flags).map(([key, data]) => [key, compileFlag(data)]));
  const segmentTable = new Map<string, Segment>(
    Object.entries(segments).map(([key, data]) => [key, compileSegment(data)]),
  );
  const evaluator = createEvaluator({
    flag: (key) => flagTable.get(key),
    segment: (key) => segmentTable.get(key),
    bucket,
    ...(bigSegments && {
      bigSegments: (key) => {
        if (bigSegments.failKeys?.includes(key)) throw new Error('unreadable');
        const membership = Object.hasOwn(bigSegments.memberships, key) ? bigSegments.memberships[key] : null;
        return { status: bigSegments.status, membership };
      },
    }),
  });
  return { ...evaluator, flags: flagTable };
}

/** The value after a JSON round trip, which removes the difference between absent and undefined. */
export function plain<T>(value: T): T {
  return JSON.parse(JSON.stringify(value));
}
