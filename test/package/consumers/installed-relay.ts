/** The relay as its users start it: by the command of the installed package. */
import { spawn } from 'node:child_process';
import { eventually } from '../../support/eventually.ts';
import { listeningPort } from '../../support/relay-process.ts';
import { type Project, userVariables } from './fresh-project.ts';

export interface InstalledRelay {
  readonly uri: string;
  close(): Promise<void>;
}

/** `npx edge-flag-relay relay --from-env` with these variables. */
export async function startInstalledRelay(
  { folder }: Project,
  variables: Readonly<Record<string, string>>,
): Promise<InstalledRelay> {
  const child = spawn('npx', ['edge-flag-relay', 'relay', '--from-env'], {
    cwd: folder,
    env: { ...userVariables(folder), PORT: '0', LISTEN_HOST: '127.0.0.1', DRAIN_WINDOW: '0', ...variables },
    // A group of its own, since npx starts the command in another process.
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  let ended = false;
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      output += chunk.toString();
    });
  }
  const exited = new Promise<void>((resolve) =>
    child.once('close', () => {
      ended = true;
      resolve();
    }),
  );
  const close = async () => {
    if (!ended) process.kill(-child.pid!, 'SIGTERM');
    await exited;
  };
  try {
    const port = await eventually(() => (ended ? 0 : listeningPort(output)));
    if (port === 0) throw new Error(`the relay ended:\n${output}`);
    return { uri: `http://127.0.0.1:${port}`, close };
  } catch (error) {
    await close();
    throw error;
  }
}
