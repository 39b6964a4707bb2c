/** Requests to a relay, and why there is no answer that can be used. */
import http from 'node:http';
import https from 'node:https';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { errorText } from '../../relay-task/common/error-text.ts';
import { type HttpAnswer, httpRequest } from '../../relay-task/common/http-request.ts';
import { isObject } from '../../relay-task/common/json.ts';
import { obscureKey, redactSecrets } from '../../relay-task/common/secrets.ts';
import type { Outbound } from '../../relay-task/ports.ts';
import { createEventParser } from '../../relay-task/upstream/event-parser.ts';

/** One of the two relays. */
export interface Relay {
  readonly side: 'old' | 'new';
  /** As messages begin with it. */
  readonly called: string;
  readonly url: URL;
  readonly outbound: Outbound;
  readonly timeoutMs: number;
  /** Of one answer, unpacked. */
  readonly maxBytes: number;
  /** What it answered last, so that what has not changed is not sent again. */
  readonly held: Map<string, Held>;
}

interface Held {
  readonly etag: string;
  readonly data: Data;
}

export type Data = Readonly<Record<string, unknown>>;

/** `wait`: it may be answered later. `refused`: the credential is not accepted. `missing`: no such path. */
type Why = 'wait' | 'refused' | 'missing' | 'other';

/** There is no answer that can be used; the message is a sentence about the relay. */
export class NoAnswer extends Error {
  override readonly name = 'NoAnswer';
  readonly why: Why;
  readonly status: number | undefined;
  readonly advice: string | undefined;
  constructor(
    message: string,
    { why = 'other', status, advice }: { why?: Why; status?: number; advice?: string } = {},
  ) {
    super(message);
    this.why = why;
    this.status = status;
    this.advice = advice;
  }
}

export function urlOf({ url }: Relay, path: string): URL {
  const found = new URL(url);
  const [pathname = '', query = ''] = path.split('?');
  found.pathname = found.pathname.replace(/\/$/, '') + pathname;
  found.search = query;
  return found;
}

export interface Question {
  readonly path: string;
  /** An SDK key or a mobile key. */
  readonly credential?: string | undefined;
  readonly method?: 'GET' | 'POST';
}

/** Whatever the relay answers. Throws NoAnswer if it does not. */
export async function send(relay: Relay, { path, credential, method = 'GET' }: Question): Promise<HttpAnswer> {
  const { held, called, outbound, timeoutMs, maxBytes } = relay;
  const url = urlOf(relay, path);
  const etag = held.get(keyOf({ path, credential }))?.etag;
  const headers = {
    ...(credential !== undefined && { authorization: credential }),
    ...(etag !== undefined && { 'if-none-match': etag }),
    'accept-encoding': 'gzip',
  };
  try {
    const agent = outbound.agentFor(url);
    return await httpRequest({ url, method, headers, timeoutMs, maxAnswerBytes: maxBytes, agent });
  } catch (error) {
    throw unreachable(called, error);
  }
}

const keyOf = ({ path, credential }: Question) => `${path} ${credential}`;

/** The JSON object that the relay answers with. Throws NoAnswer. */
export async function ask(relay: Relay, question: Question): Promise<Data> {
  const { held } = relay;
  const answer = await send(relay, question);
  const known = held.get(keyOf(question));
  if (answer.status === 304 && known) return known.data;
  if (answer.status !== 200) throw refusal(relay, question, answer);
  const data = await objectIn(relay, question, answer);
  const { etag } = answer.headers;
  if (etag !== undefined) held.set(keyOf(question), { etag, data });
  return data;
}

async function objectIn(relay: Relay, { path }: Question, answer: HttpAnswer): Promise<Data> {
  try {
    const data: unknown = JSON.parse((await unpacked(relay, answer)).toString());
    if (isObject(data)) return data;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE')
      throw new NoAnswer(`${relay.called} answers ${shown(path)} with more than ${relay.maxBytes} bytes`);
  }
  throw notRelays(relay, path);
}

const unzip = promisify(gunzip);

function unpacked({ maxBytes }: Relay, { headers, body }: HttpAnswer): Promise<Buffer> | Buffer {
  return headers['content-encoding'] === 'gzip' ? unzip(body, { maxOutputLength: maxBytes }) : body;
}

function notRelays({ called }: Relay, path: string): NoAnswer {
  return new NoAnswer(`${called} answers ${shown(path)} with something that is not a relay’s JSON`, {
    advice: 'check the address: a login page or a proxy may be in between',
  });
}

/** What is in a path besides may be a context. */
const shown = (path: string) => path.replace(/^(\/sdk\/evalx|\/msdk\/evalx)\/.*$/, '$1/…').replace(/\?.*$/, '');

const CERTIFICATE = /CERT|SIGNATURE|ERR_TLS|SSL/;

function unreachable(called: string, error: unknown): NoAnswer {
  const { code = '' } = ((error as Error).cause ?? {}) as NodeJS.ErrnoException;
  const advice = CERTIFICATE.test(code)
    ? 'if its certificate is signed by your own authority, set NODE_EXTRA_CA_CERTS=<PEM file>'
    : code === 'EPROTO'
      ? 'write http:// if the relay does not listen with TLS'
      : 'check the address, and that the relay can be reached from here';
  const reason = redactSecrets(errorText(error)).replace(/\s+/g, ' ').trim();
  return new NoAnswer(`${called} cannot be reached: ${reason}`, { advice });
}

/** A sentence for each status that is not 200. */
export function refusal(relay: Relay, { path, credential }: Question, { status, headers }: HttpAnswer): NoAnswer {
  const { called } = relay;
  const where = shown(path);
  if (status >= 300 && status < 400 && status !== 304) {
    const to = redactSecrets(String(headers.location ?? 'nowhere'));
    const advice = 'redirects are not followed, since SDKs do not follow them: give the address of the relay itself';
    return new NoAnswer(`${called} redirects ${where} to ${to}`, { status, advice });
  }
  if (status === 401 || status === 403) {
    const what = credential === undefined ? 'asks for a credential' : `does not accept ${obscureKey(credential)}`;
    return new NoAnswer(`${called} ${what} (${status})`, { why: 'refused', status });
  }
  if (status === 404) return new NoAnswer(`${called} has no ${where} (404)`, { why: 'missing', status });
  if (status === 503 || status === 429) {
    const advice = 'look at its /status and log, then compare again';
    return new NoAnswer(`${called} has no data yet, or is overloaded (${status})`, { why: 'wait', status, advice });
  }
  return new NoAnswer(`${called} answers ${where} with ${status}`, { status });
}

/** All flags and segments: the first event of the stream, for relays that cannot be polled for them. Throws NoAnswer. */
export function firstPut(relay: Relay, question: Question): Promise<Data> {
  const { called, outbound, timeoutMs, maxBytes } = relay;
  const url = urlOf(relay, question.path);
  const parser = createEventParser({ maxBytes, onIgnored() {} });
  return new Promise<Data>((resolve, reject) => {
    const end = (settle: () => void) => {
      clearTimeout(timer);
      request.destroy();
      settle();
    };
    const fail = (error: Error) => end(() => reject(error));
    const headers = { authorization: question.credential ?? '', accept: 'text/event-stream' };
    const request = (url.protocol === 'https:' ? https : http).request(url, { headers, agent: outbound.agentFor(url) });
    let isOpen = false;
    const timer = setTimeout(() => fail(isOpen ? noFlagsYet(called, timeoutMs) : unreachable(called, late)), timeoutMs);
    const late = new Error(`${url.host} did not answer within ${timeoutMs} ms`);
    const broken = (error: unknown) => fail(unreachable(called, error));
    request.on('error', (error) => broken(new Error(`${url.host}: ${errorText(error)}`, { cause: error })));
    request.on('response', (response) => {
      const { statusCode: status = 0, headers: answered } = response;
      isOpen = true;
      if (status !== 200) return fail(refusal(relay, question, { status, headers: answered, body: Buffer.alloc(0) }));
      response.on('error', broken);
      response.on('end', () => broken(new Error(`${url.host} closed its stream before it sent flags`)));
      response.on('data', (chunk: Buffer) => {
        parser.feed(chunk);
        for (let event = parser.next(); event; event = parser.next()) {
          if ('problem' in event)
            return fail(new NoAnswer(`${called} sent a stream that cannot be read: ${event.problem}`));
          if (event.event !== 'put') continue;
          const data = dataIn('bytes' in event ? event.bytes.toString() : event.data);
          return data ? end(() => resolve(data)) : fail(notRelays(relay, question.path));
        }
      });
    });
    request.end();
  });
}

/** ld-relay opens streams before it has flags, and is silent on them. */
function noFlagsYet(called: string, timeoutMs: number): NoAnswer {
  const advice = 'look at its /status and log, then compare again';
  return new NoAnswer(`${called} sent no flags on its stream within ${timeoutMs} ms`, { why: 'wait', advice });
}

function dataIn(text: string): Data | undefined {
  try {
    const { data } = JSON.parse(text) as { data?: unknown };
    return isObject(data) ? data : undefined;
  } catch {
    return undefined;
  }
}
