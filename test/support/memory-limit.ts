/**
 * A process as in a container of so much memory. Where mount namespaces can be made (root on Linux), it sees cgroup files of its
 * own that give the limit, so Node and the relay size themselves as they would there; elsewhere Node gets the heap that it would
 * choose. Nothing enforces the limit: a test compares it with the peak of resident memory.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';

const NAMESPACE = ['--mount', '--propagation', 'private'];
/** Before a command: it ends with the process that started it. */
export const endsWithParent: readonly string[] =
  spawnSync('setpriv', ['--pdeathsig', 'KILL', 'true']).status === 0 ? ['setpriv', '--pdeathsig', 'KILL'] : [];

const hasNamespaces = spawnSync('unshare', [...NAMESPACE, 'true']).status === 0;

export const limitMethod = hasNamespaces
  ? 'cgroup files of its own in a mount namespace'
  : 'the heap that Node chooses in a container of that size';

const MOUNT = `set -e
mount -t tmpfs tmpfs /sys/fs/cgroup
for place in "" $(cut -d: -f3 /proc/self/cgroup | sort -u); do
  mkdir -p "/sys/fs/cgroup$place" "/sys/fs/cgroup/memory$place"
  echo "$LIMIT_BYTES" > "/sys/fs/cgroup$place/memory.max"
  echo max > "/sys/fs/cgroup$place/memory.high"
  echo 0 > "/sys/fs/cgroup$place/memory.current"
  for name in limit_in_bytes soft_limit_in_bytes; do echo "$LIMIT_BYTES" > "/sys/fs/cgroup/memory$place/memory.$name"; done
  echo 0 > "/sys/fs/cgroup/memory$place/memory.usage_in_bytes"
done
unset LIMIT_BYTES
exec "$@"`;

/** Command and variables that run this Node script with this limit. The process keeps the id of the child that is started. */
export function limited(
  script: readonly string[],
  limitBytes: number,
): { command: string[]; env: Record<string, string> } {
  if (!hasNamespaces) {
    // V8 takes half of a container below 4 GiB for the old generation, and a 128th of that for each half of the young one.
    const heapMiB = limitBytes / 2 / 1024 / 1024;
    const flags = [`--max-old-space-size=${heapMiB}`, `--max-semi-space-size=${Math.ceil(heapMiB / 128)}`];
    return { command: [...endsWithParent, process.execPath, ...flags, ...script], env: {} };
  }
  return {
    command: [...endsWithParent, 'unshare', ...NAMESPACE, 'sh', '-c', MOUNT, 'sh', process.execPath, ...script],
    env: { LIMIT_BYTES: String(limitBytes) },
  };
}

interface ResidentMemory {
  readonly bytes: number;
  /** The most since the start or `forgetPeak`. */
  readonly peakBytes: number;
}

/** Undefined: the process has ended. Throws if there is no such process, or no /proc. */
export function residentMemory(pid: number): ResidentMemory | undefined {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  if (!status.includes('VmHWM')) return undefined;
  const bytes = (name: string) => 1024 * Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1]);
  return { bytes: bytes('VmRSS'), peakBytes: bytes('VmHWM') };
}

export function forgetPeak(pid: number): void {
  writeFileSync(`/proc/${pid}/clear_refs`, '5');
}
