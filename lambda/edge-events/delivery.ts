/** The messages between the two functions that bring events to the relay. */
import type { Payload } from './payloads.ts';

/** The key appears in no log: payloads of invocations are sent over TLS and not recorded. */
export interface Delivery extends Payload {
  readonly sdkKey: string;
}

export type Receipt = { readonly ok: true } | { readonly ok: false; readonly problem: string };
