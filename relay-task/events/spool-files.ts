/** Reading and writing the files of the spool. */
import { type FileHandle, open, unlink } from 'node:fs/promises';

/** No log of a relay is as large: it is made longer only while it is shorter than a segment. */
const LARGEST_LOG_BYTES = 64 * 1024 * 1024;

/** At its place, so that a part of a record that could not be written is overwritten by the next one. */
export async function writeAt(file: FileHandle, bytes: Buffer, at: number): Promise<void> {
  for (let done = 0; done < bytes.length; )
    done += (await file.write(bytes, done, bytes.length - done, at + done)).bytesWritten;
}

/** Or was not there. */
export async function isDeleted(path: string): Promise<boolean> {
  try {
    await unlink(path);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT';
  }
}

/** The system may succeed later: no descriptor is free, say, or the file server is away. */
export function isPassing(error: unknown): boolean {
  const { errno, code } = Object(error) as NodeJS.ErrnoException;
  return typeof errno === 'number' && code !== 'ENOENT';
}

/** Rejects if it has more than any log of a relay. */
export async function readWhole(path: string): Promise<Buffer> {
  const file = await open(path, 'r');
  try {
    const { size } = await file.stat();
    if (size > LARGEST_LOG_BYTES) throw new Error(`it has ${size} bytes, more than any log of a relay`);
    return await file.readFile();
  } finally {
    await file.close();
  }
}

export async function readPart(path: string, from: number, to: number): Promise<Buffer> {
  const file = await open(path, 'r');
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(to - from), 0, to - from, from);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}
