import { delimiter, join } from 'node:path';
import { pathToFileURL } from 'node:url';

/** A hook of Node's loader: what the function's own folder lacks is looked for in those of NODE_PATH. */
export async function resolve(specifier, context, next) {
  try {
    return await next(specifier, context);
  } catch (error) {
    const folders = error.code === 'ERR_MODULE_NOT_FOUND' ? (process.env.NODE_PATH ?? '').split(delimiter) : [];
    for (const folder of folders) {
      const parentURL = pathToFileURL(join(folder, '../index.mjs')).href;
      const found = await next(specifier, { ...context, parentURL }).catch(() => undefined);
      if (found) return found;
    }
    throw error;
  }
}
