import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  ParentBasedSampler,
  type Sampler,
  TraceIdRatioBasedSampler,
} from '@opentelemetry/sdk-trace-base';

export interface SamplerConfig {
  /** What a caller has sampled is recorded, and nothing else of callers that trace. */
  readonly isParentBased: boolean;
  readonly ratio: number;
}

export function createSampler({ isParentBased, ratio }: SamplerConfig): Sampler {
  const root =
    ratio === 0 ? new AlwaysOffSampler() : ratio === 1 ? new AlwaysOnSampler() : new TraceIdRatioBasedSampler(ratio);
  return isParentBased ? new ParentBasedSampler({ root }) : root;
}

/** Of the way of changes: they are few, and each counts, so that any share of requests means all of them. */
export function createChangeSampler({ ratio }: SamplerConfig): Sampler {
  return ratio === 0 ? new AlwaysOffSampler() : new AlwaysOnSampler();
}
