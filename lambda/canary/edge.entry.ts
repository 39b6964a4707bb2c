import { createEdgeCheck } from './edge.ts';

const { env } = process;

export const handler = createEdgeCheck({
  url: env.CHECK_URL ?? '',
  decisionHeader: env.DECISION_HEADER ?? '',
  namespace: env.METRICS_NAMESPACE ?? '',
});
