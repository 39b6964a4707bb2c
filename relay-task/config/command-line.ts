/** What stands behind the command's name, as ld-relay (Go's `flag` package) understands it. */
export interface CommandLine {
  /** The first of these that exists is read; undefined: nothing was said. */
  readonly configFiles?: readonly string[];
  readonly allowMissingFile: boolean;
  readonly fromEnv: boolean;
  readonly check: boolean;
  readonly version: boolean;
  readonly help: boolean;
}

export const USAGE = `Usage: ld-relay [options]

  --config FILE[,FILE…]  read the configuration from the first of these files that exists
  --allow-missing-file   it is no error if none exists
  --from-env             let environment variables override the file, or stand alone
  --check                say what is wrong, print the configuration in force with secrets masked, and end
  --version              print the version and end
  --help                 print this and end

Without --config and --from-env: /etc/ld-relay.conf, or the environment variables where that file does not exist.
`;

const SWITCHES = {
  'allow-missing-file': 'allowMissingFile',
  'from-env': 'fromEnv',
  check: 'check',
  version: 'version',
  help: 'help',
  h: 'help',
} as const;

const TRUE = /^(1|t|T|true|TRUE|True)$/;
const FALSE = /^(0|f|F|false|FALSE|False)$/;

/**
 * One dash or two, `--config x` or `--config=x`, the last of several counts, and the first argument that is no option
 * ends them. A wrong argument is a problem; its value is not repeated.
 */
export function parseCommandLine(argv: readonly string[]): CommandLine | { readonly problem: string } {
  const switches = { allowMissingFile: false, fromEnv: false, check: false, version: false, help: false };
  let configFiles: readonly string[] | undefined;
  for (let index = 0; index < argv.length; index += 1) {
    const argument = argv[index]!;
    if (!/^-./.test(argument) || argument === '--') break;
    const [, name = '', value] = /^--?([^=]*)(?:=(.*))?$/s.exec(argument) ?? [];
    if (name === 'config') {
      index += value === undefined ? 1 : 0;
      const files = value ?? argv[index];
      if (!files) return { problem: '--config needs the name of a file' };
      configFiles = files.split(',').filter((file) => file !== '');
    } else if (Object.hasOwn(SWITCHES, name)) {
      if (value !== undefined && !TRUE.test(value) && !FALSE.test(value)) {
        return { problem: `--${name} is either there or not: write it without a value` };
      }
      switches[SWITCHES[name as keyof typeof SWITCHES]] = value === undefined || TRUE.test(value);
    } else {
      return { problem: `--${name} is not an option` };
    }
  }
  return { ...switches, ...(configFiles && { configFiles }) };
}
