/** moto, an emulator of AWS in Python, if `test/interop/install.sh` has installed it. */
import { execFileSync, spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { endChild } from './end-child.ts';

const python = join(import.meta.dirname, '../../.cache/interop/python/bin/python');

export const motoIsInstalled = motoHas('ssm');

/** Whether moto is installed with what it needs for a service: `cloudformation`, for which it needs more packages than itself. */
export function motoHas(service: string): boolean {
  try {
    execFileSync(python, ['-c', `import moto.server, moto.${service}.responses`], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

const script = `
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print("http://%s:%d" % server.get_host_and_port(), flush=True)
sys.stdin.read()
server.stop()
`;

/** Listens on 127.0.0.1 and a free port; ends with this process at the latest. */
export async function startMoto(): Promise<{ readonly endpoint: string; close(): Promise<void> }> {
  const child = spawn(python, ['-c', script], { stdio: ['pipe', 'pipe', 'ignore'] });
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const lines = createInterface({ input: child.stdout });
  const endpoint = await new Promise<string>((resolve, reject) => {
    lines.once('line', resolve);
    void exited.then(() => reject(new Error('moto did not start')));
  });
  return {
    endpoint,
    close: () => endChild(child),
  };
}
