/** Which process wrote something, and whether it has ended. */
import { readFile, readlink, stat } from 'node:fs/promises';

/** Identifies a process: no other one that can see it ever has the same. */
interface ProcessIdentity {
  /** Of the machine since it started. */
  readonly boot: string;
  /** Where process IDs are from. */
  readonly ids: string;
  readonly pid: number;
  /** When it started, in the kernel's ticks. */
  readonly started: string;
  readonly user: number;
}

let own: Promise<ProcessIdentity | undefined> | undefined;

/** Undefined where the system does not tell. */
export function ownIdentity(): Promise<ProcessIdentity | undefined> {
  own ??= readOwnIdentity();
  return own;
}

async function readOwnIdentity(): Promise<ProcessIdentity | undefined> {
  try {
    const [boot, ids, text, { uid: user }] = await Promise.all([
      readFile('/proc/sys/kernel/random/boot_id', 'utf8'),
      readlink('/proc/self/ns/pid'),
      readFile('/proc/self/stat', 'utf8'),
      stat('/proc/self'),
    ]);
    const { started } = processStat(text);
    return { boot: boot.trim(), ids, pid: Number.parseInt(text, 10), started, user };
  } catch {
    return undefined;
  }
}

/** The name of the program, in brackets, may hold anything. */
function processStat(text: string): { readonly state: string; readonly started: string } {
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return { state: fields[0] ?? '', started: fields[19] ?? '' };
}

/**
 * Whether the process with this identity, as JSON, surely has: it would be visible to this one. IDs are reused, but not with the same start.
 * False if it is running, or if that cannot be known.
 */
export async function hasEnded(text: string): Promise<boolean> {
  const [self, other] = [await ownIdentity(), parseIdentity(text)];
  if (!self || !other || other.boot !== self.boot || other.ids !== self.ids || other.user !== self.user) return false;
  try {
    const { state, started } = processStat(await readFile(`/proc/${other.pid}/stat`, 'utf8'));
    return started !== other.started || state === 'Z' || state === 'X';
  } catch (error) {
    return ['ENOENT', 'ESRCH'].includes(String((error as NodeJS.ErrnoException).code));
  }
}

function parseIdentity(text: string): ProcessIdentity | undefined {
  try {
    const { boot, ids, pid, started, user } = JSON.parse(text);
    return Number.isInteger(pid) ? { boot, ids, pid, started, user } : undefined;
  } catch {
    return undefined;
  }
}
