import { type ParsedConfig, parseConfig, type Variables } from '../../relay-task/config/config.ts';
import { RelayError } from '../../relay-task/errors.ts';

/**
 * The same settings in two forms: lines of a file, each `Section: option = value`, and variables, each `NAME=value`.
 * Unless `whole` is set, one environment called production is added to both.
 */
interface Given {
  readonly file: string;
  readonly variables: string;
  readonly whole?: boolean;
}

const filePath = 'relay.conf';

const split = (text: string) => text.split('\n').filter((line) => line.trim() !== '');

function fileOf({ file, whole }: Given): string {
  const lines = [...split(file), ...(whole ? [] : ['Environment "production": sdkKey = sdk-1'])];
  // Each option follows its own section line, so option n is on line 2n.
  return lines.map((line) => line.trim().replace(/^([A-Za-z]+(?: "[^"]*")?): ?/, '[$1]\n')).join('\n');
}

function variablesOf({ variables, whole }: Given): Variables {
  const pairs = split(variables).map((line) => {
    const [, name = '', value = ''] = /^\s*([^=]+)=(.*)$/.exec(line) ?? [];
    return [name, value];
  });
  return { ...(whole ? {} : { LD_ENV_production: 'sdk-1' }), ...Object.fromEntries(pairs) };
}

export function parseAsFile(given: Given): ParsedConfig {
  return parseConfig({}, { path: filePath, text: fileOf(given) });
}

export function parseAsVariables(given: Given): ParsedConfig {
  return parseConfig(variablesOf(given));
}

/** All problems of a configuration that must be rejected. */
export function problemsOf(parse: () => unknown): readonly string[] {
  try {
    parse();
  } catch (error) {
    if (!(error instanceof RelayError) || error.code !== 'CONFIG_INVALID') throw error;
    return error.cause as string[];
  }
  throw new Error('the configuration was accepted');
}

/**
 * Fills in a message: `$1` is the name of the first setting, `$1 := x` the name with its value, as written in this form.
 */
export function messageFor(form: 'file' | 'variables', message: string, given: Given): string {
  return message.replace(/\$(\d)( := )?/g, (_, digit: string, assigned: string | undefined) => {
    const index = Number(digit) - 1;
    if (form === 'variables') return `${split(given.variables)[index]?.trim().split('=')[0]}${assigned ? '=' : ''}`;
    const [, section, option] = /^\s*([A-Za-z]+(?: "[^"]*")?): ?([A-Za-z]+)/.exec(split(given.file)[index] ?? '') ?? [];
    return `${filePath}:${2 * (index + 1)}: [${section}] ${option}${assigned ? ' = ' : ''}`;
  });
}
