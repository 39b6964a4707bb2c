import type { Item } from '../../lib/flag-table/index.ts';
import type { Upstream, UpstreamSink, UpstreamStatus } from '../ports.ts';
import { createStatus } from './status.ts';

/** Flags that are part of the environment's description, as in an archive: delivered once, always current. */
export function startFixed(options: {
  readonly items: readonly Item[];
  readonly sink: UpstreamSink;
  onStatus?(status: UpstreamStatus): void;
}): Upstream {
  const status = createStatus({ onStatus: options.onStatus, freshMs: Number.POSITIVE_INFINITY });
  options.sink.put(options.items, [], performance.now());
  status.completed();
  return {
    status: status.read,
    async close() {
      status.closed();
    },
  };
}
