/** A moment to the nanosecond. */
interface Moment {
  /** Since 1970-01-01T00:00:00Z. */
  readonly seconds: number;
  /** From 0 to 999,999,999. */
  readonly nanoseconds: number;
}

/** What follows Z is ignored, and so is what follows an offset, from the first character on that is not ASCII. */
const DATE = /^(\d{4})-(\d\d)-(\d\d)[Tt](\d\d?):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:[Zz]|([-+])(\d\d):(\d\d)(.|$))/s;

/** As the Go evaluator's own parser: RFC 3339 with seconds up to 60, hours of one digit, and offsets up to 99:59. */
export function parseGoDate(value: unknown): Moment | undefined {
  if (typeof value === 'number') return fromMilliseconds(value);
  const match = typeof value === 'string' ? DATE.exec(value) : undefined;
  if (!match) return undefined;
  const [year, month, day, hour, minute, second] = match.slice(1, 7).map(Number) as Six;
  const [offsetHours, offsetMinutes] = [Number(match[9] ?? 0), Number(match[10] ?? 0)];
  if (month < 1 || month > 12 || day < 1 || day > 31 || hour > 23) return undefined;
  if (minute > 59 || second > 60 || offsetMinutes > 59 || isAscii(match[11])) return undefined;
  // Date.UTC takes years below 100 for those of the 20th century, and the calendar repeats after 400 years.
  const local = Date.UTC(year + 400, month - 1, day, hour, minute, second) / 1000 - SECONDS_IN_400_YEARS;
  const offset = (offsetHours * 60 + offsetMinutes) * 60;
  return {
    seconds: match[8] === '+' ? local - offset : local + offset,
    nanoseconds: Number((match[7] ?? '').padEnd(9, '0')),
  };
}

/** Of the first character; Go's scanner ends a text at NUL. */
function isAscii(text = ''): boolean {
  const code = text.charCodeAt(0);
  return code > 0 && code < 0x80;
}

type Six = [number, number, number, number, number, number];
const SECONDS_IN_400_YEARS = 12_622_780_800;

/** Go's zero time, which its evaluator takes for a missing date in a clause. */
export function isZero({ seconds, nanoseconds }: Moment): boolean {
  return seconds === -62_135_596_800 && nanoseconds === 0;
}

/** Negative if `a` is before `b`, 0 if they are the same moment. */
export function compareMoments(a: Moment, b: Moment): number {
  return a.seconds - b.seconds || a.nanoseconds - b.nanoseconds;
}

/** Up to the year 2262. Go calculates with whole milliseconds and 64-bit nanoseconds, which wrap around. */
function fromMilliseconds(value: number): Moment {
  let milliseconds = Math.trunc(value);
  let nanoseconds = 0;
  if (Math.abs(milliseconds) > 9.2e12) {
    const wrapped = BigInt.asIntN(64, toInt64(value) * 1_000_000n);
    // Both are rounded towards 0, so the remainder has the sign of the number.
    milliseconds = Number(wrapped / 1_000_000n);
    nanoseconds = Number(wrapped % 1_000_000n);
  }
  const seconds = Math.floor(milliseconds / 1000);
  const rest = (milliseconds - seconds * 1000) * 1_000_000 + nanoseconds;
  return rest < 0 ? { seconds: seconds - 1, nanoseconds: rest + 1e9 } : { seconds, nanoseconds: rest };
}

/** Go's conversion of a floating-point number to an integer on x86-64, where every number out of range becomes the lowest one. */
export function toInt64(value: number): bigint {
  const whole = Math.trunc(value);
  return whole >= -(2 ** 63) && whole < 2 ** 63 ? BigInt(whole) : -(2n ** 63n);
}
