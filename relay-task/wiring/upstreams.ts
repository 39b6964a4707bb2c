/** What feeds one environment: LaunchDarkly's stream, a watched file, or the data that came with its description. */
import type { Log, Outbound } from '../ports.ts';
import type { EventStreamTimes } from '../upstream/event-stream.ts';
import { type FileReload, startFileSource } from '../upstream/file.ts';
import { startFixed } from '../upstream/fixed.ts';
import { startRotating } from '../upstream/rotating.ts';
import { startStreaming } from '../upstream/streaming.ts';
import { firstKeyOf, sourceOf } from './admission.ts';
import type { Tenant, TenantParts } from './tenant.ts';

export interface UpstreamsOptions {
  readonly streamUri: string;
  readonly outbound: Outbound;
  readonly userAgent: string;
  readonly times?: EventStreamTimes | undefined;
  logOf(tenant: Tenant): Log;
  /** After every reading of an environment's flags file. Must not throw. */
  onReload?: ((environment: string, reload: FileReload) => void) | undefined;
}

/** The function it returns rejects with RelayError FLAGS_FILE_INVALID. */
export function createUpstreams(options: UpstreamsOptions): TenantParts['upstream'] {
  const { streamUri, outbound, userAgent, times, logOf } = options;
  return async (tenant, sinkOf, onStatus) => {
    const { description, filter, name } = tenant;
    const { sdkKey, flagsFile, data } = description;
    const common = { sink: sinkOf(sourceOf(description)), onStatus, held: tenant.memory.get, log: logOf(tenant) };
    if (flagsFile !== undefined) {
      return startFileSource({ ...common, path: flagsFile, onReload: (reload) => options.onReload?.(name, reload) });
    }
    if (data) return startFixed({ ...common, items: data.items });
    if (sdkKey === undefined) return undefined;
    const upstream = startRotating({
      ...common,
      sinkOf: (key) => sinkOf(sourceOf(description, key)),
      sdkKey: firstKeyOf(sdkKey, description.credentials),
      start: (key, to, tell) =>
        startStreaming({
          ...times,
          ...common,
          sink: to,
          onStatus: tell,
          onEnvironmentId: (id) => tenant.admission.belongs(key, id),
          streamUri,
          sdkKey: key,
          filter,
          userAgent,
          outbound,
        }),
    });
    upstream.setKey(sdkKey);
    return upstream;
  };
}
