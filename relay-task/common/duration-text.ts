const UNITS = [
  ['ms', 1_000],
  ['s', 60],
  ['min', 60],
  ['h', 24],
  ['days', Number.POSITIVE_INFINITY],
] as const;

/** For people, in the largest unit that it has one of: `850 ms`, `9.5 s`, `3.4 min`, `2 h`. */
export function durationText(ms: number): string {
  let rest = Math.max(0, ms);
  for (const [unit, most] of UNITS) {
    const rounded = unit === 'ms' || rest >= 10 ? Math.round(rest) : Math.round(rest * 10) / 10;
    if (rounded < most) return `${rounded} ${unit}`;
    rest /= most;
  }
  return `${rest}`;
}
