/**
 * The events of FDv2, LaunchDarkly's second protocol for flag data, without framing:
 *
 * | event | data |
 * |---|---|
 * | `server-intent` | `{"payloads":[{"id":"default","target":1,"intentCode":CODE,"reason":REASON}]}` |
 * | `put-object` | `{"version":N,"kind":"flag", "segment" or "flag-eval","key":K,"object":ITEM}` |
 * | `delete-object` | `{"version":N,"kind":"flag" or "segment","key":K}` |
 * | `payload-transferred` | `{"state":STATE,"id":"default","version":1}`: commits what came before it |
 *
 * The state is what a client sends back as `basis`. Ids and versions of payloads are constants, as in the SDKs' own
 * adaptor for FDv1: a counter of one relay would mean something else in the next. Source: the protocol handler of
 * @launchdarkly/js-sdk-common 2.26.
 */
import type { Item } from '../../lib/flag-table/index.ts';

export interface FDv2Event {
  readonly event: 'server-intent' | 'put-object' | 'delete-object' | 'payload-transferred';
  /** The data, as JSON. */
  readonly json: string;
}

/** What the server is about to send, and why. */
type FDv2Intent =
  | { readonly code: 'none'; readonly reason: 'up-to-date' }
  | { readonly code: 'xfer-changes'; readonly reason: 'stale' }
  /** `payload-missing`: the client names no state; `cant-catchup`: the server does not remember the one it names. */
  | { readonly code: 'xfer-full'; readonly reason: 'payload-missing' | 'cant-catchup' };

export function intentEvent({ code, reason }: FDv2Intent): FDv2Event {
  const json = `{"payloads":[{"id":"default","target":1,"intentCode":"${code}","reason":"${reason}"}]}`;
  return { event: 'server-intent', json };
}

/** A flag or segment, or its deletion. */
export function itemEvent({ kind, key, version, deleted, json }: Item): FDv2Event {
  const name = kind === 'features' ? 'flag' : 'segment';
  return deleted
    ? { event: 'delete-object', json: `{${identityOf(name, key, version)}}` }
    : objectEvent(name, key, version, json);
}

/** An object whose JSON is at hand. */
export function objectEvent(
  kind: 'flag' | 'segment' | 'flag-eval',
  key: string,
  version: number,
  json: string,
): FDv2Event {
  return { event: 'put-object', json: `{${identityOf(kind, key, version)},"object":${json}}` };
}

export function transferredEvent(state: string): FDv2Event {
  return { event: 'payload-transferred', json: `{"state":${JSON.stringify(state)},"id":"default","version":1}` };
}

function identityOf(kind: string, key: string, version: number): string {
  return `"version":${version},"kind":"${kind}","key":${JSON.stringify(key)}`;
}
