import { type ChildProcess, fork } from 'node:child_process';

interface LambdaProcessOptions {
  readonly name: string;
  /** The bundled edge-child. */
  readonly host: string;
  /** The bundled function. */
  readonly file: string;
  readonly region: string;
  readonly memoryMb: number;
  readonly timeoutMs: number;
  /** One readable line. */
  log(line: string): void;
}

/** An edge function in its own process, with only what Lambda gives it. */
export interface LambdaProcess {
  /** Rejects with an Error that says whether the function threw, timed out or crashed. */
  invoke(event: unknown): Promise<unknown>;
  /** The result of the bundle's `status`; undefined if it has none. */
  status(): Promise<unknown>;
  pid(): number | undefined;
  close(): Promise<void>;
}

interface Waiting {
  readonly child: ChildProcess;
  resolve(result: unknown): void;
  reject(problem: Error): void;
  readonly timer: NodeJS.Timeout;
}

export function startLambdaProcess(options: LambdaProcessOptions): LambdaProcess {
  const { name, host, file, region, memoryMb, timeoutMs, log } = options;
  const waiting = new Map<number, Waiting>();
  let calls = 0;
  let closed = false;
  let child: ChildProcess | undefined;

  function start(): ChildProcess {
    const next = fork(host, [file], {
      // The shares of the function's memory that Lambda's runtime sets.
      execArgv: [
        `--max-old-space-size=${Math.floor(memoryMb * 0.9)}`,
        `--max-semi-space-size=${Math.ceil(memoryMb * 0.05)}`,
      ],
      env: reservedVariables(name, region, memoryMb),
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    next.on('message', ({ id, result, error }: { id: number; result?: unknown; error?: string }) => {
      settle(id, (call) =>
        error === undefined ? call.resolve(result) : call.reject(new Error(`${name} threw ${error}`)),
      );
    });
    next.on('error', () => {});
    next.on('exit', (code, signal) => {
      for (const [id, call] of [...waiting]) {
        if (call.child === next) settle(id, () => call.reject(new Error(`${name} crashed (${signal ?? code})`)));
      }
      if (child === next) child = undefined;
      if (!closed) log(`${name} exited (${signal ?? code}); it will be restarted on the next request`);
    });
    return next;
  }

  function settle(id: number, how: (call: Waiting) => void) {
    const call = waiting.get(id);
    if (!call) return;
    waiting.delete(id);
    clearTimeout(call.timer);
    how(call);
  }

  function send(call: 'handler' | 'status', event?: unknown): Promise<unknown> {
    if (closed) return Promise.reject(new Error(`${name} is closed`));
    child ??= start();
    const target = child;
    const id = ++calls;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        settle(id, () => reject(new Error(`${name} timed out after ${timeoutMs} ms`)));
        // Lambda discards the environment of a function that timed out.
        if (child === target) child = undefined;
        target.kill('SIGKILL');
      }, timeoutMs);
      waiting.set(id, { child: target, resolve, reject, timer });
      target.send({ id, call, event }, (problem) => {
        if (problem) settle(id, () => reject(new Error(`${name} crashed (${problem.message})`)));
      });
    });
  }

  child = start();
  return {
    invoke: (event) => send('handler', event),
    status: () => send('status'),
    pid: () => child?.pid,
    async close() {
      closed = true;
      const last = child;
      if (!last || last.exitCode !== null || last.signalCode !== null) return;
      await new Promise<void>((resolve) => {
        last.once('exit', () => resolve());
        last.kill('SIGKILL');
      });
    },
  };
}

/** AWS: "Lambda environment variables", the reserved ones; an edge function has no others. The credentials are fake. */
function reservedVariables(name: string, region: string, memoryMb: number): Record<string, string> {
  return {
    AWS_REGION: region,
    AWS_DEFAULT_REGION: region,
    AWS_EXECUTION_ENV: 'AWS_Lambda_nodejs24.x',
    AWS_LAMBDA_FUNCTION_NAME: `us-east-1.${name}`,
    AWS_LAMBDA_FUNCTION_VERSION: '1',
    AWS_LAMBDA_FUNCTION_MEMORY_SIZE: String(memoryMb),
    AWS_ACCESS_KEY_ID: 'LOCAL',
    AWS_SECRET_ACCESS_KEY: 'local',
    AWS_SESSION_TOKEN: 'local',
    LANG: 'en_US.UTF-8',
    TZ: ':UTC',
  };
}
