/**
 * `npx tsx examples/run.ts <example>`: starts a relay and an embedded DynamoDB on free ports, and runs the example against them. With
 * `RELAY_URL` set, it runs against that relay.
 */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { type Command, commands } from './run/commands.ts';
import { startLocal } from './run/local.ts';

const [name = '', ...more] = process.argv.slice(2);
const command: Command | undefined = Object.entries(commands).find(([known]) => known === name)?.[1];
if (command === undefined || more.length > 0) {
  const width = Math.max(...Object.keys(commands).map(({ length }) => length));
  const lines = Object.entries(commands).map(([known, { what }]) => `  ${known.padEnd(width)}  ${what}`);
  console.error(`npx tsx examples/run.ts <example>\n\n${lines.join('\n')}`);
  process.exit(2);
}

const local = process.env.RELAY_URL ? undefined : await startLocal();
process.exitCode = await run(command);
await local?.close();

function run({ program, args, cwd }: Command): Promise<number> {
  return new Promise((resolve) => {
    const child = spawn(program, args, {
      cwd: cwd ?? join(import.meta.dirname, '..'),
      env: { ...process.env, ...local?.env },
      stdio: 'inherit',
    });
    // Ctrl-C reaches the child as well, which ends first.
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => child.kill(signal));
    child.once('error', (error) => {
      console.error(`${program}: ${error.message}`);
      resolve(1);
    });
    child.once('exit', (code) => resolve(code ?? 1));
  });
}
