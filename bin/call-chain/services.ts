/** The services of examples/call-chain on 127.0.0.1, as Lambda would call them behind function URLs. */
import { createServer } from 'node:http';
import type { UrlHandler } from '../../examples/call-chain/function-url.ts';
import { createHello } from '../../examples/call-chain/hello.ts';
import { createWorld, versions, type WorldOptions } from '../../examples/call-chain/world.ts';
import type { Chain } from '../../lambda/edge-reader/chain.ts';
import { close, listen } from '../dev/sample-origins.ts';

interface Services {
  readonly helloUrl: string;
  readonly worldUrl: string;
  close(): Promise<void>;
}

interface ServicesOptions {
  readonly hello: Chain;
  readonly world: Chain;
  /** Default: those of the example. */
  readonly versions?: WorldOptions['versions'];
  /** How long `world` may take. Default: as in the example. */
  readonly timeoutMs?: number;
}

export async function startServices(options: ServicesOptions): Promise<Services> {
  const world = await serve(createWorld({ chain: options.world, versions: options.versions ?? versions }));
  const hello = await serve(createHello({ chain: options.hello, worldUrl: world.url, timeoutMs: options.timeoutMs }));
  return {
    helloUrl: hello.url,
    worldUrl: world.url,
    async close() {
      await Promise.all([hello.close(), world.close()]);
    },
  };
}

async function serve(handler: UrlHandler) {
  const server = createServer((request, response) => {
    request.resume();
    const { searchParams } = new URL(request.url ?? '/', 'http://127.0.0.1');
    const headers = Object.fromEntries(Object.entries(request.headers).map(([name, value]) => [name, String(value)]));
    handler({ headers, queryStringParameters: Object.fromEntries(searchParams) }).then(
      ({ statusCode, headers, body }) => response.writeHead(statusCode, headers).end(body),
      (error: Error) => response.writeHead(502).end(error.message),
    );
  });
  const url = await listen(server, 0);
  return { url, close: () => close(server) };
}
