/** Accepts events for LaunchDarkly and answers at once; another module forwards them. */
import type { IncomingHttpHeaders } from 'node:http';
import { isHopByHop } from '../common/hop-by-hop.ts';
import { inSpan } from '../common/in-span.ts';
import { CLOSE_BRACE, CLOSE_BRACKET, OPEN_BRACE, OPEN_BRACKET } from '../common/json-codes.ts';
import { trimmed } from '../common/json-elements.ts';
import { MAX_DEPTH, shapeOf } from '../common/json-shape.ts';
import { inSlices, resultOf } from '../common/slices.ts';
import type { EventDelivery } from '../ports.ts';
import { notYetReply, Refusal, type Reply } from './reply.ts';
import type { EnvironmentRequest, Handler } from './request.ts';
import { decodeBase64 } from './request-context.ts';

/** Of larger bodies only the first and last characters are checked, since parsing them would block the event loop. */
const PARSED_BYTES = 64 * 1024;

export function createEvents(maxBytes: number): { analytics: Handler; diagnostic: Handler; image: Handler } {
  const take =
    (kind: 'analytics' | 'diagnostic'): Handler =>
    async (request) => {
      const { environment, headers } = request;
      if (!environment.events) return notForwarded(request);
      const body = await request.body(maxBytes);
      await requireEvents(body, request);
      const { events } = environment;
      if (events.closed) return closedMeanwhile(request);
      request.watched?.receivedEvents(body.length);
      const dispatch = () => events[kind](deliveryOf(request, headers, body));
      const span = request.watched?.span;
      await (span
        ? inSpan(span, 'relay.events.dispatch', dispatch, { 'launchdarkly.relay.events.kind': kind })
        : dispatch());
      return { status: 202 };
    };
  return { analytics: take('analytics'), diagnostic: take('diagnostic'), image };
}

function deliveryOf(request: EnvironmentRequest, headers: IncomingHttpHeaders, body: Buffer): EventDelivery {
  const { credentialKind: kind, credential, address, pause } = request;
  return { kind, credential, headers, body, address, pause };
}

/** Rejects with Refusal 400. */
async function requireEvents(body: Buffer, { pause }: EnvironmentRequest): Promise<void> {
  if (body.length === 0) throw new Refusal(400, 'the body must not be empty');
  if (!(await inSlices(areEvents(body), { pause })))
    throw new Refusal(400, 'the body must be an array of events in JSON');
}

/**
 * A single object is accepted as well as an array: an SDK that failed to post a diagnostic event retries it on the
 * analytics endpoint.
 */
function* areEvents(body: Buffer): Generator<undefined, boolean> {
  const { from, to } = yield* trimmed(body, 0, body.length);
  const [first, last] = [body[from], body[to - 1]];
  const enclosed = (first === OPEN_BRACKET && last === CLOSE_BRACKET) || (first === OPEN_BRACE && last === CLOSE_BRACE);
  return enclosed && (body.length > PARSED_BYTES || isJson(body));
}

/** What nests too deep is not parsed, which would take long: it counts as JSON here, and costs only the event that it is in. */
function isJson(body: Buffer): boolean {
  if (shapeOf(body).depth > MAX_DEPTH + 1) return true;
  try {
    JSON.parse(body.toString());
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
  const { environment } = request;
  if (!environment.events) return notForwarded(request);
  if (environment.events.closed) return closedMeanwhile(request);
  // In a query, `+` of the standard alphabet means a space.
  const body = decodeBase64((request.query.get('d') ?? '').replaceAll(' ', '+'));
  if (body && resultOf(areEvents(body))) {
    request.watched?.receivedEvents(body.length);
    const { 'x-launchdarkly-tags': _tags, ...headers } = request.headers;
    const described = { ...headers, 'content-type': 'application/json', 'x-launchdarkly-event-schema': IMAGE_SCHEMA };
    await environment.events.analytics(deliveryOf(request, described, body));
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
