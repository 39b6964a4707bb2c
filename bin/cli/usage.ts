/** What the commands have in common in reading their arguments, and in saying how they are called. */
import { debuglog, type ParseArgsConfig, parseArgs } from 'node:util';
import { commandText, inClone } from '../../lib/command-text.ts';
import { nearest } from '../../relay-task/common/edit-distance.ts';

const debug = debuglog('edge-flag-relay');

/** They are not part of the package: what synthesises needs them. */
const PEERS: readonly string[] = ['aws-cdk-lib', 'constructs'];

/** `Usage: edge-flag-relay keys --help`, the line after a problem with arguments. */
export function usageLine(command: string): string {
  return `Usage: ${commandText(command, '--help')}\n`;
}

/**
 * What to print of an error that stops a command: no stack, which NODE_DEBUG=edge-flag-relay prints. A peer of the package that is not
 * there is named with what installs it.
 */
export function describeFailure(error: unknown): string {
  const { code, message, stack } = error as NodeJS.ErrnoException;
  debug('%s', stack ?? error);
  const [, missing = ''] = /^Cannot find (?:package|module) '((?:@[^/']+\/)?[^/']+)/.exec(message ?? '') ?? [];
  if (code === 'ERR_MODULE_NOT_FOUND' && PEERS.includes(missing)) {
    return `${missing} is not installed, which this needs: npm install --save-dev ${PEERS.join(' ')}`;
  }
  return message ?? String(error);
}

/** What --json does. */
export const JSON_SAYS = `print one JSON object${inClone ? '; npm run -s keeps npm’s own lines out' : ''}`;

/** What --app does. */
export const APP_SAYS = 'take the stage from a CDK app of your own, as cdk synth left it there';

/** The message for a word that is none of `known`: `Unknown command kesy: did you mean keys?` */
export function describeUnknown(
  what: 'alert' | 'command' | 'option' | 'shell' | 'threshold',
  word: string,
  known: readonly string[],
): string {
  const near = nearest(word, known);
  return `Unknown ${what} ${word}: ${near === undefined ? `expected one of ${known.join(', ')}` : `did you mean ${near}?`}`;
}

/** Node's `parseArgs`, with a better message for an unknown option. */
export function parseOptions<T extends ParseArgsConfig>(config: T): ReturnType<typeof parseArgs<T>> {
  try {
    return parseArgs(config);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const [, option] = /'(-[^']*)'/.exec(message) ?? [];
    if (code !== 'ERR_PARSE_ARGS_UNKNOWN_OPTION' || option === undefined) throw error;
    const known = Object.keys(config.options ?? {}).map((name) => `--${name}`);
    throw Object.assign(new Error(describeUnknown('option', option, known)), { code });
  }
}

/** Words of a usage text in lines, the second and later ones indented. */
export function wrapWords(words: readonly string[], indent: number): string {
  const lines = [''];
  for (const word of words) {
    const line = lines.at(-1)!;
    if (line.length + word.length > 90) lines.push(word);
    else lines[lines.length - 1] = line === '' ? word : `${line}, ${word}`;
  }
  return lines.join(`,\n${' '.repeat(indent)}`);
}
