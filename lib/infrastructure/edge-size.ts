/// <reference path="./yazl.d.ts" />
import { readFile } from 'node:fs/promises';
import { ZipFile } from 'yazl';
import { buildEdge, type EdgeBundleOptions, type EdgeEntry } from './edge-bundle.ts';

export interface EdgeBundle {
  readonly file: string;
  readonly minifiedBytes: number;
  /** What Lambda receives. The same code always gives the same bytes. */
  readonly zipBytes: number;
}

/** `buildEdge`, with the bundle's sizes. */
export async function bundleEdge<E extends EdgeEntry>(options: EdgeBundleOptions<E>): Promise<EdgeBundle> {
  const file = buildEdge(options);
  const code = await readFile(file);
  return { file, minifiedBytes: code.length, zipBytes: (await zipOf(code)).length };
}

async function zipOf(code: Buffer): Promise<Buffer> {
  const zip = new ZipFile();
  // The earliest time that a zip can express, without the extra field that depends on the time zone.
  const mtime = new Date(1980, 0, 1);
  zip.addBuffer(code, 'index.cjs', { mtime, mode: 0o100644, compressionLevel: 9, forceDosTimestamp: true });
  zip.end();
  const chunks: Buffer[] = [];
  for await (const chunk of zip.outputStream) chunks.push(chunk);
  return Buffer.concat(chunks);
}
