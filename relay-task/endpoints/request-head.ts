/** What node:http accepts in the head of a request although RFC 9110 and RFC 9112 have servers refuse it. */
import type { IncomingMessage } from 'node:http';
import { messageReply, type Reply } from './reply.ts';

/** What node:http should keep must be a few more: it drops what is above its own limit, credentials and framing included. */
export const MAX_FIELDS = 256;
/** Of a host, a port, and a Transfer-Encoding. */
const MAX_VALUE = 1_000;
/** Fields with one value, of which readers along the way could take different ones. */
const SINGLE = new Set(['authorization', 'content-type', 'x-api-key']);
/** RFC 9110 section 7.2: the host of a URI and a port; empty where the target has no authority. */
const HOST = /^(?:\[[\da-f:.v~!$&'()*+,;=_-]+\]|(?:[\w.~!$&'()*+,;=-]|%[\da-f]{2})*)(?::\d*)?$/i;

/** The answer to a request whose head is ambiguous or not HTTP/1.x, after which the connection must be closed. */
export function refuseHead(message: IncomingMessage): Reply | undefined {
  return (
    refuseVersion(message) ??
    refuseFields(message) ??
    refuseTarget(message.url ?? '') ??
    refuseFraming(message) ??
    refuseExpectation(message)
  );
}

function refuseVersion({ httpVersion }: IncomingMessage): Reply | undefined {
  if (httpVersion === '1.1' || httpVersion === '1.0') return undefined;
  return messageReply(400, 'the request line must end in HTTP/1.1 or HTTP/1.0');
}

function refuseFields({ rawHeaders, httpVersion }: IncomingMessage): Reply | undefined {
  if (rawHeaders.length > 2 * MAX_FIELDS) {
    return messageReply(431, `the request has more than ${MAX_FIELDS} header fields`);
  }
  const seen = new Map<string, string>();
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const [name, value] = [(rawHeaders[i] ?? '').toLowerCase(), rawHeaders[i + 1] ?? ''];
    const earlier = seen.get(name);
    if (name === 'host') {
      if (earlier !== undefined) return messageReply(400, 'the request has more than one Host header');
      if (value.length > MAX_VALUE || !HOST.test(value))
        return messageReply(400, 'the Host header is not a host with an optional port');
      seen.set(name, value);
    } else if (SINGLE.has(name)) {
      if (earlier !== undefined && earlier !== value) {
        return messageReply(400, `the request has more than one ${name} header, with different values`);
      }
      seen.set(name, value);
    }
  }
  if (httpVersion === '1.1' && !seen.has('host')) return messageReply(400, 'HTTP/1.1 requires a Host header');
  return undefined;
}

/** A path, or an absolute URL as proxies may send it. */
function refuseTarget(target: string): Reply | undefined {
  if (target.includes('#')) return messageReply(400, 'the request target must not contain "#"');
  const [, authority] = /^https?:\/\/([^/?]*)/i.exec(target) ?? [];
  if (authority === undefined) {
    return target.startsWith('/') ? undefined : messageReply(400, 'the request target must be a path');
  }
  if (/^[^:]/.test(authority) && HOST.test(authority)) return undefined;
  return messageReply(400, 'the URL in the request line must name a host, without a user');
}

/** RFC 9112 section 6.1. node:http refuses Content-Length beside Transfer-Encoding, and codings after chunked. */
function refuseFraming({ headers, httpVersion }: IncomingMessage): Reply | undefined {
  const field = headers['transfer-encoding'];
  if (field === undefined) return undefined;
  if (httpVersion === '1.0') return messageReply(400, 'HTTP/1.0 has no Transfer-Encoding');
  if (field.length > MAX_VALUE) return messageReply(400, 'the Transfer-Encoding is too long');
  const codings = field.split(',').flatMap((coding) => coding.trim().toLowerCase() || []);
  if (codings.at(-1) !== 'chunked') return messageReply(400, 'the last Transfer-Encoding of a request must be chunked');
  if (codings.some((coding) => coding !== 'chunked')) {
    return messageReply(501, 'the only Transfer-Encoding that the relay understands is chunked');
  }
  return codings.length === 1 ? undefined : messageReply(400, 'Transfer-Encoding must name chunked once');
}

/** RFC 9110 section 10.1.1. Clients that speak HTTP/1.0 cannot expect anything. */
function refuseExpectation({ headers, httpVersion }: IncomingMessage): Reply | undefined {
  const { expect } = headers;
  if (expect === undefined || httpVersion === '1.0' || expect.toLowerCase() === '100-continue') return undefined;
  return messageReply(417, 'the only expectation that the relay meets is 100-continue');
}
