/** What a request's headers say about its events. Events with different metadata are never sent in one payload. */
import type { IncomingHttpHeaders } from 'node:http';

export interface Metadata {
  /** Of the received events; 1 if the header is absent or not a number. */
  readonly schema: number;
  /** The relay must summarize: SDKs older than schema 3, and PHP, do not. */
  readonly unsummarized: boolean;
  /** `X-LaunchDarkly-Tags`, or ''. */
  readonly tags: string;
  /** `X-LaunchDarkly-Wrapper`, or ''. */
  readonly wrapper: string;
  /** The SDK's name and version, or '' if only a browser is named. */
  readonly userAgent: string;
}

const FIRST_SUMMARISED_SCHEMA = 3;
/** The schema of the events that the relay summarizes. */
const OWN_SCHEMA = 4;
const LONGEST_TEXT = 512;

export function metadataOf(headers: IncomingHttpHeaders): Metadata {
  const schema = Number(/^[1-9]\d?$/.exec(textOf(headers, 'x-launchdarkly-event-schema'))?.[0] ?? 1);
  return {
    schema,
    unsummarized: schema < FIRST_SUMMARISED_SCHEMA || headers['x-launchdarkly-unsummarized'] !== undefined,
    tags: textOf(headers, 'x-launchdarkly-tags'),
    wrapper: textOf(headers, 'x-launchdarkly-wrapper'),
    userAgent: sdkName(textOf(headers, 'x-launchdarkly-user-agent')) || sdkName(textOf(headers, 'user-agent')),
  };
}

/** Drops the fields with an unbounded number of values. */
export function plainMetadata({ schema, unsummarized }: Metadata): Metadata {
  return { schema, unsummarized, tags: '', wrapper: '', userAgent: '' };
}

/** Equal for events that may be sent together. */
export function queueKey(about: Metadata): string {
  const { schema, unsummarized, tags, wrapper, userAgent } = about;
  return JSON.stringify([unsummarized || schema, tags, wrapper, userAgent]);
}

/** In addition to those of every request. */
export function outgoingHeaders(about: Metadata): Record<string, string> {
  return {
    'X-LaunchDarkly-Event-Schema': String(about.unsummarized ? OWN_SCHEMA : about.schema),
    ...(about.tags && { 'X-LaunchDarkly-Tags': about.tags }),
    ...(about.wrapper && { 'X-LaunchDarkly-Wrapper': about.wrapper }),
    ...(about.userAgent && { 'X-LaunchDarkly-User-Agent': about.userAgent }),
  };
}

const DIAGNOSTIC_HEADERS = {
  'user-agent': 'User-Agent',
  'x-launchdarkly-user-agent': 'X-LaunchDarkly-User-Agent',
  'x-launchdarkly-wrapper': 'X-LaunchDarkly-Wrapper',
  'x-launchdarkly-tags': 'X-LaunchDarkly-Tags',
  'x-launchdarkly-instance-id': 'X-LaunchDarkly-Instance-Id',
  'x-launchdarkly-event-schema': 'X-LaunchDarkly-Event-Schema',
};

/** A diagnostic event is sent alone, so it keeps all headers that identify the sender. */
export function diagnosticHeaders(headers: IncomingHttpHeaders): Record<string, string> {
  const kept = Object.entries(DIAGNOSTIC_HEADERS).map(([name, proper]) => [proper, textOf(headers, name)] as const);
  return Object.fromEntries(kept.filter(([, text]) => text !== ''));
}

/** '' if the header is absent, too long, or not printable ASCII. */
export function textOf(headers: IncomingHttpHeaders, name: string): string {
  const value = headers[name];
  return typeof value === 'string' && value.length <= LONGEST_TEXT && /^[ -~]*$/.test(value) ? value : '';
}

/** The first word of `NodeJSClient/9.13.7 …`; '' for browsers, which have too many different names. */
function sdkName(userAgent: string): string {
  const [name = ''] = /^[A-Za-z-]{1,40}\/[\w.+-]{1,40}/.exec(userAgent) ?? [];
  return /^(Mozilla|Opera|Dalvik|okhttp|curl|CFNetwork)\b/i.test(name) ? '' : name;
}
