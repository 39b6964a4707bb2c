import { totalmem } from 'node:os';
import { constrainedMemory } from 'node:process';
import { getHeapStatistics } from 'node:v8';

export interface ProcessLimits {
  /** What the container, or else the machine, has; in bytes. */
  readonly memoryBytes: number;
  /** What V8's heap may take. */
  readonly heapBytes: number;
}

export function processLimits(): ProcessLimits {
  // 0 or a number beyond the machine's memory: there is no limit.
  const constrainedBytes = constrainedMemory() ?? 0;
  const memoryBytes = constrainedBytes > 0 ? Math.min(constrainedBytes, totalmem()) : totalmem();
  return { memoryBytes, heapBytes: getHeapStatistics().heap_size_limit };
}
