/** A version by Semantic Versioning 2.0.0, without the build, which comparisons ignore. */
interface GoVersion {
  /** Major, minor and patch. */
  readonly numbers: readonly bigint[];
  /** Undefined: a release. */
  readonly pre: readonly (bigint | string)[] | undefined;
}

const VERSION =
  /^((?:0|[1-9]\d*)(?:\.(?:0|[1-9]\d*)){0,2})(?:-((?:0|[1-9]\d*|\d*[a-zA-Z-][\da-zA-Z-]*)(?:\.(?:0|[1-9]\d*|\d*[a-zA-Z-][\da-zA-Z-]*))*))?(?:\+[\da-zA-Z-]+(?:\.[\da-zA-Z-]+)*)?$/;

/** Parses a version as LaunchDarkly's Go package does: minor and patch may be missing, and numbers wrap around after 64 bits. */
export function parseGoVersion(text: unknown): GoVersion | undefined {
  const match = typeof text === 'string' ? VERSION.exec(text) : undefined;
  if (!match) return undefined;
  const numbers = match[1]!.split('.').map(wrapped);
  const pre = match[2]?.split('.').map((identifier) => (/^\d+$/.test(identifier) ? wrapped(identifier) : identifier));
  return { numbers, pre };
}

const DIGITS_AT_ONCE = 15;

/** Digit by digit as Go does, so in time linear in the length, which a client chooses. */
function wrapped(digits: string): bigint {
  let wrappedSoFar = 0n;
  for (let at = 0; at < digits.length; at += DIGITS_AT_ONCE) {
    const some = digits.slice(at, at + DIGITS_AT_ONCE);
    wrappedSoFar = BigInt.asIntN(64, wrappedSoFar * BigInt(10 ** some.length) + BigInt(some));
  }
  return wrappedSoFar;
}

/** Negative if `a` is lower than `b`, 0 if they are equal in precedence. */
export function compareGoVersions(a: GoVersion, b: GoVersion): number {
  for (let i = 0; i < 3; i++) {
    const order = compare(a.numbers[i] ?? 0n, b.numbers[i] ?? 0n);
    if (order !== 0) return order;
  }
  if (!a.pre || !b.pre) return Number(!a.pre) - Number(!b.pre);
  for (let i = 0; i < a.pre.length && i < b.pre.length; i++) {
    const order = compareIdentifiers(a.pre[i]!, b.pre[i]!);
    if (order !== 0) return order;
  }
  return a.pre.length - b.pre.length;
}

function compareIdentifiers(a: bigint | string, b: bigint | string): number {
  // A number is lower than a text.
  return typeof a === typeof b ? compare(a, b) : typeof a === 'bigint' ? -1 : 1;
}

function compare<T extends bigint | string>(a: T, b: T): number {
  return Number(a > b) - Number(a < b);
}
