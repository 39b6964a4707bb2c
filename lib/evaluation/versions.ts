/** A semantic version 2.0.0 without its build, which takes no part in comparisons. */
export interface Version {
  readonly major: number;
  readonly minor: number;
  readonly patch: number;
  /** The identifiers of the pre-release as text that sorts like they do; a release comes after all of them. */
  readonly pre: string;
}

const VERSION =
  /^v?(0|[1-9]\d*)(?:\.(0|[1-9]\d*))?(?:\.(0|[1-9]\d*))?(?:-((?:0|[1-9]\d*|\d*[a-zA-Z-][\da-zA-Z-]*)(?:\.(?:0|[1-9]\d*|\d*[a-zA-Z-][\da-zA-Z-]*))*))?(?:\+[\da-zA-Z-]+(?:\.[\da-zA-Z-]+)*)?$/;
const MAX_CHARACTERS = 256;

/**
 * A version from text, or undefined. Minor and patch may be missing where the text begins with a digit.
 * White space around, at most 256 characters, numbers up to 2^53 - 1 and those of pre-releases as doubles: as the npm package
 * semver 7 has it.
 */
export function parseVersion(text: unknown): Version | undefined {
  if (typeof text !== 'string' || text[0] === 'v') return undefined;
  const match = VERSION.exec(text.trim());
  if (!match) return undefined;
  const missing = match[2] === undefined ? 2 : match[3] === undefined ? 1 : 0;
  // The repair of a short form looks at the untrimmed text, needs a digit first, and lengthens it.
  if ((missing > 0 && !/^\d/.test(text)) || text.length + 2 * missing > MAX_CHARACTERS) return undefined;
  const [major, minor, patch] = [Number(match[1]), Number(match[2] ?? 0), Number(match[3] ?? 0)];
  if (Math.max(major, minor, patch) >= 2 ** 53) return undefined;
  // A space is before all characters of identifiers, and `~` after them.
  return { major, minor, patch, pre: match[4]?.split('.').map(sortable).join(' ') ?? '~' };
}

/** Numbers come before texts. */
function sortable(identifier: string): string {
  return /^\d+$/.test(identifier)
    ? `0${String(BigInt(Number(identifier))).padStart(MAX_CHARACTERS, '0')}`
    : `1${identifier}`;
}

/** Negative when a precedes b, 0 when neither precedes. */
export function compareVersions(a: Version, b: Version): number {
  return a.major - b.major || a.minor - b.minor || a.patch - b.patch || Number(a.pre > b.pre) - Number(a.pre < b.pre);
}
