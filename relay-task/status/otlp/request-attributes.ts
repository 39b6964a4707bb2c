/**
 * What metrics and spans say about a request, by the names of OpenTelemetry's conventions and of ld-relay 9. Metrics have bounded values
 * only; neither has a key or a context.
 */
import { cutText } from '../../common/json.ts';
import { redactKeys } from '../../common/secrets.ts';
import type { CredentialKind, SpanAttributes, WatchedHead } from '../../ports.ts';

type EndpointType = 'stream' | 'poll' | 'events' | 'goals' | 'status';

/** For what a request does not have, as in ld-relay. */
const NOT_PROVIDED = 'not_provided';
const OTHER = '_OTHER';

const METHODS = new Set(['GET', 'HEAD', 'POST', 'REPORT', 'OPTIONS']);
const EVENTS = /^\/(?:bulk|diagnostic|mobile|events|a)(?:\/|$)/;
const STATUS = /^\/(?:status|livez|readyz)(?:\/|$)/;
const LONGEST = 300;
/** SDKs send four tags at most, of up to 64 characters each. */
const LONGEST_TAGS = 500;

export const methodOf = ({ method }: WatchedHead): string => (METHODS.has(method) ? method : OTHER);

function endpointTypeOf({ route, isStream }: WatchedHead): EndpointType | typeof NOT_PROVIDED {
  if (!route) return NOT_PROVIDED;
  if (isStream) return 'stream';
  if (EVENTS.test(route.path)) return 'events';
  if (route.path.startsWith('/sdk/goals/')) return 'goals';
  return STATUS.test(route.path) ? 'status' : 'poll';
}

export interface Application {
  readonly id: string;
  readonly version: string;
}

/** Applications that a client may name in its headers. */
const MOST_APPLICATIONS = 100;
const VALUE = '([A-Za-z0-9._-]{1,64})';
const ID = new RegExp(`(?:^|[ ,:])application-id/${VALUE}(?=$|[ ,:])`);
const VERSION = new RegExp(`(?:^|[ ,:])application-version/${VALUE}(?=$|[ ,:])`);

/** The first hundred that are seen have names, the others are `other`: clients choose them. */
export function createApplications(): (head: WatchedHead) => Application {
  const seen = new Map<string, Application>();
  const others = { id: 'other', version: 'other' };
  const none = { id: NOT_PROVIDED, version: NOT_PROVIDED };
  return ({ headers }) => {
    const tags = headers['x-launchdarkly-tags'];
    if (typeof tags !== 'string' || tags.length > LONGEST_TAGS) return none;
    // A key may have been put there by mistake.
    const found = (wanted: RegExp) => redactKeys(wanted.exec(tags)?.[1] ?? NOT_PROVIDED);
    const [id, version] = [found(ID), found(VERSION)];
    const known = seen.get(`${id} ${version}`);
    if (known) return known;
    if (seen.size >= MOST_APPLICATIONS) return others;
    const application = { id, version };
    seen.set(`${id} ${version}`, application);
    return application;
  };
}

export function metricAttributesOf(head: WatchedHead, environment: string | undefined, application: Application) {
  return {
    'launchdarkly.environment.name': environment ?? NOT_PROVIDED,
    'user_agent.original': head.family,
    'http.route': head.route?.path ?? NOT_PROVIDED,
    'http.request.method': methodOf(head),
    'url.scheme': head.scheme,
    'launchdarkly.application.id': application.id,
    'launchdarkly.application.version': application.version,
    'launchdarkly.relay.endpoint.type': endpointTypeOf(head),
  };
}

export function spanAttributesOf(head: WatchedHead): SpanAttributes {
  const { route, headers, scheme, address, httpVersion } = head;
  const agent = headers['x-launchdarkly-user-agent'] ?? headers['user-agent'];
  const { host } = headers;
  return {
    'http.request.method': methodOf(head),
    'url.scheme': scheme,
    'client.address': address,
    'network.protocol.version': httpVersion,
    'launchdarkly.relay.endpoint.type': endpointTypeOf(head),
    // A path that is none of ours may hold anything.
    ...(route && { 'http.route': route.path, 'url.path': pathOf(route) }),
    ...(host && { 'server.address': shown(host.replace(/:\d+$/, '')) }),
    ...(agent !== undefined && { 'user_agent.original': shown(String(agent)) }),
  };
}

/** With what the client sent, but for a context. */
function pathOf({ path, params }: NonNullable<WatchedHead['route']>): string {
  return path.replace(/\{(\w+)\}/g, (_, name: string) => (name === 'context' ? 'REDACTED' : shown(params[name] ?? '')));
}

const shown = (text: string): string => redactKeys(cutText(text, LONGEST));

const KINDS: Readonly<Record<CredentialKind, string>> = { sdkKey: 'server', mobileKey: 'mobile', environmentId: 'js' };

export const identityOf = (environment: string | undefined, kind: CredentialKind | undefined): SpanAttributes => ({
  ...(environment !== undefined && { 'launchdarkly.environment.name': environment }),
  ...(kind && { 'launchdarkly.sdk.kind': KINDS[kind] }),
});
