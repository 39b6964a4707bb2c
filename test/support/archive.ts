/** Archives for offline use, as LaunchDarkly makes them. */
import { createHash } from 'node:crypto';
import { buffer } from 'node:stream/consumers';
import { gzipSync } from 'node:zlib';
import { type Header, pack } from 'tar-stream';

export interface ArchivedEnvironment {
  /** The content of `ENVID.json`. */
  readonly env: unknown;
  readonly dataId: unknown;
  /** The content of `ENVID-data.json`; a string is written as it is. */
  readonly data: unknown;
}

interface PackOptions {
  readonly gzip?: boolean;
  /** Replaces the right checksum; undefined: none. */
  readonly checksum?: Uint8Array | string | undefined;
  /** Further entries. */
  readonly more?: readonly (Partial<Header> & { readonly name: string; readonly content?: string })[];
  /** A prefix of the entries' names, such as `./`. */
  readonly prefix?: string;
}

/** The bytes of an archive with these environments, by ID. */
export async function packArchive(
  environments: Record<string, ArchivedEnvironment>,
  options: PackOptions = {},
): Promise<Buffer> {
  const { gzip = true, more = [], prefix = '' } = options;
  const textOf = (value: unknown) => (typeof value === 'string' ? value : JSON.stringify(value));
  const files: [string, string][] = Object.entries(environments).flatMap(([id, { env, dataId, data }]) => [
    // The data file comes first in the checksum, since '-' sorts before '.'.
    [`${id}.json`, textOf({ env, dataId })],
    [`${id}-data.json`, textOf(data)],
  ]);
  const inOrder = [...files].sort(([a], [b]) => (a < b ? -1 : 1));
  const hash = createHash('md5');
  for (const [, content] of inOrder) hash.update(content);
  const checksum = 'checksum' in options ? options.checksum : hash.digest();
  const tar = pack();
  for (const [name, content] of files) tar.entry({ name: prefix + name }, content);
  if (checksum !== undefined) tar.entry({ name: `${prefix}checksum.md5` }, Buffer.from(checksum));
  for (const { content = '', ...header } of more) tar.entry(header, content);
  tar.finalize();
  const bytes = await buffer(tar);
  return gzip ? gzipSync(bytes) : bytes;
}
