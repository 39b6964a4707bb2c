import { readFileSync } from 'node:fs';
import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import { type Budget, createBudget } from '../common/budget.ts';
import { httpRequest } from '../common/http-request.ts';
import { storedLimit } from './read-memory.ts';

/** Where a Consul agent is, and how to connect to it. */
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
  /** A request without a complete answer fails after this time. Default 5000. */
  readonly timeoutMs?: number | undefined;
  /** For the answers that are being read, of all clients that share it. Default: `createAnswersMemory`, for this one. */
  readonly memory?: Budget | undefined;
}

interface ConsulAnswer {
  /** 200, 404 or 409; everything else rejects. */
  readonly status: number;
  readonly body: Buffer;
}

/** A thin client of Consul's HTTP API. https://developer.hashicorp.com/consul/api-docs */
export interface ConsulClient {
  /** For logs and status. */
  readonly server: string;
  /** `path` begins after `/v1`. Rejects with one sentence that names neither token nor value. */
  request(method: 'GET' | 'PUT' | 'DELETE', path: string, body?: Buffer | string): Promise<ConsulAnswer>;
  close(): void;
}

/** All flags of an environment come in one answer, in base64: as much as LaunchDarkly may send of them, or 96 MiB. */
const maxAnswerBytes = Math.min(128 * 1024 * 1024, Math.ceil(1.5 * storedLimit()));
/** Each key of a list has eight. */
const jsonLimits = { maxParts: 1_000_000, maxDepth: 100 };

/** One answer alone may take a half of it. */
export const createAnswersMemory = (): Budget => createBudget(2 * maxAnswerBytes);

export function createConsulClient(connection: ConsulConnection): ConsulClient {
  const { address, tokenFile, ca, cert, key, timeoutMs = 5_000 } = connection;
  const { memory = createAnswersMemory() } = connection;
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
      throw new Error(`cannot read the token file ${tokenFile}: ${(error as Error).message}`);
    }
  }

  function send(method: string, path: string, body: Buffer | string | undefined): Promise<ConsulAnswer> {
    const url = new URL(`${server}/v1${path}`);
    const headers: Record<string, string> = token ? { 'x-consul-token': token } : {};
    // A raw value is whatever was stored.
    const answer = { memory, json: url.searchParams.has('raw') ? undefined : jsonLimits };
    return httpRequest({ url, method, headers, body, agent, timeoutMs, maxAnswerBytes, answer });
  }

  /** Inside a transaction a missing right is an error of an operation. */
  const isRefusal = ({ status, body }: ConsulAnswer) =>
    status === 403 || (status === 409 && body.includes('Permission denied'));

  return {
    server,
    async request(method, path, body) {
      if (!tokenKnown) readToken();
      const sent = token;
      let answer = await send(method, path, body);
      if (isRefusal(answer) && tokenFile !== undefined) {
        readToken();
        // Another request may have read the file meanwhile, so the new token is compared with the one that was sent.
        if (token !== sent) answer = await send(method, path, body);
      }
      const { status } = answer;
      if (isRefusal(answer))
        throw new Error(`Consul refused the request: ${sayOf(answer.body)}; check the ACL token and its policy`);
      if (status !== 200 && status !== 404 && status !== 409) {
        throw new Error(`Consul answered ${status}: ${sayOf(answer.body)}`);
      }
      return answer;
    },
    close: () => agent.destroy(),
  };
}

/** Keys may contain anything; slashes stay as they are. */
export function kvPath(key: string): string {
  return `/kv/${encodeURIComponent(key).replaceAll('%2F', '/')}`;
}

function sayOf(body: Buffer): string {
  return JSON.stringify(body.toString().trim().slice(0, 200));
}
