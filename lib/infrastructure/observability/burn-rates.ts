import { Duration } from 'aws-cdk-lib';
import type { MathExpression } from 'aws-cdk-lib/aws-cloudwatch';
import { expression, loadBalancerMetric } from './metrics.ts';
import type { ObservedLoadBalancer } from './observed.ts';

/**
 * How fast the error budget of 30 days is used up before someone is told: 1 is a rate that uses up all of it in exactly 30 days.
 * Source: Google, "The Site Reliability Workbook", chapter 5: multiwindow, multi-burn-rate alerts. The long window says that it
 * matters, the short one, a twelfth of it, that it still goes on.
 */
export interface BurnRate {
  readonly id: string;
  readonly rate: number;
  readonly long: Duration;
  readonly short: Duration;
  readonly pages?: true;
}

export const burnRates: readonly BurnRate[] = [
  { id: 'error-budget-1h', rate: 14.4, long: Duration.hours(1), short: Duration.minutes(5), pages: true },
  { id: 'error-budget-6h', rate: 6, long: Duration.hours(6), short: Duration.minutes(30), pages: true },
  // The workbook's last one is 1 over three days, of which an alarm of a period below a day knows nothing.
  { id: 'error-budget-1d', rate: 3, long: Duration.days(1), short: Duration.hours(2) },
];

/** Fewer failed requests than this in a window are no trend, however few requests there were. */
export const LEAST_FAILURES = 10;

/** The error budget: the share of requests that may fail, in percent. */
export function errorBudgetPercent(availabilityPercent: number): number {
  // 100 - 99.99 is 0.010000000000005116.
  return Number((100 - availabilityPercent).toPrecision(6));
}

/** The share of failed requests at a burn rate, in percent. */
export function failedPercentAt(rate: number, availabilityPercent: number): number {
  return Number((rate * errorBudgetPercent(availabilityPercent)).toPrecision(6));
}

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

/** What an alarm says of a burn rate. */
export function describeBurnRate({ rate, long, short }: BurnRate, availabilityPercent: number): string {
  const days = Number((30 / rate).toPrecision(2));
  const share = failedPercentAt(rate, availabilityPercent);
  return `More than ${share} % of requests fail (${long.toHumanString()} and ${short.toHumanString()}): at this rate the error budget of 30 days is used up in ${days} days.`;
}
