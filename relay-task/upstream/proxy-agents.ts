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
  /** For opening the tunnel; 10 s. */
  readonly timeoutMs?: number;
}

type Done = (error: Error | null, stream?: Duplex) => void;

/**
 * Reaches https targets through a tunnel that the proxy opens (CONNECT, RFC 9110 section 9.3.6). Written here because
 * the packages for it leave a socket behind whenever a request is given up while the proxy is silent, and do not hand
 * certificate authorities on to the target.
 */
export function createTunnelAgent({ proxy, secureContext, timeoutMs = 10_000 }: ProxyOptions): https.Agent {
  const agent = new https.Agent({ ...(secureContext && { secureContext }) });
  const createConnection = (options: tls.ConnectionOptions, done: Done): undefined => {
    const target = `${options.host?.includes(':') ? `[${options.host}]` : options.host}:${options.port}`;
    let over = false;
    const finish: Done = (error, stream) => {
      if (over) {
        stream?.destroy();
        return;
      }
      over = true;
      clearTimeout(timer);
      done(error, stream);
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
    const timer = setTimeout(() => {
      request.destroy(new Error(`the proxy ${proxy.host} did not open a tunnel within ${timeoutMs} ms`));
    }, timeoutMs);
    request.on('connect', (response, socket: Socket, head) => {
      if (response.statusCode !== 200) {
        socket.destroy();
        return finish(new Error(describeRefusal(proxy, response.statusCode)));
      }
      if (head.length > 0) socket.unshift(head);
      finish(null, tls.connect({ ...options, socket }));
    });
    request.on('response', (response) => {
      request.destroy();
      finish(new Error(describeRefusal(proxy, response.statusCode)));
    });
    request.on('error', (error) => finish(error));
    request.end();
  };
  // Node's documented way to supply connections: https://nodejs.org/api/http.html#agentcreateconnectionoptions-callback
  return Object.assign(agent, { createConnection });
}

/** Reaches http targets by sending the absolute URL to the proxy (RFC 9112 section 3.2.2). */
export function createForwardAgent({ proxy, secureContext }: ProxyOptions): http.Agent {
  const agent =
    proxy.protocol === 'https:' ? new https.Agent({ ...(secureContext && { secureContext }) }) : new http.Agent();
  const { addRequest } = agent as unknown as { addRequest: AddRequest };
  const forward: AddRequest = (request, options) => {
    const { host, port = 80 } = options;
    const origin = `http://${host?.includes(':') ? `[${host}]` : host}:${port}`;
    request.path = new URL(request.path, origin).href;
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

interface RequestOptions {
  readonly host?: string | undefined;
  readonly port?: number | string | undefined;
  readonly servername?: string | undefined;
}

type AddRequest = (request: http.ClientRequest, options: RequestOptions) => void;

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

function describeRefusal(proxy: URL, statusCode: number | undefined): string {
  const advice = statusCode === 407 ? ' (authentication required)' : '';
  return `the proxy ${proxy.host} answered ${statusCode}${advice}`;
}
