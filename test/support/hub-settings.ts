import type { HubOptions } from '../../relay-task/streams/hub.ts';

/** A hub's settings in tests: no heartbeats, no maximum age and no jitter. */
export const hubSettings: HubOptions = { clientStreams: 'evaluated', pingJitterMs: 0, heartbeatMs: 0, maxAgeMs: 0 };
