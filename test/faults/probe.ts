/** Asks for one path again and again, and remembers how long it took. */
import { Agent, get } from 'node:http';

interface Probe {
  /** In ms, since the start or the last `begin`; those that failed count as the whole patience. */
  readonly times: readonly number[];
  readonly failures: number;
  begin(): void;
  close(): void;
}

const PATIENCE_MS = 30_000;

export function startProbe(port: number, path: string, everyMs = 50): Probe {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  let times: number[] = [];
  let failures = 0;
  let timer: NodeJS.Timeout;
  let closed = false;
  const ask = () => {
    const began = performance.now();
    let failed = false;
    const asked = get({ host: '127.0.0.1', port, path, agent, timeout: PATIENCE_MS }, (answer) => answer.resume());
    asked.on('timeout', () => asked.destroy(new Error('no answer')));
    asked.on('error', () => {
      failed = true;
    });
    asked.on('close', () => {
      if (closed) return;
      if (failed) failures++;
      times.push(failed ? PATIENCE_MS : performance.now() - began);
      timer = setTimeout(ask, everyMs);
    });
  };
  ask();
  return {
    get times() {
      return times;
    },
    get failures() {
      return failures;
    },
    begin() {
      times = [];
      failures = 0;
    },
    close() {
      closed = true;
      clearTimeout(timer);
      agent.destroy();
    },
  };
}
