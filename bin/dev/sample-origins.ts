import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface SampleOrigins {
  /** By name, in the order of the names. */
  readonly urls: Readonly<Record<string, string>>;
  close(): Promise<void>;
}

const COLOURS = ['#2b6cb0', '#b7791f', '#2f855a', '#b83280', '#6b46c1', '#c53030'] as const;

/** Origins on 127.0.0.1, each serving a page with its name and, under `/received`, the request that it got. */
export async function startSampleOrigins(names: readonly string[]): Promise<SampleOrigins> {
  const started: { readonly name: string; readonly url: string; close(): Promise<void> }[] = [];
  for (const [index, name] of names.entries()) {
    started.push({ name, ...(await startOrigin(name, COLOURS[index % COLOURS.length] ?? '')) });
  }
  return {
    urls: Object.fromEntries(started.map(({ name, url }) => [name, url])),
    async close() {
      await Promise.all(started.map((one) => one.close()));
    },
  };
}

async function startOrigin(name: string, colour: string) {
  const server = createServer((request, response) => {
    request.resume();
    if (request.url?.startsWith('/received')) {
      const { method, url, headers } = request;
      response.writeHead(200, { 'content-type': 'application/json', 'cache-control': 'no-store', 'x-origin': name });
      response.end(
        request.method === 'HEAD' ? undefined : `${JSON.stringify({ method, url, headers }, undefined, 2)}\n`,
      );
      return;
    }
    const page = `<!doctype html><title>${name}</title><h1 style="color:${colour}">${name}</h1>\n`;
    response.writeHead(200, {
      'content-type': 'text/html; charset=utf-8',
      'cache-control': 'max-age=60',
      'x-origin': name,
    });
    response.end(request.method === 'HEAD' ? undefined : page);
  });
  const url = await listen(server, 0);
  return { url, close: () => close(server) };
}

/** Listens on 127.0.0.1 and returns the address; rejects if the port is in use. */
export async function listen(server: Server, port: number): Promise<string> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', resolve);
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

export async function close(server: Server): Promise<void> {
  await new Promise<void>((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
