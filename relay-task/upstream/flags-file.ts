import { extname } from 'node:path';
import { LineCounter, parseDocument } from 'yaml';
import { describeFlagProblem, describeSegmentProblem } from '../../lib/evaluation/index.ts';
import type { Kind } from '../../lib/flag-table/index.ts';
import { nearest } from '../common/edit-distance.ts';
import { describeKeyProblem } from '../common/item-text.ts';
import { describeType, isCount, isObject, type JsonObject, showJson } from '../common/json.ts';
import type { UnreadableItem } from '../ports.ts';
import { duplicatesIn } from './file-duplicates.ts';
import type { FileEntry, FileRemark } from './file-entry.ts';
import { remarksOn } from './file-remarks.ts';
import { describeJsonProblem } from './json-problem.ts';

type FlagsFile =
  | {
      readonly entries: readonly FileEntry[];
      readonly unreadable: readonly UnreadableItem[];
      /** Looks for what is accepted but most likely a mistake. Yields often. */
      remarks(): Generator<void, FileRemark[]>;
    }
  | { readonly problem: string };

const SECTIONS = ['flags', 'segments', 'flagValues'] as const;

/**
 * Parses the file format of LaunchDarkly's SDKs (`flags`, `segments`, `flagValues`), JSON or YAML: decided by the
 * extension, or by the first character. Never throws. See https://docs.launchdarkly.com/sdk/features/flags-from-files.
 */
export function parseFlagsFile(text: string, path: string): FlagsFile {
  const parsed = isJson(text, path) ? parseJson(text) : parseYaml(text);
  if ('problem' in parsed) return parsed;
  const { value } = parsed;
  if (!isObject(value)) return { problem: `must be a map with ${SECTIONS.join(', ')}, not ${nameOf(value)}` };
  if (!SECTIONS.some((name) => Object.hasOwn(value, name))) {
    return { problem: `has none of ${SECTIONS.join(', ')}` };
  }
  for (const name of SECTIONS) {
    if (!isObject(value[name] ?? {})) return { problem: `${name} must be a map by key, not ${nameOf(value[name])}` };
  }
  const read = readSections(value as { readonly [section in (typeof SECTIONS)[number]]?: JsonObject | null });
  if ('problem' in read) return read;
  return {
    entries: read.entries,
    unreadable: read.unreadable,
    *remarks() {
      const json = parsed.json !== undefined ? yield* duplicatesIn(parsed.json) : [];
      return [...sectionRemarks(value), ...json, ...(yield* remarksOn(read.entries))];
    },
  };
}

function sectionRemarks(value: JsonObject): FileRemark[] {
  const others = Object.keys(value).filter((name) => !(SECTIONS as readonly string[]).includes(name));
  return others
    .filter((name) => !name.startsWith('$') && !name.startsWith('_'))
    .map((name) => {
      const near = nearest(name, SECTIONS);
      const meant = near === undefined ? `: expected ${SECTIONS.join(', ')}` : `; did you mean ${near}?`;
      return { at: name, reason: `no SDK reads this section${meant}` };
    });
}

type Sections =
  | { readonly problem: string }
  | { readonly entries: readonly FileEntry[]; readonly unreadable: readonly UnreadableItem[] };

function readSections({
  flags,
  segments,
  flagValues,
}: {
  readonly [name: string]: JsonObject | null | undefined;
}): Sections {
  const entries: FileEntry[] = [];
  const unreadable: UnreadableItem[] = [];
  const add = (kind: Kind, key: string, data: unknown) => {
    if (isObject(data) && data.deleted === true) return;
    const problem = describeEntryProblem(kind, key, data);
    if (problem !== undefined) {
      unreadable.push({ kind, key, reason: problem });
      return;
    }
    const { version, ...rest } = data as JsonObject;
    entries.push({ kind, key, version: version as number | undefined, data: { ...rest, key } });
  };
  for (const [key, data] of Object.entries(segments ?? {})) add('segments', key, data);
  for (const [key, data] of Object.entries(flags ?? {})) add('features', key, data);
  for (const [key, value] of Object.entries(flagValues ?? {})) {
    if (flags && Object.hasOwn(flags, key)) {
      return { problem: `flag ${JSON.stringify(key)} is defined in both flags and flagValues; keep one` };
    }
    add('features', key, { on: true, variations: [value], fallthrough: { variation: 0 } });
  }
  return { entries, unreadable };
}

function describeEntryProblem(kind: Kind, key: string, data: unknown): string | undefined {
  if (!isObject(data)) return `must be a map of its fields, not ${nameOf(data)}`;
  const keyProblem = describeKeyProblem(key);
  if (keyProblem !== undefined) return keyProblem;
  const { version = 1, key: ownKey = key } = data;
  if (ownKey !== key) return `key must be ${JSON.stringify(key)} or left out, not ${showJson(ownKey)}`;
  if (!isCount(version)) {
    return `version must be a whole number from 0 or left out, not ${showJson(version)}`;
  }
  const complete = { ...data, key, version };
  return kind === 'features' ? describeFlagProblem(complete) : describeSegmentProblem(complete);
}

function isJson(text: string, path: string): boolean {
  const extension = extname(path).toLowerCase();
  if (extension === '.yaml' || extension === '.yml') return false;
  return extension === '.json' || /^\s*\{/.test(text);
}

/** `json`: the text, if it is JSON. */
type Parsed = { readonly value: unknown; readonly json?: string } | { readonly problem: string };

function parseJson(text: string): Parsed {
  // Windows editors may start a file with a byte order mark, which is not valid JSON.
  const json = text.replace(/^\uFEFF/, '');
  try {
    return { value: JSON.parse(json), json };
  } catch (error) {
    const place = describeJsonProblem(json);
    return { problem: place ? `line ${place.line}, column ${place.column}: ${place.message}` : String(error) };
  }
}

function parseYaml(text: string): Parsed {
  const lines = new LineCounter();
  try {
    const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, merge: true });
    const [error] = document.errors;
    if (!error) return { value: document.toJS() };
    const { line, col } = lines.linePos(error.pos[0]);
    return { problem: `line ${line}, column ${col}: ${error.message}` };
  } catch (error) {
    // An alias without an anchor, or one that expands without bound.
    return { problem: (error as Error).message };
  }
}

/** YAML's null is usually an empty value. */
function nameOf(value: unknown): string {
  return value === null || value === undefined ? 'empty' : describeType(value);
}
