/** Findings for people: in lines of at most 80 columns, coloured only on terminals. */
import type { Check, State } from './check.ts';

export interface Paper {
  /** Columns. @default 80 */
  readonly width?: number;
  readonly colour?: boolean;
}

const marks: Readonly<Record<State, string>> = { good: '✓', bad: '✗', note: '!', unknown: '?' };
const colours: Readonly<Record<State, number>> = { good: 32, bad: 31, note: 33, unknown: 33 };
/** What makes a table too wide; the next line then has the rest. */
const MAX_NAME = 30;

/** How a stream wants it. https://no-color.org */
export function paperOf(
  stream: { readonly isTTY?: boolean; readonly columns?: number },
  env: Readonly<Record<string, string | undefined>>,
): Paper {
  return { width: Math.min(stream.columns ?? 80, 120), colour: stream.isTTY === true && !env.NO_COLOR };
}

/** One sentence for each finding, and what to do below it; a terminal wraps them. */
export function sentencesOf(checks: readonly Check[], paper: Paper = {}): string {
  return checks
    .map(
      ({ state, what, advice }) => `${markOf(state, paper)}${what}\n${advice === undefined ? '' : `    → ${advice}\n`}`,
    )
    .join('');
}

/** A table: mark, kind, which one, and the result. */
export function tableOf(checks: readonly Check[], paper: Paper = {}): string {
  const widest = (texts: readonly string[]) => Math.min(MAX_NAME, Math.max(0, ...texts.map((text) => text.length)));
  const [names, values] = [widest(checks.map(({ name }) => name)), widest(checks.map(({ value }) => value))];
  const start = 2 + names + 2 + values + 2;
  let before = '';
  return checks
    .map(({ state, name, value, what, advice }) => {
      const shown = name === before ? '' : name;
      before = name;
      const head = `${markOf(state, paper)}${shown.padEnd(names)}  ${value.padEnd(values)}`;
      const fits = value.length <= values;
      const result = indented(what, start, paper);
      return `${head}${fits ? `  ${result}` : `\n${' '.repeat(start)}${result}`}${adviceOf(advice, paper)}`;
    })
    .join('');
}

function markOf(state: State, { colour }: Paper): string {
  return colour ? `\x1b[${colours[state]}m${marks[state]}\x1b[0m ` : `${marks[state]} `;
}

/** A command stays in one line, so that it can be copied. */
function adviceOf(advice: string | undefined, paper: Paper): string {
  if (advice === undefined) return '';
  return `    → ${/^(aws|npm|npx) /.test(advice) ? `${advice}\n` : indented(advice, 6, paper)}`;
}

/** Wrapped between words, the first line without its indentation. */
function indented(text: string, indent: number, { width = 80 }: Paper): string {
  const lines = [''];
  for (const word of text.split(' ')) {
    const line = lines.at(-1)!;
    if (line === '') lines[lines.length - 1] = word;
    else if (indent + line.length + 1 + word.length <= width) lines[lines.length - 1] = `${line} ${word}`;
    else lines.push(word);
  }
  return `${lines.join(`\n${' '.repeat(indent)}`)}\n`;
}
