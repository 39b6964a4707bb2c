import http from 'node:http';
import https from 'node:https';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import tls from 'node:tls';

export interface ProxyOptions {
  /** An http or https URL, including user and password. */
  readonly proxy: URL;
  /** For TLS to the proxy and to the target; Node's default when absent. */
  readonly secureContext?: tls.SecureContext | undefined;
  /** For opening the tunnel, and again for TLS to the target; 10 s. */
  readonly timeoutMs?: number;
  /** Whether and how many connections are kept; by default as Node's agents do. */
  readonly pool?: http.AgentOptions | undefined;
}

type Done = (error: Error | null, stream?: Duplex) => void;

/**
 * Reaches https targets through a tunnel that the proxy opens (CONNECT, RFC 9110 section 9.3.6). Written here because
 * the packages for it leave a socket behind whenever a request is given up while the proxy is silent, and do not hand
 * certificate authorities on to the target.
 */
export function createTunnelAgent({ proxy, secureContext, timeoutMs = 10_000, pool }: ProxyOptions): https.Agent {
  const agent = new https.Agent({ ...pool, ...(secureContext && { secureContext }) });
  const createConnection = (options: tls.ConnectionOptions, done: Done): undefined => {
    const target = targetOf(options);
    let over = false;
    const finish: Done = (error, stream) => {
      if (over) {
        stream?.destroy();
        return;
      }
      over = true;
      clearTimeout(timer);
      uncount();
      done(error, stream);
      if (error) startNext(agent, options);
    };
    const { request: send } = proxy.protocol === 'https:' ? https : http;
    const request = send({
      host: hostOf(proxy),
      port: portOf(proxy),
      method: 'CONNECT',
      path: target,
      agent: false,
      headers: { Host: target, ...authorization(proxy) },
      ...(secureContext && { secureContext }),
    });
    const uncount = countAsSocket(request, agent, options);
    const timer = setTimeout(() => {
      request.destroy(proxyError(`the proxy ${proxy.host} did not open a tunnel within ${timeoutMs} ms`));
    }, timeoutMs);
    request.on('connect', (response, socket: Socket, head) => {
      if (response.statusCode !== 200) {
        socket.destroy();
        return finish(proxyError(describeRefusal(proxy, response.statusCode)));
      }
      if (head.length > 0) socket.unshift(head);
      finish(null, connectTls({ ...options, socket }, timeoutMs));
    });
    request.on('response', (response) => {
      request.destroy();
      finish(proxyError(describeRefusal(proxy, response.statusCode)));
    });
    request.on('error', (error) => finish(Object.assign(error, { code: 'PROXY' })));
    request.end();
  };
  // Node's documented way to supply connections: https://nodejs.org/api/http.html#agentcreateconnectionoptions-callback
  return Object.assign(agent, { createConnection });
}

/**
 * Counts a tunnel that is being opened towards the agent's `maxSockets`, and destroys it with the agent: Node counts only sockets that exist.
 * Returns the function that ends this.
 */
function countAsSocket(request: http.ClientRequest, agent: https.Agent, options: tls.ConnectionOptions): () => void {
  const sockets = agent.sockets as unknown as Record<string, { destroy(): unknown }[]>;
  const name = agent.getName(options as https.RequestOptions);
  sockets[name] = [...(sockets[name] ?? []), request];
  return () => {
    const others = sockets[name]?.filter((one) => one !== request) ?? [];
    if (others.length > 0) sockets[name] = others;
    else delete sockets[name];
  };
}

/** Node starts a waiting request when a socket closes, but a tunnel that failed never became a socket. */
function startNext(agent: https.Agent, options: tls.ConnectionOptions): void {
  const requests = agent.requests as unknown as Record<string, http.ClientRequest[]>;
  const name = agent.getName(options as https.RequestOptions);
  const waiting = (requests[name] ?? []).filter(({ destroyed }) => !destroyed);
  const [next, ...others] = waiting;
  if (others.length > 0) requests[name] = others;
  else delete requests[name];
  if (next) (agent as unknown as Requested).addRequest(next, options as RequestOptions);
}

/** A peer behind the tunnel that stays silent is given up: to the proxy, the connection looks alive. */
function connectTls(options: tls.ConnectionOptions, timeoutMs: number): tls.TLSSocket {
  const socket = tls.connect(options);
  const timer = setTimeout(() => socket.destroy(new Error(`no TLS connection within ${timeoutMs} ms`)), timeoutMs);
  for (const event of ['secureConnect', 'close']) socket.once(event, () => clearTimeout(timer));
  return socket;
}

/** Reaches http targets by sending the absolute URL to the proxy (RFC 9112 section 3.2.2). */
export function createForwardAgent({ proxy, secureContext, pool }: ProxyOptions): http.Agent {
  const agent =
    proxy.protocol === 'https:'
      ? new https.Agent({ ...pool, ...(secureContext && { secureContext }) })
      : new http.Agent(pool);
  const { addRequest } = agent as unknown as Requested;
  const forward: AddRequest = (request, options) => {
    request.path = new URL(request.path, `http://${targetOf(options)}`).href;
    for (const [name, value] of Object.entries(authorization(proxy))) request.setHeader(name, value);
    addRequest.call(agent, request, {
      ...options,
      host: hostOf(proxy),
      port: portOf(proxy),
      servername: serverName(proxy),
    });
  };
  return Object.assign(agent, {
    addRequest: forward,
    // Lets a request for an http target go over TLS to an https proxy.
    protocol: 'http:',
  });
}

/**
 * Makes `direct` hand its requests on to `proxied`, except those to spared URLs: for libraries that take one agent for
 * all hosts. Destroying it destroys both.
 */
export function joinAgents<A extends http.Agent>(options: {
  readonly direct: A;
  readonly proxied: http.Agent;
  readonly scheme: 'http' | 'https';
  isSpared(url: URL): boolean;
}): A {
  const { direct, proxied, scheme, isSpared } = options;
  const { addRequest } = direct as unknown as Requested;
  const destroy = direct.destroy.bind(direct);
  return Object.assign(direct, {
    addRequest(request: http.ClientRequest, target: RequestOptions) {
      if (isSpared(new URL(`${scheme}://${targetOf(target)}`))) addRequest.call(direct, request, target);
      else (proxied as unknown as Requested).addRequest(request, target);
    },
    destroy() {
      destroy();
      proxied.destroy();
    },
  });
}

interface RequestOptions {
  readonly host?: string | undefined;
  readonly port?: number | string | undefined;
  readonly servername?: string | undefined;
}

type AddRequest = (request: http.ClientRequest, options: RequestOptions) => void;

/** What Node calls with each request of an agent; https://github.com/nodejs/node/blob/v20.x/lib/_http_client.js. */
interface Requested {
  readonly addRequest: AddRequest;
}

/** `host:port` of a request, with or without TLS. */
function targetOf({ host, port = 80 }: RequestOptions): string {
  return `${host?.includes(':') ? `[${host}]` : host}:${port}`;
}

function authorization({ username, password }: URL): Record<string, string> {
  if (username === '' && password === '') return {};
  const credentials = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return { 'Proxy-Authorization': `Basic ${Buffer.from(credentials).toString('base64')}` };
}

const hostOf = ({ hostname }: URL) => hostname.replace(/^\[|\]$/g, '');

const portOf = ({ port, protocol }: URL) => Number(port) || (protocol === 'https:' ? 443 : 80);

function serverName(proxy: URL): string | undefined {
  return proxy.protocol === 'https:' ? hostOf(proxy) : undefined;
}

/** Not LaunchDarkly, or whatever the target is, is the cause. */
function proxyError(message: string): Error {
  return Object.assign(new Error(message), { code: 'PROXY' });
}

function describeRefusal(proxy: URL, statusCode: number | undefined): string {
  const advice = statusCode === 407 ? ' (authentication required)' : '';
  return `the proxy ${proxy.host} answered ${statusCode}${advice}`;
}
