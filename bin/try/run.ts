import { commandText } from '../../lib/command-text.ts';
import { describeUnknown } from '../cli/usage.ts';
import { findRunning } from '../dev/running.ts';
import { tryChange } from './change.ts';
import { tryFlag } from './flag.ts';
import { tryReceived, tryViewers, tryVisit } from './site.ts';
import { tryStream } from './stream.ts';
import { tryTable } from './table.ts';
import { type Trial, type TryOutput, WrongArguments } from './trial.ts';

const commands: Readonly<Record<string, { takes: string; says: string; run(trial: Trial): Promise<number> }>> = {
  visit: { takes: '[/path]', says: 'a new viewer requests a page, and again: the same origin answers', run: tryVisit },
  viewers: { takes: '[number]', says: 'how many of so many new viewers (100) each origin gets', run: tryViewers },
  flag: {
    takes: '[flag] [key] [attribute=value …]',
    says: 'what a flag gives to a user with this key and these attributes, and why',
    run: tryFlag,
  },
  stream: { takes: '', says: 'what a server SDK receives, until Ctrl-C', run: tryStream },
  table: { takes: '', says: 'the items in the table', run: tryTable },
  received: { takes: '[/path]', says: 'what an origin receives: what CloudFront would send', run: tryReceived },
  change: {
    takes: '[percent]',
    says: 'gives so many viewers (100%) the second value, in the copy of the example; never in a file of yours',
    run: tryChange,
  },
};

const rows = Object.entries(commands).map(([name, { takes, says }]) => [`${name} ${takes}`.trim(), says] as const);
const widest = Math.max(...rows.map(([call]) => call.length));

export const usage = `Tries what ${commandText('start')} runs in another terminal.

  ${commandText('try', '<what>')}

${rows.map(([call, says]) => `  ${call.padEnd(widest)}  ${says}\n`).join('')}
Exit codes: 0 success, 1 failure, 2 usage error.
`;

/** Returns the exit code. */
export async function runTry(argv: readonly string[], output: TryOutput): Promise<number> {
  const [name, ...args] = argv;
  if (name === undefined || /^(--help|-h|help)$/.test(name)) {
    output.out(usage);
    return 0;
  }
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (command === undefined) {
    output.say(`${describeUnknown('command', name, Object.keys(commands))}\n\n${usage}`);
    return 2;
  }
  const running = findRunning();
  if (running === undefined) {
    output.say(`Nothing is running: start it with ${commandText('start')} in another terminal\n`);
    return 1;
  }
  try {
    return await command.run({ running, args, output });
  } catch (error) {
    if (error instanceof WrongArguments) {
      output.say(`${error.message}\n\n  ${commandText('try', name, command.takes)}\n`);
      return 2;
    }
    const { message, cause } = error as Error & { readonly cause?: { readonly message?: string } };
    output.say(`${message}${cause?.message ? `: ${cause.message}` : ''}\n`);
    return 1;
  }
}
