/** LaunchDarkly's events, schema 4, as far as they occur in lines of exposures. */
import { isObject, showJson } from '../../relay-task/common/json.ts';

export type LaunchDarklyEvent = FullEvent | SummaryEvent;

export interface FullEvent {
  readonly kind: 'index' | 'feature' | 'debug';
  /** Unix ms. */
  readonly creationDate: number;
}

export interface SummaryEvent {
  readonly kind: 'summary';
  /** Unix ms. */
  readonly startDate: number;
  readonly endDate: number;
  readonly features: Readonly<Record<string, FlagSummary>>;
}

export interface FlagSummary {
  readonly default?: unknown;
  readonly contextKinds: readonly string[];
  readonly counters: readonly Counter[];
}

export interface Counter {
  readonly count: number;
  readonly value?: unknown;
  readonly variation?: number;
  readonly version?: number;
  readonly unknown?: true;
}

/** Why it is none of these events. LaunchDarkly may reject all that are sent with one that it does not understand. */
export function problemIn(event: unknown): string | undefined {
  if (!isObject(event)) return 'an event is no object';
  const { kind } = event;
  if (kind === 'summary') return summaryProblem(event);
  if (kind !== 'index' && kind !== 'feature' && kind !== 'debug') return `there is no event ${showJson(kind)}`;
  if (!isDate(event.creationDate)) return `an event ${kind} has no date`;
  if (!isObject(event.context)) return `an event ${kind} has no context`;
  return kind === 'index' || typeof event.key === 'string' ? undefined : `an event ${kind} has no flag`;
}

function summaryProblem({ startDate, endDate, features }: Readonly<Record<string, unknown>>): string | undefined {
  if (!isDate(startDate) || !isDate(endDate)) return 'a summary has no dates';
  if (!isObject(features)) return 'a summary has no features';
  const isRight = Object.values(features).every(
    (flag) => isObject(flag) && isList(flag.contextKinds) && isList(flag.counters) && flag.counters.every(isCounter),
  );
  return isRight ? undefined : 'a summary has a flag without kinds or counters';
}

function isCounter(value: unknown): boolean {
  return isObject(value) && Number.isSafeInteger(value.count) && (value.count as number) > 0;
}

function isDate(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

const isList = (value: unknown): value is readonly unknown[] => Array.isArray(value);
