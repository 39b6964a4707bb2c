import type { EnvironmentDescription, EnvironmentSink, EnvironmentSource } from '../ports.ts';
import { createSourceStatus } from './source-status.ts';

/** Environments from the configuration: known at once, and fixed. */
export function startStaticSource(options: {
  readonly environments: readonly EnvironmentDescription[];
  readonly sink: EnvironmentSink;
}): EnvironmentSource {
  const status = createSourceStatus('configuration');
  options.sink.replace(options.environments);
  status.answered();
  return { status: status.read, async close() {} };
}
