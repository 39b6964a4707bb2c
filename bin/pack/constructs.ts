/** The entry `edge-flag-relay/constructs` of the published package. */
import './peers.ts';

export * from '../../lib/infrastructure/constructs.ts';
