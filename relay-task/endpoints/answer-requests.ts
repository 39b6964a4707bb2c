/** Answers the requests of a server: through node:http, or on the bare sockets of those that ask for a stream. */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { WatchedRequest } from '../ports.ts';
import { readBareBody } from './bare-body.ts';
import type { Connections } from './connections.ts';
import type { Decision, Exchange } from './decide.ts';
import type { Dispatcher } from './dispatch.ts';
import type { Patience } from './patience.ts';
import { createArrived, endTurn, isOneTooMany, leaveInTurn, refuseLast, takeTurn, unanswered } from './pipelining.ts';
import { messageReply, notYetReply, type Reply, sendRawReply, sendReply } from './reply.ts';
import type { ReadBody } from './request.ts';
import { collectBody, unpackBody } from './request-body.ts';
import { refuseHead } from './request-head.ts';
import type { Services } from './services.ts';

interface AnsweringOptions extends Pick<Services, 'openStream'> {
  readonly dispatcher: Dispatcher;
  readonly connections: Connections;
  readonly patience: Patience;
  /** For the body of a request for a stream. */
  readonly requestTimeoutMs: number;
}

/** Answers the requests of a server. */
export function answerRequests(server: Server, options: AnsweringOptions): void {
  answerInOrder(server, options);
  answerUpgrades(server, options);
  server.on('clientError', (error, socket) => answerClientError(error, socket as Socket, options.patience));
}

/** `collect` reads the body as it was sent. `send` answers, and returns the status. */
type Handle = (
  message: IncomingMessage,
  collect: ReadBody,
  send: (decision: Decision, exchange: Exchange) => number,
) => Promise<Exchange>;

function createHandle({ dispatcher, connections }: AnsweringOptions): Handle {
  return async (message, collect, send) => {
    const { headers, socket } = message;
    const exchange = dispatcher.begin(message);
    const decision = await dispatcher.decide(exchange, async (limitBytes, memory) => {
      // Until its body is there, a connection may have to make room for others.
      connections.read(socket);
      const bytes = await collect(limitBytes, memory);
      connections.begin(socket);
      return unpackBody(bytes, headers['content-encoding'] ?? '', limitBytes, memory);
    });
    try {
      dispatcher.report(exchange, send(decision, exchange));
    } catch (error) {
      dispatcher.failed(error, exchange);
      socket.destroy();
    }
    return exchange;
  };
}

/** Through node:http. */
function answerInOrder(server: Server, options: AnsweringOptions): void {
  const { dispatcher, connections, patience } = options;
  const handle = createHandle(options);

  const answer = async (message: IncomingMessage, response: ServerResponse): Promise<void> => {
    const refused = refuseHead(message);
    if (refused) return sendReply(response, message, refused, { close: true, patience });
    const collect: ReadBody = (limitBytes, memory) => collectBody(message, limitBytes, memory);
    const exchange = await handle(message, collect, (decision, at) => {
      const reply = 'reply' in decision ? decision.reply : dispatcher.failed('a stream without its socket', at);
      const close = !server.listening || connections.isLast(message.socket) || isLast(message, reply);
      sendReply(response, message, dispatcher.dress(reply, at), { close, patience });
      return reply.status;
    });
    // The client may have left while the answer was made.
    if (response.closed) exchange.answer?.release();
    else response.on('close', () => exchange.answer?.release());
    if (exchange.watched) endWith(response, exchange.watched);
  };

  const answerInTurn = (message: IncomingMessage, response: ServerResponse): void => {
    const { socket } = message;
    connections.begin(socket);
    response.on('close', () => {
      // It may have been chosen after the head of this answer was sent.
      if (connections.isLast(socket)) socket.destroySoon();
      endTurn(socket);
      if (unanswered(socket) === 0) connections.end(socket);
    });
    takeTurn(socket, { message, response, begin: () => void answer(message, response) });
  };

  server.on('request', answerInTurn);
  server.on('checkExpectation', answerInTurn);
  server.on('checkContinue', (message, response) => {
    if (!refuseHead(message)) response.writeContinue();
    answerInTurn(message, response);
  });
}

/** Opens a stream on the bare socket, or answers there and closes it. Bytes after the request and its body are dropped. */
function answerUpgrades(server: Server, options: AnsweringOptions): void {
  const { dispatcher, connections, patience, requestTimeoutMs: timeoutMs } = options;
  const handle = createHandle(options);

  /** The answer if there is no stream. */
  const openStream = (
    socket: Socket,
    { environment, opening, refusal }: Extract<Decision, { opening: unknown }>,
    exchange: Exchange,
  ): Reply | undefined => {
    if (socket.destroyed) return undefined;
    socket.off('error', ignore);
    if (!server.listening) return notYetReply('the relay is shutting down');
    try {
      const refused = refusal();
      if (refused) return refused;
      const why = options.openStream(environment, socket, opening);
      if (why) return notYetReply(turnedAway[why]);
      connections.leave(socket);
      return undefined;
    } catch (error) {
      return dispatcher.failed(error, exchange);
    }
  };

  const answer = async (message: IncomingMessage, socket: Socket, head: Buffer): Promise<void> => {
    const refused = refuseHead(message);
    if (refused) return sendRawReply(socket, refused, patience);
    const collect: ReadBody = (limitBytes, memory) =>
      readBareBody(socket, head, message, { limitBytes, timeoutMs, memory });
    const exchange = await handle(message, collect, (decision, at) => {
      const reply = 'reply' in decision ? decision.reply : openStream(socket, decision, at);
      if (reply) sendRawReply(socket, dispatcher.dress(reply, at), patience);
      return reply?.status ?? 200;
    });
    exchange.answer?.release();
    if (exchange.watched) endWith(socket, exchange.watched);
  };

  const answerInTurn = (message: IncomingMessage, socket: Socket, head: Buffer): void => {
    const arrived = createArrived(message);
    arrived.keep(head);
    leaveInTurn(socket, arrived.keep, () => {
      const bytes = arrived.bytes();
      if (bytes === undefined) sendRawReply(socket, tooMuchUnanswered(), patience);
      else void answer(message, socket, bytes);
    });
  };

  server.on('upgrade', (message, duplex, head) => {
    const socket = duplex as Socket;
    connections.begin(socket);
    socket.on('error', ignore);
    if (unanswered(socket) === 0) void answer(message, socket, head);
    else if (isOneTooMany(message)) {
      // Its head is not kept.
      leaveInTurn(socket, ignore, () => sendRawReply(socket, tooMuchUnanswered(), patience));
    } else answerInTurn(message, socket, head);
  });
}

const WATCHED = Symbol('watched');
type Ending = (ServerResponse | Socket) & { [WATCHED]?: WatchedRequest };

/** Tells when an answer or a stream is over. It adds no closure to a stream. */
function endWith(ending: Ending, watched: WatchedRequest): void {
  ending[WATCHED] = watched;
  if (ending.closed || ending.destroyed) watched.ended();
  else ending.on('close', onEnd);
}

function onEnd(this: Ending): void {
  this[WATCHED]?.ended();
}

/** Messages for clients whose stream is refused. */
const turnedAway = {
  memory: 'open streams use all the memory that they may use; retry later',
  queue: 'too many streams are being opened; retry later',
  closing: 'the relay is shutting down, or the environment is being removed',
};

/** Whether the connection must be closed after this reply. */
function isLast(message: IncomingMessage, reply: Reply): boolean {
  return (
    // After a request with an Upgrade header the parser accepts nothing more on this connection.
    message.headers.upgrade !== undefined ||
    message.method === 'CONNECT' ||
    // The rest of the body is not read.
    ((reply.status === 413 || reply.status === 503) && !message.complete)
  );
}

function ignore(): void {}

/** After the answers to the requests before it. */
function answerClientError(error: NodeJS.ErrnoException, socket: RefusedSocket, patience: Patience): void {
  const reply = clientErrorReply(error.code);
  // No answer to clients that are gone, or that do not speak TLS where it is required.
  if (!reply || !socket.writable) {
    socket.destroy();
    return;
  }
  // Whatever arrives afterwards is another error.
  if (socket[REFUSED]) return;
  socket[REFUSED] = true;
  socket.pause();
  refuseLast(socket, () => sendRawReply(socket, reply, patience));
}

const REFUSED = Symbol('refused');
type RefusedSocket = Socket & { [REFUSED]?: boolean };

function tooMuchUnanswered(): Reply {
  return notYetReply(
    'too many requests on this connection wait for their answers, or too large ones; no more are accepted',
  );
}

function clientErrorReply(code = ''): Reply | undefined {
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') return messageReply(408, 'the request took too long to arrive');
  if (code === 'HPE_HEADER_OVERFLOW') return messageReply(431, 'the head of the request is too large');
  return code.startsWith('HPE_') ? messageReply(400, 'the request is not valid HTTP/1.1') : undefined;
}
