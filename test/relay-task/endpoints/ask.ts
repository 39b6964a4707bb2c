import { type IncomingHttpHeaders, request } from 'node:http';
import { connect } from 'node:net';
import { PATIENCE_MS } from '../../support/eventually.ts';

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** For a stream: its first chunk. */
  readonly body: Buffer;
  text(): string;
  // biome-ignore lint/suspicious/noExplicitAny: a test says what it expects
  json(): any;
}

export interface AskOptions {
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Buffer;
}

/** One request on its own connection, with any method; the response is not decompressed. */
export function ask(port: number, method: string, path: string, { headers, body }: AskOptions = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const outgoing = request({ host: '127.0.0.1', port, method, path, agent: false, headers: { ...headers } });
    outgoing.setTimeout(PATIENCE_MS, () => outgoing.destroy(new Error(`${method} ${path} was not answered`)));
    outgoing.on('error', reject);
    outgoing.on('response', (response) => {
      const pieces: Buffer[] = [];
      const finish = () => {
        const whole = Buffer.concat(pieces);
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          body: whole,
          text: () => whole.toString(),
          json: () => JSON.parse(whole.toString()),
        });
        response.destroy();
      };
      const isStream = method !== 'HEAD' && response.headers['content-type']?.startsWith('text/event-stream');
      response.on('data', (piece: Buffer) => {
        pieces.push(piece);
        if (isStream) finish();
      });
      response.on('end', finish);
      response.on('error', reject);
    });
    outgoing.end(body);
  });
}

export const base64url = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
export const json = { 'content-type': 'application/json' };

/** What the server answers to raw bytes, until it closes the connection or `enough` is true. */
export function say(
  port: number,
  bytes: string | Buffer,
  enough: (heard: string) => boolean = () => false,
): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    let heard = '';
    socket.setTimeout(PATIENCE_MS, () => socket.destroy());
    socket.on('data', (data) => {
      heard += data;
      if (enough(heard)) socket.destroy();
    });
    socket.on('error', () => {});
    socket.on('close', () => resolve(heard));
    socket.write(bytes);
  });
}
