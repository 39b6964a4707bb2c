/**
 * Runs in a local edge function's process: loads the bundle given as the first argument and answers messages.
 * Exits when its parent does, for whatever reason.
 */
import { pathToFileURL } from 'node:url';

interface Handlers {
  handler(event: unknown, context: unknown): Promise<unknown>;
  status?(): Promise<unknown>;
}
interface Message {
  readonly id: number;
  readonly call: 'handler' | 'status';
  readonly event?: unknown;
}

const file = process.argv[2] ?? '';
const loaded = import(pathToFileURL(file).href).then((module): Handlers => module.default ?? module);
loaded.catch(() => {});

process.on('disconnect', () => process.exit());
// Ctrl-C reaches the whole process group, but the parent decides when a function ends.
process.on('SIGINT', () => {});

process.on('message', async ({ id, call, event }: Message) => {
  try {
    const module = await loaded;
    const result = call === 'handler' ? await module.handler(event, {}) : await module.status?.();
    process.send?.({ id, result });
  } catch (problem) {
    process.send?.({ id, error: problem instanceof Error ? `${problem.name}: ${problem.message}` : String(problem) });
  }
});
