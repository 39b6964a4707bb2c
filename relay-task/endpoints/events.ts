/** Accepts events for LaunchDarkly and answers at once; another module forwards them. */
import { isHopByHop } from '../common/hop-by-hop.ts';
import { CLOSE_BRACE, CLOSE_BRACKET, isSpace, OPEN_BRACE, OPEN_BRACKET } from '../common/json-text.ts';
import { notYetReply, Refusal, type Reply } from './reply.ts';
import type { EnvironmentRequest, Handler } from './request.ts';
import { decodeBase64 } from './request-context.ts';

/** Of larger bodies only the first and last characters are checked, since parsing them would block the event loop. */
const PARSED_BYTES = 64 * 1024;

export function createEvents(maxBytes: number): { analytics: Handler; diagnostic: Handler; image: Handler } {
  const take =
    (kind: 'analytics' | 'diagnostic'): Handler =>
    async (request) => {
      const { environment, credentialKind, credential, headers } = request;
      if (!environment.events) return notForwarded(request);
      const body = await request.body(maxBytes);
      requireEvents(body);
      if (environment.events.closed) return closedMeanwhile(request);
      await environment.events[kind]({ kind: credentialKind, credential, headers, body });
      return { status: 202 };
    };
  return { analytics: take('analytics'), diagnostic: take('diagnostic'), image };
}

/** Throws Refusal 400. */
function requireEvents(body: Buffer): void {
  if (body.length === 0) throw new Refusal(400, 'the body must not be empty');
  if (!areEvents(body)) throw new Refusal(400, 'the body must be an array of events in JSON');
}

/**
 * A single object is accepted as well as an array: an SDK that failed to post a diagnostic event retries it on the
 * analytics endpoint.
 */
function areEvents(body: Buffer): boolean {
  let start = 0;
  let end = body.length - 1;
  while (isSpace(body[start])) start += 1;
  while (isSpace(body[end])) end -= 1;
  const [first, last] = [body[start], body[end]];
  const enclosed = (first === OPEN_BRACKET && last === CLOSE_BRACKET) || (first === OPEN_BRACE && last === CLOSE_BRACE);
  return enclosed && (body.length > PARSED_BYTES || isJson(body.toString()));
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** SDKs retry after 503, so events are not lost if another relay forwards them. */
function notForwarded({ environment }: EnvironmentRequest): Reply {
  return notYetReply(`events are not forwarded for environment "${environment.name}"`);
}

/** The environment was removed while the body arrived; SDKs send the events again, and another one may have the credential. */
function closedMeanwhile({ environment }: EnvironmentRequest): Reply {
  return notYetReply(`events are not taken for environment "${environment.name}" any more`);
}

/** A transparent pixel. */
const GIF = Buffer.from('R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7', 'base64');
/** Image requests cannot name their schema; it has always been this one. */
const IMAGE_SCHEMA = '3';

/** Events of a page that can only load images. The page cannot read an error, so malformed events get the image, too. */
const image: Handler = async (request) => {
  const { environment, credentialKind, credential } = request;
  if (!environment.events) return notForwarded(request);
  if (environment.events.closed) return closedMeanwhile(request);
  // In a query, `+` of the standard alphabet means a space.
  const body = decodeBase64((request.query.get('d') ?? '').replaceAll(' ', '+'));
  if (body && areEvents(body)) {
    const { 'x-launchdarkly-tags': _tags, ...headers } = request.headers;
    await environment.events.analytics({
      kind: credentialKind,
      credential,
      headers: { ...headers, 'content-type': 'application/json', 'x-launchdarkly-event-schema': IMAGE_SCHEMA },
      body,
    });
  }
  return { status: 200, headers: { 'Content-Type': 'image/gif', 'Cache-Control': 'no-store' }, body: GIF };
};

/** Goals, which browsers request once per page: LaunchDarkly's answer, or an empty list. */
export const goals: Handler = async ({ environment, credential, query }) => {
  if (!environment.goals) return { status: 200, headers: { 'Content-Type': 'application/json' }, body: '[]' };
  const answer = await environment.goals(credential, query.toString()).catch(() => undefined);
  if (!answer) return notYetReply('LaunchDarkly did not answer the request for goals');
  const headers = Object.entries(answer.headers).filter(([name]) => !isOurs(name.toLowerCase()));
  return { status: answer.status, headers: Object.fromEntries(headers), body: answer.body };
};

/** Headers that belong to the connection to LaunchDarkly, or that the relay sets itself. */
function isOurs(name: string): boolean {
  return isHopByHop(name, {}) || /^(?:access-control-.*|proxy-.*|content-length|date|set-cookie|vary)$/.test(name);
}
