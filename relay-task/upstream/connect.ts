import http from 'node:http';
import https from 'node:https';
import { errorText } from '../common/error-text.ts';
import type { Outbound } from '../ports.ts';
import type { Failure } from './status.ts';

interface ConnectOptions {
  /** If it throws, that is a failure. */
  readonly url: () => URL;
  readonly headers: Readonly<Record<string, string>>;
  /** Absent: a direct connection. */
  readonly outbound?: Outbound | undefined;
  /** For connecting, including TLS. */
  readonly connectTimeoutMs: number;
  /** From the connection to the response headers. */
  readonly headTimeoutMs: number;
  /** A 2xx response, or 304 to a conditional request; its body has not been read. */
  onResponse(response: http.IncomingMessage): void;
  /** At most once, and never after `onResponse`. */
  onFailure(failure: Failure): void;
}

const MAX_REDIRECTS = 5;
/** Statuses that may concern the state that the query names: it is unknown, or too long. */
const aboutState: ReadonlySet<number> = new Set([400, 413, 414, 422, 431]);
/**
 * How long a connection may be idle before TCP asks whether the peer is still there. LaunchDarkly's heartbeats come only every
 * 3 min: behind a NAT gateway that died, a stream would look alive for that long. Node sends ten probes, one a second.
 */
const PROBE_AFTER_MS = 1_000;

/** Sends one GET and follows redirects. The `Authorization` header is never sent to another origin. */
export function connect(options: ConnectOptions): { abort(): void } {
  let request: http.ClientRequest | undefined;
  let timer: NodeJS.Timeout | undefined;
  let over = false;

  function abort() {
    over = true;
    clearTimeout(timer);
    request?.destroy();
  }

  function fail(failure: Failure) {
    if (over) return;
    abort();
    options.onFailure(failure);
  }

  /** A request may be invalid because of what others sent: the path or user name of a redirect, or a key that LaunchDarkly assigned. */
  function attempt(url: URL, headers: Readonly<Record<string, string>>, redirects: number) {
    try {
      begin(url, headers, redirects);
    } catch (error) {
      unable(error);
    }
  }

  /** Node's message names an invalid header, not its value. */
  function unable(error: unknown) {
    queueMicrotask(() => fail({ kind: 'UNKNOWN', message: errorText(error) }));
  }

  function begin(url: URL, headers: Readonly<Record<string, string>>, redirects: number) {
    const limit = (ms: number, what: string) => {
      clearTimeout(timer);
      timer = setTimeout(
        () => fail({ kind: 'NETWORK_ERROR', code: 'TIMEOUT', message: `${url.host} ${what} within ${ms} ms` }),
        ms,
      );
    };
    limit(options.connectTimeoutMs, 'did not accept a connection');
    const { request: send } = url.protocol === 'https:' ? https : http;
    // A new socket for each attempt: a pooled one may be dead.
    const current = send(url, { headers, agent: options.outbound?.agentFor(url) ?? false });
    request = current;
    current.on('socket', (socket) => {
      socket.setKeepAlive(true, PROBE_AFTER_MS);
      socket.once(url.protocol === 'https:' ? 'secureConnect' : 'connect', () => {
        if (!over) limit(options.headTimeoutMs, 'did not answer');
      });
    });
    current.on('error', (error: NodeJS.ErrnoException) => {
      // Errors of a request that was redirected no longer matter.
      if (request === current) fail({ kind: 'NETWORK_ERROR', code: error.code, message: errorText(error) });
    });
    current.on('response', (response) => {
      clearTimeout(timer);
      if (over) return;
      const { statusCode = 0 } = response;
      const isUnchanged = statusCode === 304 && 'If-None-Match' in headers;
      if ((statusCode >= 200 && statusCode < 300) || isUnchanged) {
        over = true;
        return options.onResponse(response);
      }
      // Destroying a response before it was read completely emits an error.
      response.on('error', () => {});
      const target = redirectTarget(response, url);
      if (!target || redirects >= MAX_REDIRECTS)
        return fail({ ...describeAnswer(statusCode, url, headers), headers: response.headers });
      request = undefined;
      current.destroy();
      attempt(target, target.origin === url.origin ? headers : withoutKey(headers), redirects + 1);
    });
    current.end();
  }

  try {
    attempt(options.url(), options.headers, 0);
  } catch (error) {
    unable(error);
  }

  return { abort };
}

function redirectTarget({ statusCode, headers }: http.IncomingMessage, from: URL): URL | undefined {
  if (![301, 302, 303, 307, 308].includes(statusCode ?? 0) || !headers.location) return undefined;
  if (!URL.canParse(headers.location, from.href)) return undefined;
  const target = new URL(headers.location, from);
  return target.protocol === 'https:' || target.protocol === 'http:' ? target : undefined;
}

function withoutKey({ Authorization: _key, ...rest }: Readonly<Record<string, string>>) {
  return rest;
}

function describeAnswer(statusCode: number, url: URL, headers: Readonly<Record<string, string>>): Failure {
  const isAboutState = url.searchParams.has('basis') && aboutState.has(statusCode);
  const refused = !isAboutState && statusCode >= 400 && statusCode < 500 && ![400, 408, 429].includes(statusCode);
  const keyless =
    headers.Authorization === undefined ? ' (redirected to another origin, where the key is not sent)' : '';
  const message = `${url.host} answered ${statusCode}${keyless}`;
  // An http address is reached through the proxy itself, which answers in LaunchDarkly's place.
  const code = statusCode === 407 ? 'PROXY' : undefined;
  return { kind: 'ERROR_RESPONSE', statusCode, code, refused, ...(isAboutState && { isAboutState }), message };
}
