import type { Logger } from './state-log.ts';

/** The same function, except that anything it throws or rejects with is logged with its name, and no answer is affected. */
export function harmless<A extends unknown[]>(
  name: string,
  call: (...all: A) => unknown,
  logger: Pick<Logger, 'error'> = console,
): (...all: A) => void {
  const failed = (error: unknown) => {
    try {
      logger.error(`edge reader: ${name} threw`, error);
    } catch {
      console.error(`edge reader: ${name} threw, and so did the logger`, error);
    }
  };
  return (...all) => {
    try {
      const result = call(...all);
      // An asynchronous function counts as one that returns nothing, and an unhandled rejection ends the process.
      if (result instanceof Promise) result.catch(failed);
    } catch (error) {
      failed(error);
    }
  };
}
