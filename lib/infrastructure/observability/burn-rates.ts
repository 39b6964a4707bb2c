import type { Duration } from 'aws-cdk-lib';
import type { MathExpression } from 'aws-cdk-lib/aws-cloudwatch';
import { LEAST_FAILURES } from '../../monitoring/index.ts';
import { expression, loadBalancerMetric } from './metrics.ts';
import type { ObservedLoadBalancer } from './observed.ts';

/**
 * The share of requests that failed in each period, in percent, over all load balancers; 0 below `LEAST_FAILURES`. A request failed if the
 * load balancer or a relay answered 5xx.
 */
export function failedRequests(balancers: readonly ObservedLoadBalancer[], period: Duration): MathExpression {
  return percentOf(requestsOf(balancers, period), period);
}

/** The same for requests that reached a relay. */
export function failedByRelays(balancers: readonly ObservedLoadBalancer[], period: Duration): MathExpression {
  return percentOf(requestsOf(balancers, period, 'relays'), period);
}

function percentOf({ failed, all, metrics }: ReturnType<typeof requestsOf>, period: Duration): MathExpression {
  const text = `IF(${failed} >= ${LEAST_FAILURES}, 100 * ${failed} / ${all}, 0)`;
  return expression(text, metrics, 'failed requests, %', period);
}

/** The parts of metric math that count failed and all requests. CloudWatch has no values of what did not happen, hence FILL. */
export function requestsOf(
  balancers: readonly ObservedLoadBalancer[],
  period: Duration,
  of: 'everything' | 'relays' = 'everything',
) {
  // What a shared load balancer refuses may be for another service, and has no dimension that tells.
  const refusing = of === 'relays' ? [] : balancers.filter(({ shared }) => !shared);
  const metricsOf = (name: string, counted = balancers) =>
    counted.map((one) => loadBalancerMetric(one, name, 'Sum', { period }));
  const ids = (what: string, counted = balancers) => counted.map((_, index) => `${what}${index}`);
  const refused = ids('refused', refusing);
  const [failed, requests] = [ids('failed'), ids('requests')];
  const sum = (...names: string[]) => `(${names.map((name) => `FILL(${name}, 0)`).join(' + ')})`;
  const named = (names: readonly string[], metrics: ReturnType<typeof metricsOf>) =>
    names.map((name, index) => [name, metrics[index]!] as const);
  return {
    failed: sum(...refused, ...failed),
    // AWS: RequestCount has only requests for which a target was chosen.
    all: sum(...requests, ...refused),
    metrics: Object.fromEntries([
      ...named(refused, metricsOf('HTTPCode_ELB_5XX_Count', refusing)),
      ...named(failed, metricsOf('HTTPCode_Target_5XX_Count')),
      ...named(requests, metricsOf('RequestCount')),
    ]),
  };
}
