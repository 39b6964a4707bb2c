/**
 * How fast the error budget of 30 days is used up before someone is told: 1 is a rate that uses up all of it in exactly 30 days.
 * Source: Google, "The Site Reliability Workbook", chapter 5: multiwindow, multi-burn-rate alerts. The long window says that it
 * matters, the short one, a twelfth of it, that it still goes on.
 */
export interface BurnRate {
  readonly id: string;
  readonly rate: number;
  /** The windows, in minutes. */
  readonly long: number;
  readonly short: number;
  readonly pages?: true;
}

export const burnRates: readonly BurnRate[] = [
  { id: 'error-budget-1h', rate: 14.4, long: 60, short: 5, pages: true },
  { id: 'error-budget-6h', rate: 6, long: 6 * 60, short: 30, pages: true },
  // The workbook's last one is 1 over three days, of which a CloudWatch alarm of a period below a day knows nothing.
  { id: 'error-budget-1d', rate: 3, long: 24 * 60, short: 2 * 60 },
];

/** The runbook of all of them. */
export const BURN_RATE_RUNBOOK = 'error-budget';

/** The share of requests that should succeed in 30 days. */
export const AVAILABILITY_PERCENT = 99.99;

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

/** What an alarm says of a burn rate. */
export function describeBurnRate({ rate, long, short }: BurnRate, availabilityPercent: number): string {
  const days = Number((30 / rate).toPrecision(2));
  const share = failedPercentAt(rate, availabilityPercent);
  return `More than ${share} % of requests fail (${spanOf(long)} and ${spanOf(short)}): at this rate the error budget of 30 days is used up in ${days} days.`;
}

/** `6 hours`, of minutes. */
export function spanOf(minutes: number): string {
  const [count, unit] =
    minutes % 1_440 === 0
      ? [minutes / 1_440, 'day']
      : minutes % 60 === 0
        ? [minutes / 60, 'hour']
        : [minutes, 'minute'];
  return `${count} ${unit}${count === 1 ? '' : 's'}`;
}
