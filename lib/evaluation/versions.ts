/** A version by Semantic Versioning 2.0.0, without the build, which comparisons ignore. */
export interface Version {
  readonly major: number;
  readonly minor: number;
  readonly patch: number;
  /** The pre-release identifiers as a string that sorts in their order; a release sorts last. */
  readonly pre: string;
}

const VERSION =
  /^v?(0|[1-9]\d*)(?:\.(0|[1-9]\d*))?(?:\.(0|[1-9]\d*))?(?:-((?:0|[1-9]\d*|\d*[a-zA-Z-][\da-zA-Z-]*)(?:\.(?:0|[1-9]\d*|\d*[a-zA-Z-][\da-zA-Z-]*))*))?(?:\+[\da-zA-Z-]+(?:\.[\da-zA-Z-]+)*)?$/;
const MAX_CHARACTERS = 256;

/**
 * Parses a version; undefined if it is invalid. Minor and patch may be missing if the text begins with a digit.
 * As in the npm package semver 7: surrounding white space is allowed, at most 256 characters, numbers up to 2^53 - 1, and
 * pre-release numbers are compared as doubles.
 */
export function parseVersion(text: unknown): Version | undefined {
  if (typeof text !== 'string' || text[0] === 'v') return undefined;
  const match = VERSION.exec(text.trim());
  if (!match) return undefined;
  const missing = match[2] === undefined ? 2 : match[3] === undefined ? 1 : 0;
  // Completing a short form applies to the untrimmed text, which must start with a digit, and adds to its length.
  if ((missing > 0 && !/^\d/.test(text)) || text.length + 2 * missing > MAX_CHARACTERS) return undefined;
  const [major, minor, patch] = [Number(match[1]), Number(match[2] ?? 0), Number(match[3] ?? 0)];
  if (Math.max(major, minor, patch) >= 2 ** 53) return undefined;
  // A space sorts before all characters of identifiers, and `~` after them.
  return { major, minor, patch, pre: match[4]?.split('.').map(sortable).join(' ') ?? '~' };
}

/** Numeric identifiers sort before alphanumeric ones. */
function sortable(identifier: string): string {
  return /^\d+$/.test(identifier)
    ? `0${String(BigInt(Number(identifier))).padStart(MAX_CHARACTERS, '0')}`
    : `1${identifier}`;
}

/** Negative if a is lower than b, 0 if they are equal in precedence. */
export function compareVersions(a: Version, b: Version): number {
  return a.major - b.major || a.minor - b.minor || a.patch - b.patch || Number(a.pre > b.pre) - Number(a.pre < b.pre);
}
