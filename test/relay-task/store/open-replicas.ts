/** What tests of the stores without a lease share. */
import type { Item } from '../../../lib/flag-table/index.ts';
import type { Log } from '../../../relay-task/ports.ts';
import type { EngineTimings } from '../../../relay-task/store/timings.ts';
import type { Memory } from './memory.ts';

/** Everything soon, nothing periodic but glances. */
export const quickReplica: EngineTimings = {
  publishGapMs: 10,
  glanceMs: 100,
  reconcileMs: 3_600_000,
  secondLookMs: 150,
  rereadMs: 30,
  retryBaseMs: 5,
  retryCapMs: 100,
  closeGraceMs: 100,
};

export interface Heard extends Log {
  /** `warn: message`, in order. */
  readonly lines: string[];
}

/** A log that can be read, with all fields. */
export function listenToLog(): Heard {
  const lines: string[] = [];
  const at = (level: string) => (message: string, fields?: Record<string, unknown>) =>
    void lines.push(`${level}: ${message} ${JSON.stringify(fields ?? {})}`);
  return { lines, debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}

/** Memory as texts by kind and key, which is how the layouts hold it. */
export function textsOf(items: Iterable<Item>): Record<string, Record<string, string>> {
  const texts: Record<string, Record<string, string>> = { features: {}, segments: {} };
  for (const { kind, key, json } of items) texts[kind]![key] = json;
  return texts;
}

export const textsOfMemory = (memory: Memory) => textsOf(memory.all());
