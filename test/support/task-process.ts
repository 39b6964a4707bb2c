/**
 * The relay as ECS starts it: the file from the image, with the command and variables of a synthesised task definition, as an unprivileged
 * user. It differs from a real task in its port, its credentials, and the addresses of the services that it uses.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { promisify } from 'node:util';
import type { Template } from 'aws-cdk-lib/assertions';
import { eventually } from './eventually.ts';
import { freePort } from './free-port.ts';
import { relayBundle } from './relay-process.ts';
import { taskOf } from './relay-task.ts';

export interface TaskProcess {
  readonly base: string;
  readonly lines: readonly string[];
  /** Runs the task's health check as ECS does in the container, against this port. Rejects if it fails. */
  healthCheck(port?: number): Promise<unknown>;
  /** SIGTERM; resolves with the exit code. */
  end(): Promise<number | null>;
  /** Kills it if it still runs. */
  close(): Promise<void>;
}

const nobody = process.getuid?.() === 0 ? { uid: 65_532, gid: 65_532 } : {};

/** Resolves once the relay listens. `here` replaces variables. */
export async function startTask(template: Template, here: Readonly<Record<string, string>>): Promise<TaskProcess> {
  const directory = await relayBundle();
  const { container, environment } = taskOf(template);
  const port = await freePort();
  const env = {
    ...environment,
    AWS_ACCESS_KEY_ID: 'test',
    AWS_SECRET_ACCESS_KEY: 'test',
    PATH: `${directory}:/usr/bin:/bin`,
    PORT: String(port),
    ...here,
  };
  const lines: string[] = [];
  const child: ChildProcess = spawn('ld-relay', container.Command, { cwd: '/', env, ...nobody });
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on('data', (chunk) => lines.push(...String(chunk).split('\n').filter(Boolean)));
  }
  const ended = new Promise<number | null>((resolve) => child.on('exit', resolve));
  const close = async () => {
    child.kill('SIGKILL');
    await ended;
  };
  try {
    await eventually(() => {
      if (child.exitCode === null && !lines.some((line) => line.includes('Relay listening')))
        throw new Error(`not yet: ${lines.join('\n')}`);
    });
    if (child.exitCode !== null) throw new Error(`the relay ended: ${lines.join('\n')}`);
  } catch (error) {
    await close();
    throw error;
  }
  return {
    base: `http://127.0.0.1:${port}`,
    lines,
    async healthCheck(at = port) {
      const [, program = '', ...args] = container.HealthCheck.Command;
      return promisify(execFile)(program, args, { cwd: '/', env: { ...env, PORT: String(at) }, ...nobody });
    },
    end() {
      child.kill('SIGTERM');
      return ended;
    },
    close,
  };
}
