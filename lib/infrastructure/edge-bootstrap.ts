import { readFileSync } from 'node:fs';
import { bootstrapOf } from '../../lambda/edge-router/bootstrap.ts';
import type { ViewerRequestConfig } from '../../lambda/edge-router/config.ts';

/** Reads the flags that a router is built with. Throws an Error that names the file and says what is wrong with it. */
export function readBootstrap(
  file: string,
  flagKeys: readonly string[],
): NonNullable<ViewerRequestConfig['bootstrap']> {
  try {
    return bootstrapOf(JSON.parse(readFileSync(file, 'utf8')), flagKeys);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const why = code === 'ENOENT' ? `there is no such file (from ${process.cwd()})` : message;
    throw new Error(`bootstrapFile=${JSON.stringify(file)} cannot be used: ${why}`);
  }
}
