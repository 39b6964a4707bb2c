import { nearest } from '../common/edit-distance.ts';

/** The arguments of the command, as ld-relay reads them with Go's `flag` package. */
interface CommandLine extends Readonly<Record<(typeof SWITCHES)[keyof typeof SWITCHES], boolean>> {
  /** The first of these that exists is read; undefined without --config. */
  readonly configFiles: readonly string[] | undefined;
}

export const USAGE = `Usage: ld-relay [options]

  --config FILE[,FILE…]  read the configuration from the first of these files that exists
  --allow-missing-file   do not fail if none of the files exists
  --from-env             read environment variables, which override the file
  --check                validate the configuration, print what is set with secrets masked, and exit
  --defaults             with --check: print settings that have their default, too
  --healthcheck          ask the relay that runs here whether it lives; exits with 0 or 1
  --readycheck           ask it whether it is ready instead
  --version              print the version and exit
  --help                 print this help and exit

Without --config and --from-env, /etc/ld-relay.conf is read, or environment variables if that file does not exist.
`;

const SWITCHES = {
  'allow-missing-file': 'allowMissingFile',
  'from-env': 'fromEnv',
  check: 'check',
  defaults: 'defaults',
  healthcheck: 'healthcheck',
  readycheck: 'readycheck',
  version: 'version',
  help: 'help',
  h: 'help',
} as const;

const TRUE = /^(1|t|T|true|TRUE|True)$/;
const FALSE = /^(0|f|F|false|FALSE|False)$/;

/**
 * One dash or two, `--config x` or `--config=x`; the last one wins; arguments after the first non-option are ignored.
 * A problem never repeats the value of an argument, which may be a key.
 */
export function parseCommandLine(argv: readonly string[]): CommandLine | { readonly problem: string } {
  const switches = {
    allowMissingFile: false,
    fromEnv: false,
    check: false,
    defaults: false,
    healthcheck: false,
    readycheck: false,
    version: false,
    help: false,
  };
  let configFiles: readonly string[] | undefined;
  for (let index = 0; index < argv.length; index += 1) {
    const argument = argv[index] ?? '';
    if (!/^-./.test(argument) || argument === '--') break;
    const [, name = '', value] = /^--?([^=]*)(?:=(.*))?$/s.exec(argument) ?? [];
    if (name === 'config') {
      index += value === undefined ? 1 : 0;
      const files = value ?? argv[index];
      if (!files) return { problem: '--config needs a file name' };
      configFiles = files.split(',').filter((file) => file !== '');
    } else if (Object.hasOwn(SWITCHES, name)) {
      if (value !== undefined && !TRUE.test(value) && !FALSE.test(value)) {
        return { problem: `--${name} takes no value but true or false` };
      }
      switches[SWITCHES[name as keyof typeof SWITCHES]] = value === undefined || TRUE.test(value);
    } else {
      const near = nearest(name, [...Object.keys(SWITCHES), 'config']);
      return { problem: `Unknown option --${name}${near === undefined ? '' : `: did you mean --${near}?`}` };
    }
  }
  return { ...switches, configFiles };
}
