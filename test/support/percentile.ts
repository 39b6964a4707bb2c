/** The number below which the given share of them lies; 0 of none. `share`: 0.5 for the median, 1 for the largest. */
export function percentile(numbers: readonly number[], share: number): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
}

export const median = (numbers: readonly number[]): number => percentile(numbers, 0.5);
