/**
 * What a handler answers, as a value: it can be written to a response or, on a socket that has left HTTP, by hand.
 */
import { type ServerResponse, STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';

export interface Reply {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Buffer;
}

export function jsonReply(status: number, value: unknown, headers: Record<string, string> = {}): Reply {
  return { status, headers: { 'Content-Type': 'application/json', ...headers }, body: JSON.stringify(value) };
}

/** `{"message":…}`, the shape of LaunchDarkly's error bodies. */
export function messageReply(status: number, message: string, headers: Record<string, string> = {}): Reply {
  return jsonReply(status, { message }, headers);
}

/** Thrown by whatever reads a request and does not like what it reads: it is answered with `reply`. */
export class Refusal extends Error {
  readonly reply: Reply;
  constructor(status: number, message: string, headers: Record<string, string> = {}) {
    super(message);
    this.name = 'Refusal';
    this.reply = messageReply(status, message, headers);
  }
}

/** A 503 that asks everyone to come back at a different time. SDKs retry on it, as they do not on most 4xx. */
export function notYetReply(message: string): Reply {
  return messageReply(503, message, { 'Retry-After': String(2 + Math.floor(Math.random() * 9)) });
}

/** Answers through node:http. HEAD gets the length and no body. */
export function sendReply(response: ServerResponse, method: string, reply: Reply, close: boolean): void {
  if (response.headersSent || response.destroyed) return;
  const { status, headers = {}, body = '' } = reply;
  for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
  if (close) response.setHeader('Connection', 'close');
  if (status !== 304) response.setHeader('Content-Length', Buffer.byteLength(body));
  response.writeHead(status);
  if (method === 'HEAD' || status === 304) response.end();
  else response.end(body);
}

/** Answers on a bare socket and closes it. */
export function sendRawReply(socket: Socket, reply: Reply): void {
  if (socket.destroyed || !socket.writable) return void socket.destroy();
  const { status, headers = {}, body = '' } = reply;
  const lines = [`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}`, `Date: ${new Date().toUTCString()}`];
  for (const [name, value] of Object.entries(headers)) lines.push(`${name}: ${value}`);
  lines.push(`Content-Length: ${Buffer.byteLength(body)}`, 'Connection: close', '', '');
  socket.on('error', () => {});
  socket.cork();
  socket.write(lines.join('\r\n'));
  socket.write(body);
  socket.uncork();
  // Unread bytes would turn the close into a reset, which can take the answer away from the client.
  socket.resume();
  socket.destroySoon();
}
