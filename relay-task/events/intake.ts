/** The words in which events are handed in. `relay-task/endpoints` asks for the same in its own words. */
import type { IncomingHttpHeaders } from 'node:http';
import type { CredentialKind } from '../ports.ts';

/** Where events go. Neither call waits or throws. */
export interface EventIntake {
  /** `body` is what stood in the request, decompressed: a JSON array of events. */
  analytics(events: EventDelivery): void;
  diagnostic(events: EventDelivery): void;
}

export interface EventDelivery {
  readonly kind: CredentialKind;
  readonly credential: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/** What an environment's events leave with. Read before every attempt, so that a rotated key counts at once. */
export interface EventCredentials {
  readonly sdkKey?: string | undefined;
  readonly mobileKey?: string | undefined;
  readonly environmentId?: string | undefined;
}
