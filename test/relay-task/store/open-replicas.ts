/** Shared by the tests of stores without a lease. */
import type { Item } from '../../../lib/flag-table/index.ts';
import type { Log } from '../../../relay-task/ports.ts';
import type { EngineTimings } from '../../../relay-task/store/timings.ts';
import type { Memory } from '../../support/memory.ts';

/** Everything happens soon, and only glances are periodic. */
export const quickReplica: EngineTimings = {
  publishGapMs: 10,
  glanceMs: 100,
  reconcileMs: 3_600_000,
  secondLookMs: 150,
  tombstoneMs: 3_600_000,
  rereadMs: 30,
  retryBaseMs: 5,
  retryCapMs: 100,
  closeGraceMs: 100,
};

export interface Heard extends Log {
  /** `warn: message`, in order. */
  readonly lines: string[];
}

/** A log that records its lines with all fields. */
export function listenToLog(): Heard {
  const lines: string[] = [];
  const at = (level: string) => (message: string, fields?: Record<string, unknown>) =>
    void lines.push(`${level}: ${message} ${JSON.stringify(fields ?? {})}`);
  return { lines, debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}

/** The texts in memory by kind and key, as in the layouts. */
export function textsOf(items: Iterable<Item>): Record<string, Record<string, string>> {
  const texts: Record<string, Record<string, string>> = { features: {}, segments: {} };
  for (const { kind, key, json } of items) texts[kind]![key] = json;
  return texts;
}

export const textsOfMemory = (memory: Memory) => textsOf(memory.all());
