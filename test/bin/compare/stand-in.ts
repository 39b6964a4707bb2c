/** A server in the place of a relay. */
import { createServer, type IncomingMessage, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { FlagData } from '../../support/fake-upstream.ts';

export const sdkKey = 'sdk-00000000-1111-2222-3333-444455556666';
export const mobileKey = 'mob-00000000-1111-2222-3333-444455556666';
export const environmentId = '0123456789abcdef01234567';

export interface StandIn {
  readonly uri: string;
  /** Method, path and query of every request. */
  readonly requests: readonly string[];
  /** Of their headers. */
  readonly credentials: readonly (string | undefined)[];
  close(): Promise<void>;
}

export async function startStandIn(answer: RequestListener): Promise<StandIn> {
  const requests: string[] = [];
  const credentials: (string | undefined)[] = [];
  const server = createServer((request, response) => {
    requests.push(`${request.method} ${request.url}`);
    credentials.push(request.headers.authorization);
    answer(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    uri: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    credentials,
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}

export interface OldRelay {
  status?: unknown;
  data: FlagData;
  /** By context key: what browsers and mobile SDKs get. */
  answers?: Readonly<Record<string, object>>;
  forwardsEvents?: boolean;
  /** Browsers must send the hash of secure mode. */
  isSecure?: boolean;
  keys?: Keys;
}

interface Keys {
  readonly sdkKeys: readonly string[];
  readonly mobileKey: string;
  readonly environmentId: string;
}

const usual: Keys = { sdkKeys: [sdkKey], mobileKey, environmentId };

/** As ld-relay's routes: https://github.com/launchdarkly/ld-relay/blob/v8.10.1/relay/relay_routes.go */
export function startOldRelay(old: OldRelay): Promise<StandIn> {
  const { keys = usual } = old;
  return startStandIn((request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? '', 'http://old');
    const json = (status: number, body: unknown) =>
      response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(body));
    if (pathname === '/status' && old.status !== undefined) return json(200, old.status);
    if (pathname === '/all' || pathname === '/bulk') {
      if (!keys.sdkKeys.includes(request.headers.authorization ?? '')) return response.writeHead(401).end();
      if (pathname === '/bulk') return json(old.forwardsEvents ? 400 : 503, { message: 'text' });
      response.writeHead(200, { 'Content-Type': 'text/event-stream' });
      return response.write(`:\n\nevent: put\ndata: ${JSON.stringify({ path: '/', data: old.data })}\n\n`);
    }
    const context = contextIn(pathname, request, keys);
    const found = context === undefined ? undefined : old.answers?.[context];
    if (!found) return response.writeHead(404).end('404 page not found');
    if (old.isSecure && pathname.startsWith('/sdk/') && !searchParams.has('h')) return json(400, { message: 'text' });
    return json(200, found);
  });
}

/** The key of the context in the path, if the credential is right. */
function contextIn(path: string, { headers }: IncomingMessage, keys: Keys): string | undefined {
  const [, start, text = ''] = /^(\/.*)\/users\/([\w-]+)$/.exec(path) ?? [];
  const isKnown =
    start === `/sdk/evalx/${keys.environmentId}` ||
    (start === '/msdk/evalx' && headers.authorization === keys.mobileKey);
  if (!isKnown) return undefined;
  return (JSON.parse(Buffer.from(text, 'base64url').toString()) as { key: string }).key;
}
