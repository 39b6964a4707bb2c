/**
 * The syntax of `ld-relay.conf`: git-config's dialect (https://git-scm.com/docs/git-config#_syntax) as far as ld-relay
 * understands it. What sections and options mean is decided in `names.ts`.
 */
interface FileSection {
  /** As written; section names are case-insensitive. */
  readonly section: string;
  /** The quoted part; case-sensitive. */
  readonly name: string | undefined;
  readonly line: number;
}

export interface FileOption extends FileSection {
  readonly option: string;
  /** Undefined without `=`, which means true. */
  readonly value: string | undefined;
}

export interface ParsedFile {
  readonly path: string;
  readonly sections: readonly FileSection[];
  readonly options: readonly FileOption[];
  /** Syntax errors with file and line; the other lines are still read. */
  readonly problems: readonly string[];
}

const HEADER = /^\[\s*([A-Za-z0-9.-]+)(?:\s+"((?:[^"\\]|\\.)*)")?\s*\]/;
const OPTION = /^([A-Za-z][A-Za-z0-9-]*)[ \t]*/;
const ESCAPES: Record<string, string> = { '\\': '\\', '"': '"', n: '\n', t: '\t', b: '\b' };

/** Never throws: errors are in `problems`, which never repeat values, since they may be keys. */
export function parseConfigFile(text: string, path: string): ParsedFile {
  const lines = text.replace(/^\uFEFF/, '').split(/\r?\n/);
  const sections: FileSection[] = [];
  const options: FileOption[] = [];
  const problems: string[] = [];
  let section: FileSection | undefined;

  for (let index = 0; index < lines.length; index += 1) {
    const line = index + 1;
    const wrong = (what: string) => problems.push(`${path}:${line}: ${what}`);
    let rest = (lines[index] ?? '').trimStart();
    if (rest.startsWith('[')) {
      const header = HEADER.exec(rest);
      if (header === null) {
        section = undefined;
        wrong('invalid section: write [Main] or [Environment "name"]');
        // Do not report each of its options as well.
        while (lines[index + 1]?.trimStart().startsWith('[') === false) index += 1;
        continue;
      }
      const [whole, title = '', name] = header;
      section = { section: title, name: name?.replace(/\\(.)/g, '$1'), line };
      sections.push(section);
      rest = rest.slice(whole.length).trimStart();
    }
    if (rest === '' || /^[#;]/.test(rest)) continue;
    const [head = '', option] = OPTION.exec(rest) ?? [];
    const after = rest.slice(head.length);
    if (option === undefined || !/^(=|[#;]|$)/.test(after)) {
      wrong('expected a [Section], an option = value, or a comment that starts with # or ;');
      continue;
    }
    let value: string | undefined;
    if (after.startsWith('=')) {
      const scanned = scanValue(lines, index, after.slice(1));
      index = scanned.lastIndex;
      if ('problem' in scanned) {
        wrong(`the value of ${option} ${scanned.problem}`);
        continue;
      }
      value = scanned.value;
    }
    if (section === undefined) wrong(`${option} is not in a section: write [Main] above it`);
    else options.push({ ...section, option, value, line });
  }
  return { path, sections, options, problems };
}

type Scanned = { readonly lastIndex: number } & ({ readonly value: string } | { readonly problem: string });

/** Reads one value after its `=`: quotes, escapes, a trailing comment, and lines continued with a `\` at the end. */
function scanValue(lines: readonly string[], start: number, first: string): Scanned {
  let index = start;
  let rest = first.trimStart();
  let value = '';
  /** Up to here, trailing white space is quoted and therefore kept. */
  let kept = 0;
  let quoted = false;
  for (let at = 0; ; at += 1) {
    const char = rest[at];
    if (char === undefined) {
      if (quoted) return { lastIndex: index, problem: 'has an unclosed quotation mark' };
      break;
    }
    if (char === '\\') {
      const next = rest[at + 1];
      if (next === undefined) {
        index += 1;
        rest = lines[index] ?? '';
        at = -1;
        continue;
      }
      const escaped = ESCAPES[next];
      if (escaped === undefined) return { lastIndex: index, problem: `has \\${next}: write \\\\ for a backslash` };
      value += escaped;
      kept = value.length;
      at += 1;
    } else if (char === '"') {
      quoted = !quoted;
      kept = value.length;
    } else if (!quoted && (char === '#' || char === ';')) {
      break;
    } else {
      value += char;
      if (quoted) kept = value.length;
    }
  }
  return { lastIndex: index, value: value.slice(0, kept) + value.slice(kept).trimEnd() };
}
