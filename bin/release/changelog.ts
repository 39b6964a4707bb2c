/** The changelog's form: Keep a Changelog, with `## Unreleased` on top and one `## [x.y.z] - yyyy-mm-dd` for each release. */

const UNRELEASED = '## Unreleased';

/** Where releases are: `https://github.com/owner/name`. */
type RepositoryUrl = string;

interface Split {
  /** The text up to and including the heading Unreleased. */
  readonly head: string;
  readonly unreleased: string;
  /** The releases, newest first, and the links at the end. */
  readonly rest: string;
}

function split(text: string): Split {
  const start = text.indexOf(`\n${UNRELEASED}\n`);
  if (start < 0) throw new Error(`CHANGELOG.md has no heading "${UNRELEASED}"`);
  const after = start + UNRELEASED.length + 2;
  const length = text.slice(after).search(/^## |^\[[^\]]+\]: /m);
  const end = length < 0 ? text.length : after + length;
  return { head: text.slice(0, after), unreleased: text.slice(after, end), rest: text.slice(end) };
}

/** The versions that have a section, newest first. */
export function releasedVersions(text: string): string[] {
  return [...text.matchAll(/^## \[(\d+\.\d+\.\d+)\] - /gm)].map(([, version]) => version ?? '');
}

/** What is not released yet, without the headings that have no entry. Empty if there is no entry. */
export function unreleasedEntries(text: string): string {
  const parts = split(text).unreleased.split(/^(?=###+ )/m);
  return parts
    .filter((part, index) => hasEntry(part) || isParentOfEntries(parts, index))
    .join('')
    .trim();
}

const hasEntry = (part: string) => /^[-*] /m.test(part);
const levelOf = (part: string) => /^#*/.exec(part)?.[0].length ?? 0;

/** Whether a deeper heading below this one has an entry. */
function isParentOfEntries(parts: readonly string[], index: number): boolean {
  const level = levelOf(parts[index] ?? '');
  if (level === 0) return false;
  for (const part of parts.slice(index + 1)) {
    if (levelOf(part) <= level) return false;
    if (hasEntry(part)) return true;
  }
  return false;
}

/** The changelog after a release: its section below an empty Unreleased, and its link before those of older releases. */
export function withRelease(text: string, version: string, date: string, repository: RepositoryUrl): string {
  const { head, rest } = split(text);
  const [previous] = releasedVersions(text);
  const changes = previous ? `compare/v${previous}...v${version}` : `releases/tag/v${version}`;
  const link = `[${version}]: ${repository}/${changes}\n`;
  const section = `\n## [${version}] - ${date}\n\n${unreleasedEntries(text)}\n\n`;
  const links = rest.search(/^\[\d+\.\d+\.\d+\]: /m);
  if (links < 0) return `${head}${section}${rest && `${rest.trimEnd()}\n\n`}${link}`;
  return `${head}${section}${rest.slice(0, links)}${link}${rest.slice(links)}`;
}

/** A release's entries without its heading, or undefined if it has no section. */
export function notesOf(text: string, version: string): string | undefined {
  if (!releasedVersions(text).includes(version)) return undefined;
  const heading = new RegExp(`^## \\[${version.replaceAll('.', '\\.')}\\] - .*\\n`, 'm').exec(text);
  if (!heading) return undefined;
  const after = text.slice(heading.index + heading[0].length);
  const end = after.search(/^## |^\[[^\]]+\]: /m);
  return (end < 0 ? after : after.slice(0, end)).trim();
}
