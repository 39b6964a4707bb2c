import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { type Extract, extract } from 'tar-stream';

export interface ArchiveLimits {
  /** Of one file, unpacked; 200 MiB as in ld-relay. */
  readonly maxFileBytes?: number;
  /** Of all files together, unpacked; 512 MiB. */
  readonly maxTotalBytes?: number;
}

type Entry = Extract extends AsyncIterable<infer T> ? T : never;

const CHECKSUM = 'checksum.md5';

/**
 * The JSON files of an archive made by LaunchDarkly, `.tar` or `.tar.gz`, by name. Writes nothing to disk. Rejects with
 * one sentence when it is not such an archive, is too large, or does not match its checksum.
 */
export async function readArchiveFile(path: string, limits: ArchiveLimits = {}): Promise<Map<string, Buffer>> {
  const files = await unpack(path, limits);
  const checksum = files.get(CHECKSUM);
  files.delete(CHECKSUM);
  if (!checksum) throw new Error(`it has no ${CHECKSUM}`);
  if (!matches(checksum, files)) throw new Error(`its files do not match its ${CHECKSUM}`);
  return files;
}

async function unpack(path: string, limits: ArchiveLimits): Promise<Map<string, Buffer>> {
  const { maxFileBytes = 200 * 1024 * 1024, maxTotalBytes = 512 * 1024 * 1024 } = limits;
  const files = new Map<string, Buffer>();
  let totalBytes = 0;

  async function take(entry: Entry) {
    const { name, type, size = 0 } = entry.header;
    const file = name.replace(/^\.\//, '');
    if (type !== 'file' || !(file === CHECKSUM || /^[^/]+\.json$/.test(file))) {
      entry.resume();
      return;
    }
    // The reader enforces the size that the header states.
    totalBytes += size;
    if (size >= maxFileBytes)
      throw new Error(`its file ${file} has ${size} bytes and must have fewer than ${maxFileBytes}`);
    if (totalBytes > maxTotalBytes) throw new Error(`its files have more than ${maxTotalBytes} bytes`);
    files.set(file, await collect(entry));
  }

  const gzipped = await isGzip(path);
  const tar = extract();
  const taken = (async () => {
    for await (const entry of tar) await take(entry);
  })();
  const source = createReadStream(path);
  const poured = gzipped ? pipeline(source, createGunzip(), tar) : pipeline(source, tar);
  // If one fails, so does the other. The reason of the first is the more specific.
  for (const outcome of await Promise.allSettled([taken, poured])) {
    if (outcome.status === 'rejected') throw outcome.reason;
  }
  return files;
}

async function collect(entry: Entry): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of entry as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks);
}

async function isGzip(path: string): Promise<boolean> {
  const file = await open(path);
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(2), 0, 2, 0);
    return bytesRead === 2 && buffer[0] === 0x1f && buffer[1] === 0x8b;
  } finally {
    await file.close();
  }
}

/** MD5 over all files, ordered by the bytes of their names. LaunchDarkly stores it raw, tools like `md5sum` as hex. */
function matches(checksum: Buffer, files: ReadonlyMap<string, Buffer>): boolean {
  const hash = createHash('md5');
  const sorted = [...files].sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  for (const [, bytes] of sorted) hash.update(bytes);
  const digest = hash.digest();
  return checksum.equals(digest) || checksum.toString('latin1').trim().toLowerCase() === digest.toString('hex');
}
