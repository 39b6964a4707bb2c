/** Answers as values, which can be written to an HTTP response or to a bare socket that has left node:http. */
import { type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import { bytesOf, cutIfUnread, endPatiently, type Patience } from './patience.ts';

export interface Reply {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** An array: the parts, one behind the other. */
  readonly body?: string | Buffer | readonly Buffer[];
  /** The same bytes are kept for other clients, too. */
  readonly isShared?: boolean;
}

export function jsonReply(status: number, value: unknown, headers: Record<string, string> = {}): Reply {
  return { status, headers: { 'Content-Type': 'application/json', ...headers }, body: JSON.stringify(value) };
}

/** `{"message":…}`, the shape of LaunchDarkly's error bodies. */
export function messageReply(status: number, message: string, headers: Record<string, string> = {}): Reply {
  return jsonReply(status, { message }, headers);
}

/** Thrown for a request that cannot be understood or accepted; it is answered with `reply`. */
export class Refusal extends Error {
  readonly reply: Reply;
  constructor(status: number, message: string, headers: Record<string, string> = {}) {
    super(message);
    this.name = 'Refusal';
    this.reply = messageReply(status, message, headers);
  }
}

/** A 503, after which SDKs retry, unlike most 4xx. `Retry-After` is random, so that clients do not return all at once. */
export function notYetReply(message: string): Reply {
  return messageReply(503, message, retryLater());
}

/** The header of a 503. */
export function retryLater(): Record<string, string> {
  return { 'Retry-After': String(2 + Math.floor(Math.random() * 9)) };
}

/** For an error that nothing else handled: in the log, and to the client. */
export const CANNOT_ANSWER = 'Cannot answer a request';
export const SEE_LOG = 'the relay failed to answer; see its log';

interface Sending {
  /** Whether the connection ends with the answer. */
  readonly close: boolean;
  readonly patience: Patience;
}

/** Answers through node:http. HEAD gets the length without the body. */
export function sendReply(
  response: ServerResponse,
  { method, socket }: IncomingMessage,
  reply: Reply,
  { close, patience }: Sending,
): void {
  if (response.headersSent || response.destroyed) return;
  const { status, headers = {} } = reply;
  const body = partsOf(reply);
  for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
  if (close) response.setHeader('Connection', 'close');
  if (status !== 304) response.setHeader('Content-Length', bytesOf(body));
  response.writeHead(status);
  endPatiently(response, socket, method === 'HEAD' || status === 304 ? [] : body, patience);
}

function partsOf({ body = [] }: Reply): readonly Buffer[] {
  if (typeof body === 'string') return [Buffer.from(body)];
  return Buffer.isBuffer(body) ? [body] : body;
}

/** Of the body, in bytes. */
export function lengthOf({ body = '' }: Reply): number {
  return typeof body === 'string' ? Buffer.byteLength(body) : Buffer.isBuffer(body) ? body.length : bytesOf(body);
}

/** Answers on a bare socket and closes it. */
export function sendRawReply(socket: Socket, reply: Reply, patience: Patience): void {
  if (socket.destroyed || !socket.writable) {
    socket.destroy();
    return;
  }
  const { status, headers = {} } = reply;
  const lines = [`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}`, `Date: ${new Date().toUTCString()}`];
  for (const [name, value] of Object.entries(headers)) lines.push(`${name}: ${value}`);
  lines.push(`Content-Length: ${lengthOf(reply)}`, 'Connection: close', '', '');
  socket.on('error', () => {});
  socket.cork();
  socket.write(lines.join('\r\n'));
  for (const part of partsOf(reply)) socket.write(part);
  socket.uncork();
  // Closing with unread bytes would reset the connection, and the client could lose the answer.
  socket.resume();
  socket.destroySoon();
  cutIfUnread(socket, patience);
}
