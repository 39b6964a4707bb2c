import type { ChangeWatch } from '../ports.ts';
import type { StreamMeter } from '../streams/meter.ts';

/** The meter, which also tells which changes were written to streams. */
export function tellingChanges(meter: StreamMeter, changes: ChangeWatch | undefined): StreamMeter {
  if (!changes) return meter;
  return {
    ...meter,
    broadcast(durationMs, pass) {
      meter.broadcast(durationMs, pass);
      changes.wroteStreams(pass.environment, pass.kind, pass.since, pass.until);
    },
  };
}
