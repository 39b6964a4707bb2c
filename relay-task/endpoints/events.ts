/** Events on their way to LaunchDarkly: they are taken, answered at once, and forwarded by somebody else. */
import type { EventIntake } from '../ports.ts';
import { notYetReply, Refusal, type Reply } from './reply.ts';
import { decodeBase64 } from './request-context.ts';
import type { Handler, RouteRequest } from './routes.ts';

/** Above this, only the first and the last character are looked at: to parse more would make everybody wait. */
const PARSED_BYTES = 1024 * 1024;

export function createEvents(maxBytes: number): { analytics: Handler; diagnostic: Handler; image: Handler } {
  const take =
    (kind: keyof EventIntake): Handler =>
    async (request) => {
      const intake = request.environment!.events;
      if (!intake) return notForwarded(request);
      const body = await request.body(maxBytes);
      requireEvents(body);
      intake[kind]({
        kind: request.credentialKind!,
        credential: request.credential!,
        headers: request.headers,
        body,
      });
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
 * A lone object is let through beside arrays: an SDK that could not post a diagnostic event posts it again to the address
 * of analytics events.
 */
function areEvents(body: Buffer): boolean {
  const text = body.toString().trim();
  const [first, last] = [text[0], text.at(-1)];
  const enclosed = (first === '[' && last === ']') || (first === '{' && last === '}');
  return enclosed && (body.length > PARSED_BYTES || isJson(text));
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** SDKs try again on 503, and drop nothing that another relay may still take. */
function notForwarded({ environment }: RouteRequest): Reply {
  return notYetReply(`events are not forwarded for environment "${environment!.name}"`);
}

/** A transparent pixel. */
const GIF = Buffer.from('R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7', 'base64');
/** What pages send by images has always been in this schema. */
const IMAGE_SCHEMA = '3';

/** Events of a page that can load an image and nothing else. Who shows an image cannot read an error: it is always shown. */
const image: Handler = (request) => {
  const intake = request.environment!.events;
  if (!intake) return notForwarded(request);
  // In a query, `+` of the standard alphabet means a space.
  const body = decodeBase64((request.query.get('d') ?? '').replaceAll(' ', '+'));
  if (body && areEvents(body)) {
    const { 'x-launchdarkly-tags': _tags, ...headers } = request.headers;
    intake.analytics({
      kind: request.credentialKind!,
      credential: request.credential!,
      headers: { ...headers, 'content-type': 'application/json', 'x-launchdarkly-event-schema': IMAGE_SCHEMA },
      body,
    });
  }
  return { status: 200, headers: { 'Content-Type': 'image/gif', 'Cache-Control': 'no-store' }, body: GIF };
};

/** For what browsers ask once per page: LaunchDarkly's answer, or that there are no goals. */
export const goals: Handler = async ({ environment, query }) => {
  const { goals: ask } = environment!;
  const none = { status: 200, headers: { 'Content-Type': 'application/json' }, body: '[]' };
  if (!ask) return none;
  const answer = await ask(query.toString()).catch(() => undefined);
  if (!answer) return notYetReply('LaunchDarkly does not answer about goals');
  const headers = Object.entries(answer.headers).filter(([name]) => !ours.test(name));
  return { status: answer.status, headers: Object.fromEntries(headers), body: answer.body };
};

/** Between us and LaunchDarkly only, or said by us. */
const ours =
  /^(?:access-control-.*|connection|keep-alive|proxy-.*|te|trailer|transfer-encoding|upgrade|content-length|date|set-cookie|vary)$/i;
