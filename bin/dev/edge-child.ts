/**
 * The inside of one local edge function's process: loads the bundle that the first argument names, and answers messages.
 * It ends when its parent does, however the parent ended.
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
// The parent decides when a function ends; Ctrl-C reaches the whole process group.
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
