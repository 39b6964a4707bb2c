import { readFileSync } from 'node:fs';
import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';

/** Where a Consul agent is and how it is spoken to. */
export interface ConsulConnection {
  /** `host:port`, `http://host:port` or `https://…`; a path before `/v1` is kept. */
  readonly address: string;
  /** ACL token. */
  readonly token?: string | undefined;
  /** A file with the ACL token; read at the first request, and again when a token is refused. Wins over `token`. */
  readonly tokenFile?: string | undefined;
  /** PEM. */
  readonly ca?: string | undefined;
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
  /** After how long without the whole answer a request has failed. Default 5000. */
  readonly timeoutMs?: number | undefined;
}

export interface ConsulAnswer {
  /** 200, 404 or 409; everything else rejects. */
  readonly status: number;
  readonly body: Buffer;
}

/** A thin client of Consul's HTTP API. https://developer.hashicorp.com/consul/api-docs */
export interface ConsulClient {
  /** For people. */
  readonly server: string;
  /** `path` begins after `/v1`. Rejects with one sentence that names neither token nor value. */
  request(method: 'GET' | 'PUT' | 'DELETE', path: string, body?: Buffer | string): Promise<ConsulAnswer>;
  close(): void;
}

export function createConsulClient(connection: ConsulConnection): ConsulClient {
  const { address, tokenFile, ca, cert, key, timeoutMs = 5_000 } = connection;
  const base = new URL(/^https?:\/\//.test(address) ? address : `http://${address}`);
  const secure = base.protocol === 'https:';
  const agent = secure
    ? new HttpsAgent({ keepAlive: true, ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) })
    : new HttpAgent({ keepAlive: true });
  const server = `${base.protocol}//${base.host}${base.pathname.replace(/\/$/, '')}`;
  let token = connection.token;
  let tokenKnown = tokenFile === undefined;

  function readToken(): void {
    if (tokenFile === undefined) return;
    try {
      token = readFileSync(tokenFile, 'utf8').trim();
      tokenKnown = true;
    } catch (error) {
      throw new Error(`the token file ${tokenFile} cannot be read: ${(error as Error).message}`);
    }
  }

  function send(method: string, path: string, body: Buffer | string | undefined): Promise<ConsulAnswer> {
    return new Promise((resolve, reject) => {
      const outgoing = (secure ? httpsRequest : httpRequest)(`${server}/v1${path}`, {
        ...{ method, agent, signal: AbortSignal.timeout(timeoutMs) },
        headers: {
          ...(token && { 'x-consul-token': token }),
          ...(body !== undefined && { 'content-length': Buffer.byteLength(body) }),
        },
      });
      const fail = (error: Error) =>
        reject(/^(Abort|Timeout)Error$/.test(error.name) ? new Error(`no answer within ${timeoutMs} ms`) : error);
      outgoing.on('error', fail);
      outgoing.on('response', (incoming: IncomingMessage) => {
        const chunks: Buffer[] = [];
        incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
        incoming.on('error', fail);
        incoming.on('end', () => resolve({ status: incoming.statusCode ?? 0, body: Buffer.concat(chunks) }));
      });
      outgoing.end(body);
    });
  }

  /** Inside a transaction a missing right is an error of an operation. */
  const isRefusal = ({ status, body }: ConsulAnswer) =>
    status === 403 || (status === 409 && body.includes('Permission denied'));

  return {
    server,
    async request(method, path, body) {
      if (!tokenKnown) readToken();
      let answer = await send(method, path, body);
      if (isRefusal(answer) && tokenFile !== undefined) {
        const before = token;
        readToken();
        if (token !== before) answer = await send(method, path, body);
      }
      const { status } = answer;
      if (isRefusal(answer))
        throw new Error(`Consul refuses: ${sayOf(answer.body)}; look at the ACL token and its policy`);
      if (status !== 200 && status !== 404 && status !== 409) {
        throw new Error(`Consul answered ${status}: ${sayOf(answer.body)}`);
      }
      return answer;
    },
    close: () => agent.destroy(),
  };
}

/** Keys may hold anything; slashes stand for themselves. */
export function kvPath(key: string): string {
  return `/kv/${encodeURIComponent(key).replaceAll('%2F', '/')}`;
}

function sayOf(body: Buffer): string {
  return JSON.stringify(body.toString().trim().slice(0, 200));
}
