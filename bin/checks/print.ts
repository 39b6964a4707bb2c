/** Findings for people: in lines of at most 80 columns, coloured only on terminals. */
import { styleText } from 'node:util';
import type { Check, State } from './check.ts';

export interface Paper {
  /** Columns. @default 80 */
  readonly width?: number;
  readonly colour?: boolean;
}

const marks: Readonly<Record<State, string>> = { good: '✓', bad: '✗', note: '!', unknown: '?' };
const colours = { good: 'green', bad: 'red', note: 'yellow', unknown: 'yellow' } as const satisfies Record<
  State,
  string
>;
/** What makes a table too wide; the next line then has the rest. */
const MAX_NAME = 30;

/** Below it words would not fit. */
const MIN_WIDTH = 30;
/** Of a result beside its name. */
const MIN_RESULT = 24;

type Colour = Parameters<typeof styleText>[0];

/** Whether it can be seen is for the caller to know: Node's own check, which only newer versions have, looks at standard output alone. */
export function painted(colour: Colour, text: string): string {
  return styleText(colour, text, { validateStream: false });
}

type Env = Readonly<Record<string, string | undefined>>;

/** https://no-color.org, and https://force-color.org as Node has it: FORCE_COLOR counts before NO_COLOR, and 0 or false means none. */
export function isColoured({ isTTY }: { readonly isTTY?: boolean }, env: Env): boolean {
  const { FORCE_COLOR: forced } = env;
  if (forced !== undefined) return !/^(0|false)$/i.test(forced);
  return isTTY === true && !env.NO_COLOR && env.TERM !== 'dumb';
}

/** How a stream wants it. Some terminals say that they have no columns. */
export function paperOf(stream: { readonly isTTY?: boolean; readonly columns?: number }, env: Env): Paper {
  const colour = isColoured(stream, env);
  return { width: Math.max(MIN_WIDTH, Math.min(stream.columns || 80, 120)), colour };
}

/** One sentence for each finding, and what to do below it; a terminal wraps them. */
export function sentencesOf(checks: readonly Check[], paper: Paper = {}): string {
  return checks
    .map(({ state, what, advice }) => {
      const result = `${markOf(state, paper)}${printable(what)}\n`;
      return advice === undefined ? result : `${result}    → ${printable(advice)}\n`;
    })
    .join('');
}

/** A table: mark, kind, which one, and the result. */
export function tableOf(checks: readonly Check[], paper: Paper = {}): string {
  const widest = (texts: readonly string[]) => Math.min(MAX_NAME, Math.max(0, ...texts.map((text) => text.length)));
  const [names, values] = [widest(checks.map(({ name }) => name)), widest(checks.map(({ value }) => value))];
  const start = 2 + names + 2 + values + 2;
  // On a narrow terminal the result has lines of its own.
  const isNarrow = (paper.width ?? 80) - start < MIN_RESULT;
  const indent = isNarrow ? 4 : start;
  let before = '';
  return checks
    .map(({ state, name, value, what, advice }) => {
      const shown = name === before && !isNarrow ? '' : name;
      before = name;
      const head = `${markOf(state, paper)}${isNarrow ? `${shown}  ${value}` : `${shown.padEnd(names)}  ${value.padEnd(values)}`}`;
      const fits = value.length <= values && !isNarrow;
      const result = indented(what, indent, paper);
      return `${head}${fits ? `  ${result}` : `\n${' '.repeat(indent)}${result}`}${adviceOf(advice, paper)}`;
    })
    .join('');
}

/** Without what would move a terminal's cursor or change its colours: much of a message is what AWS, or something in its place, says. */
export function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  return text.replace(/[\0-\x09\x0b-\x1f\x7f-\x9f]/g, ' ');
}

function markOf(state: State, { colour }: Paper): string {
  return `${colour ? painted(colours[state], marks[state]) : marks[state]} `;
}

/** A command stays in one line, so that it can be copied. */
function adviceOf(advice: string | undefined, paper: Paper): string {
  if (advice === undefined) return '';
  return `    → ${/^(aws|edge-flag-relay|npm|npx) /.test(advice) ? `${printable(advice)}\n` : indented(advice, 6, paper)}`;
}

/** Wrapped between words, the first line without its indentation. */
function indented(text: string, indent: number, { width = 80 }: Paper): string {
  const lines = [''];
  for (const word of printable(text).split(/ |\n\s*/)) {
    const line = lines.at(-1)!;
    if (line === '') lines[lines.length - 1] = word;
    else if (indent + line.length + 1 + word.length <= width) lines[lines.length - 1] = `${line} ${word}`;
    else lines.push(word);
  }
  return `${lines.join(`\n${' '.repeat(indent)}`)}\n`;
}
