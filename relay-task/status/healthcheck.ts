/** The health check of a container without shell and curl: a second process of the relay queries the running one. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { get as getPlain } from 'node:http';
import { get as getSecure } from 'node:https';
import { basename } from 'node:path';

const ANSWER_MS = 5_000;

/** As the image, the installed package and this repository name what is started. */
const COMMANDS = new Set(['ld-relay', 'ld-relay.mjs', 'relay.mjs', 'main.ts']);
/** `edge-flag-relay relay` is one as well. */
const PROGRAMS = new Set(['edge-flag-relay', 'edge-flag-relay.mjs']);

/** What asks, and is not asked. */
const CHECK = /^--?(?:health|ready)check$/;

/**
 * The arguments to read the configuration with. Without other arguments, `--healthcheck` and `--readycheck` take those of the running
 * relay, since the image may have been started with arguments of its own. The relay is the container's first process, unless
 * containers share their processes.
 */
export function healthcheckArguments(
  argv: readonly string[],
  firstProcess: () => string,
  otherProcesses: () => Iterable<string> = processesHere,
): readonly string[] {
  if (argv.length !== 1 || !CHECK.test(argv[0] ?? '')) return argv;
  const found = relayArguments(firstProcess()) ?? firstOf(otherProcesses(), relayArguments);
  return found ? [...argv, ...found] : argv;
}

/** Undefined: the command line is not that of a relay. */
function relayArguments(commandLine: string): readonly string[] | undefined {
  // NUL-separated, perhaps behind the interpreter and an init process.
  const words = commandLine.replace(/\0$/, '').split('\0');
  const at = words.findIndex(
    (word, i) => COMMANDS.has(basename(word)) || (word === 'relay' && PROGRAMS.has(basename(words[i - 1] ?? ''))),
  );
  const args = words.slice(at + 1);
  return at < 0 || args.some((word) => CHECK.test(word)) ? undefined : args;
}

function firstOf<T, R>(items: Iterable<T>, find: (item: T) => R | undefined): R | undefined {
  for (const item of items) {
    const found = find(item);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** The command lines of processes that see the same files, thus those of this container. */
function* processesHere(): Generator<string> {
  const mounts = linkAt('/proc/self/ns/mnt');
  for (const id of mounts === undefined ? [] : readdirSync('/proc')) {
    if (!/^\d+$/.test(id) || linkAt(`/proc/${id}/ns/mnt`) !== mounts) continue;
    try {
      yield readFileSync(`/proc/${id}/cmdline`, 'utf8');
    } catch {
      // It has ended.
    }
  }
}

/** Undefined where there is none, or where it belongs to someone else. */
function linkAt(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}

/** Why the relay does not answer 200 at the path; undefined: it does. Its certificate is not checked, since it is not for this address. */
export function askHealth(
  {
    port,
    listenHost,
    tls,
  }: { readonly port: number; readonly listenHost?: string | undefined; readonly tls?: unknown },
  path: '/livez' | '/readyz',
): Promise<string | undefined> {
  if (port === 0) return Promise.resolve('the port is 0, so the relay listens on a port that only it knows');
  const anyAddress = listenHost === undefined || ['', '0.0.0.0', '::'].includes(listenHost);
  const host = anyAddress ? '127.0.0.1' : listenHost;
  const options = { host, port, path, agent: false, timeout: ANSWER_MS } as const;
  return new Promise((resolve) => {
    const onResponse = ({ statusCode }: { statusCode?: number | undefined }) => {
      resolve(statusCode === 200 ? undefined : `it answered ${statusCode}`);
      request.destroy();
    };
    const request = tls
      ? getSecure({ ...options, rejectUnauthorized: false }, onResponse)
      : getPlain(options, onResponse);
    request.on('timeout', () => request.destroy(new Error(`no answer within ${ANSWER_MS} ms`)));
    request.on('error', (error) => resolve(error.message));
  });
}
