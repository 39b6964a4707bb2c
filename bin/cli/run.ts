import packageJson from '../../package.json' with { type: 'json' };
import { commands } from './commands.ts';
import { completions } from './completion.ts';
import { restartWithSmallSemiSpace } from './semi-space.ts';
import { describeFailure, describeUnknown } from './usage.ts';

const widest = Math.max(...commands.map(({ name }) => name.length));

const usage = `LaunchDarkly feature flags inside your own AWS account.

  edge-flag-relay <command> [arguments]

${commands.map(({ name, says }) => `  ${name.padEnd(widest)}  ${says}`).join('\n')}

  edge-flag-relay help <command>              what it does, its arguments and options
  edge-flag-relay completion bash|zsh|fish    a script for your shell
  edge-flag-relay --version
`;

export interface Output {
  out(text: string): void;
  say(text: string): void;
}

/** What to do: a command of the table with its arguments, or a text and an exit code. */
type Plan =
  | { readonly name: string; readonly args: readonly string[] }
  | { readonly exitCode: 0; readonly out: string }
  | { readonly exitCode: 2; readonly problem: string };

export function planOf(args: readonly string[]): Plan {
  const [word, ...rest] = args;
  if (word === undefined || word === '--help' || word === '-h') return { exitCode: 0, out: usage };
  if (word === '--version' || word === '-v') return { exitCode: 0, out: `${packageJson.version}\n` };
  if (word === 'completion') return planCompletion(rest);
  if (word === 'help') return rest[0] === undefined ? { exitCode: 0, out: usage } : planCommand(rest[0], ['--help']);
  return planCommand(word, rest);
}

function planCommand(name: string, args: readonly string[]): Plan {
  const names = commands.map((one) => one.name);
  if (names.includes(name)) return { name, args };
  const what = name.startsWith('-') ? 'option' : 'command';
  const known = what === 'option' ? ['--help', '--version'] : [...names, 'help', 'completion'];
  return { exitCode: 2, problem: describeUnknown(what, name, known) };
}

function planCompletion([shell = '', ...more]: readonly string[]): Plan {
  const shells = Object.keys(completions);
  const script = Object.hasOwn(completions, shell) ? completions[shell] : undefined;
  if (script !== undefined && more.length === 0) return { exitCode: 0, out: script(commands) };
  const problem = script === undefined && shell !== '' ? describeUnknown('shell', shell, shells) : undefined;
  return { exitCode: 2, problem: problem ?? `completion needs one shell: ${shells.join(', ')}` };
}

/** Runs `edge-flag-relay` with the arguments of this process, and sets its exit code. */
export async function runCli(): Promise<void> {
  const plan = planOf(process.argv.slice(2));
  if ('out' in plan) process.stdout.write(plan.out);
  if ('problem' in plan) process.stderr.write(`${plan.problem}\nUsage: edge-flag-relay --help\n`);
  if ('exitCode' in plan) {
    process.exitCode = plan.exitCode;
    return;
  }
  const command = commands.find(({ name }) => name === plan.name)!;
  // Before the arguments change, which the new process gets.
  if (command.smallSemiSpace) restartWithSmallSemiSpace();
  // Each command is a program that reads the arguments of its process.
  process.argv.splice(2, Infinity, ...plan.args);
  try {
    await command.run();
  } catch (error) {
    process.stderr.write(`edge-flag-relay ${plan.name}: ${describeFailure(error)}\n`);
    process.exitCode = 1;
  }
}
