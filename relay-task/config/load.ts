/** From the command line to the configuration: which file and which variables to read, and what to do then. */
import { readFileSync } from 'node:fs';
import { invalidConfig } from '../common/findings.ts';
import { parseCommandLine, USAGE } from './command-line.ts';
import { type Address, type Config, type ConfigFile, parseAddress, parseConfig, type Variables } from './config.ts';
import { locateVariable } from './names.ts';
import { describeConfig, describeVerdict } from './print.ts';
import { type Setting, settings } from './settings.ts';

const DEFAULT_FILE = '/etc/ld-relay.conf';

const sources: readonly Setting<unknown>[] = [settings.autoConfig.key, settings.offline.path, settings.ssm.path];

/** The text of a file; undefined if it does not exist. Throws any other error of the file system. */
type ReadFile = (path: string) => string | undefined;

export type Loaded =
  | { readonly command: 'run'; readonly config: Config; readonly warnings: readonly string[] }
  /** `report` is what is set, with secrets masked, and the verdict as its last line. */
  | {
      readonly command: 'check';
      readonly config: Config;
      readonly warnings: readonly string[];
      readonly report: string;
    }
  | { readonly command: 'healthcheck'; readonly config: Address; readonly path: '/livez' | '/readyz' }
  | { readonly command: 'version' }
  /** `problem`: the command line was wrong. */
  | { readonly command: 'help'; readonly usage: string; readonly problem?: string };

/**
 * Reads arguments and variables as ld-relay does. Throws RelayError CONFIG_INVALID, as `parseConfig` does, also
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
  const sourceVariables = variablesWithSource(variables);
  // ld-relay would exit here. If the variables say what to relay, no file is needed.
  const variablesInstead = byDefault && file === undefined && sourceVariables.length > 0;
  if (candidates.length > 0 && file === undefined && !line.allowMissingFile && !variablesInstead) {
    const remedy = byDefault
      ? 'Pass --config FILE, or set LD_ENV_<name>.'
      : `Create ${candidates.length === 1 ? 'it' : 'one'}, or pass --allow-missing-file.`;
    const what = candidates.length === 1 ? 'File not found' : 'None of these files exists';
    throw invalidConfig([`${what}: ${candidates.join(', ')}. ${remedy}`]);
  }
  const withVariables = line.fromEnv || variablesInstead;
  const counting = withVariables ? variables : {};
  if (line.healthcheck || line.readycheck) {
    const path = line.readycheck ? '/readyz' : '/livez';
    return { command: 'healthcheck', config: parseAddress(counting, file), path };
  }
  const parsed = parseConfig(counting, file);
  const { config } = parsed;
  const warnings = [...parsed.warnings];
  if (!withVariables && sourceVariables.length > 0) {
    warnings.push(
      `${sourceVariables.join(', ')}: ignored, since there is a configuration file; pass --from-env to use both`,
    );
  }
  if (!line.check) return { command: 'run', config, warnings };
  const { effective } = parsed;
  const verdict = describeVerdict(config, effective, warnings);
  const report = `${describeConfig(effective, { defaults: line.defaults })}\n${verdict}`;
  return { command: 'check', config, warnings, report };
}

function firstThatExists(candidates: readonly string[], readFile: ReadFile): ConfigFile | undefined {
  for (const path of candidates) {
    try {
      const text = readFile(path);
      if (text !== undefined) return { path, text };
    } catch (error) {
      throw invalidConfig([`Cannot read ${path}: ${(error as Error).message}`]);
    }
  }
  return undefined;
}

/** The variables that say what to relay. */
function variablesWithSource(variables: Variables): string[] {
  return Object.keys(variables).filter((variable) => {
    if (!variables[variable]?.trim()) return false;
    const located = locateVariable(variable);
    if (located === undefined || located.table === 'without-effect') return false;
    return located.table !== 'relay' || sources.includes(located.row);
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
