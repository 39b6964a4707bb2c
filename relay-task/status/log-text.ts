/** Log lines for people: `time LEVEL [environment] message name=value …`, and a stack indented on lines of its own. */
import { escaped } from '../common/escaped.ts';

const COLOURS: Readonly<Record<string, string>> = { DEBUG: '2', INFO: '36', WARN: '33', ERROR: '31' };
const DIM = '2';
/** Of the longest level. */
const LEVEL_WIDTH = 5;

type Attributes = Readonly<Record<string, unknown>>;

/** One line without its line feed; with a stack, several, of which only the first begins at the margin. */
export function toText(attributes: Attributes, colour: boolean): string {
  const { timestamp = new Date().toISOString(), level, message, environment, runbook, ...fields } = attributes;
  const paint = (code: string, text: string) => (colour && text !== '' ? `\x1b[${code}m${text}\x1b[0m` : text);
  const name = String(level);
  const stacks: string[] = [];
  const details = Object.entries(fields).map(([key, value]) => `${shown(key)}=${shownValue(value, stacks)}`);
  if (runbook !== undefined) details.push(`see docs/${shown(String(runbook))}`);
  const head = [
    paint(DIM, String(timestamp)),
    paint(COLOURS[name] ?? '', name.padEnd(LEVEL_WIDTH)),
    ...(environment === undefined ? [] : [`[${escaped(String(environment))}]`]),
    escaped(String(message)),
    ...(details.length === 0 ? [] : [paint(DIM, details.join(' '))]),
  ].join(' ');
  return [head, ...stacks.flatMap((stack) => stack.split('\n').map((line) => `    ${escaped(line.trim())}`))].join(
    '\n',
  );
}

/** A text without spaces and quotes as it is, any other in quotes. */
function shown(text: string): string {
  return /^[^\s"'=\\]+$/.test(text) && escaped(text) === text ? text : escaped(JSON.stringify(text));
}

/** An error is its message; its stack goes to `stacks`. */
function shownValue(value: unknown, stacks: string[]): string {
  if (typeof value === 'string') return shown(value);
  if (typeof value !== 'object' || value === null) return String(value);
  if (Array.isArray(value) && value.every((one) => typeof one === 'string')) return shown(value.join(','));
  const { name, message, stack, ...rest } = value as Attributes;
  if (typeof stack !== 'string' || typeof message !== 'string') return escaped(JSON.stringify(value));
  stacks.push(stack);
  const more = Object.keys(rest).length > 0 ? ` ${escaped(JSON.stringify(rest))}` : '';
  return `${shown(`${String(name)}: ${message}`)}${more}`;
}
