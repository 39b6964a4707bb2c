/** From the command line to the configuration: which file, which variables, and what to do with them. */
import { readFileSync } from 'node:fs';
import { RelayError } from '../errors.ts';
import { parseCommandLine, USAGE } from './command-line.ts';
import { type Config, type ConfigFile, parseConfig, type Variables } from './config.ts';
import { locateVariable } from './names.ts';
import { describeConfig } from './print.ts';

export const DEFAULT_FILE = '/etc/ld-relay.conf';

/** The text of a file; undefined if there is none. Throws what the file system says otherwise. */
export type ReadFile = (path: string) => string | undefined;

export type Loaded =
  | { readonly command: 'run'; readonly config: Config; readonly warnings: readonly string[] }
  /** `report` is the configuration in force, secrets masked. */
  | {
      readonly command: 'check';
      readonly config: Config;
      readonly warnings: readonly string[];
      readonly report: string;
    }
  | { readonly command: 'version' }
  /** `problem`: the command line was wrong. */
  | { readonly command: 'help'; readonly usage: string; readonly problem?: string };

/**
 * Understands arguments and variables as ld-relay does. Throws RelayError CONFIG_INVALID, as `parseConfig` does, also
 * for a file that is missing or cannot be read.
 */
export function loadConfig(
  argv: readonly string[],
  variables: Variables,
  { readFile = readTextFile }: { readFile?: ReadFile } = {},
): Loaded {
  const line = parseCommandLine(argv);
  if ('problem' in line) return { command: 'help', usage: USAGE, problem: line.problem };
  if (line.help) return { command: 'help', usage: USAGE };
  if (line.version) return { command: 'version' };

  const byDefault = line.configFiles === undefined && !line.fromEnv;
  const candidates = line.configFiles ?? (byDefault ? [DEFAULT_FILE] : []);
  const file = firstThatExists(candidates, readFile);
  const telling = tellingVariables(variables);
  // ld-relay would end here; whoever says what to relay in variables needs no file.
  const variablesInstead = byDefault && file === undefined && telling.length > 0;
  if (candidates.length > 0 && file === undefined && !line.allowMissingFile && !variablesInstead) {
    const remedy = byDefault ? 'name another with --config, or set LD_ENV_<name>' : 'or add --allow-missing-file';
    const what = candidates.length === 1 ? 'there is no such file' : 'none of these files exists';
    invalid(`${candidates.join(', ')}: ${what}; ${remedy}`);
  }
  const withVariables = line.fromEnv || variablesInstead;
  const parsed = parseConfig(withVariables ? variables : {}, file);
  const { config } = parsed;
  const warnings = [...parsed.warnings];
  if (!withVariables && telling.length > 0) {
    warnings.push(`${telling.join(', ')}: not read, since there is a file and no --from-env`);
  }
  if (!line.check) return { command: 'run', config, warnings };
  return { command: 'check', config, warnings, report: describeConfig(parsed) };
}

function firstThatExists(candidates: readonly string[], readFile: ReadFile): ConfigFile | undefined {
  for (const path of candidates) {
    try {
      const text = readFile(path);
      if (text !== undefined) return { path, text };
    } catch (error) {
      invalid(`${path} cannot be read: ${(error as Error).message}`);
    }
  }
  return undefined;
}

function invalid(problem: string): never {
  throw new RelayError('CONFIG_INVALID', problem, { cause: [problem] });
}

/** The variables that say what to relay. */
function tellingVariables(variables: Variables): string[] {
  return Object.keys(variables).filter((variable) => {
    if (!variables[variable]?.trim()) return false;
    const located = locateVariable(variable);
    if (located === undefined || located.table === 'without-effect') return false;
    return located.table !== 'relay' || ['autoConfigKey', 'fileDataSource', 'keysFromSsm'].includes(located.key);
  });
}

function readTextFile(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
