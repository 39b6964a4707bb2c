/** The health check of a container without shell and curl: a second process of the relay queries the running one. */
import { get as getPlain } from 'node:http';
import { get as getSecure } from 'node:https';
import { basename } from 'node:path';

const ANSWER_MS = 5_000;

/** As `relay-task/Dockerfile` and the bundle name what is started. */
const COMMANDS = new Set(['ld-relay', 'relay.mjs', 'main.ts']);

/**
 * The arguments to read the configuration with. Alone, `--healthcheck` takes those of the container's first process, because
 * whoever runs the image may have replaced them; other arguments beside it count as they are.
 */
export function healthcheckArguments(argv: readonly string[], firstProcess: () => string): readonly string[] {
  if (argv.length !== 1 || !/^--?healthcheck$/.test(argv[0] ?? '')) return argv;
  // NUL-separated, perhaps behind the interpreter and an init process.
  const words = firstProcess().replace(/\0$/, '').split('\0');
  const at = words.findIndex((word) => COMMANDS.has(basename(word)));
  return at < 0 ? argv : [...argv, ...words.slice(at + 1)];
}

/** Why the relay does not answer 200 at the path; undefined: it does. Its certificate is not checked, since it is not for this address. */
export function askHealth(
  {
    port,
    listenHost,
    tls,
  }: { readonly port: number; readonly listenHost?: string | undefined; readonly tls?: unknown },
  path: '/livez' | '/readyz',
  timeoutMs = ANSWER_MS,
): Promise<string | undefined> {
  if (port === 0) return Promise.resolve('the port is 0, so the relay listens on a port that only it knows');
  const anyAddress = listenHost === undefined || ['', '0.0.0.0', '::'].includes(listenHost);
  const host = anyAddress ? '127.0.0.1' : listenHost;
  const options = { host, port, path, agent: false, timeout: timeoutMs } as const;
  return new Promise((resolve) => {
    const onResponse = ({ statusCode }: { statusCode?: number | undefined }) => {
      resolve(statusCode === 200 ? undefined : `it answered ${statusCode}`);
      request.destroy();
    };
    const request = tls
      ? getSecure({ ...options, rejectUnauthorized: false }, onResponse)
      : getPlain(options, onResponse);
    request.on('timeout', () => request.destroy(new Error(`no answer within ${timeoutMs} ms`)));
    request.on('error', (error) => resolve(error.message));
  });
}
