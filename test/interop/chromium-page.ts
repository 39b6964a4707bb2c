/** A page in headless Chromium, at its own origin, with LaunchDarkly's browser SDKs. */
import { existsSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { build } from 'esbuild';
import { type Browser, chromium, type JSHandle, type Page } from 'playwright-core';
import type { Answer, BrowserClientName, Client, ClientOptions, SomeContext } from './browser-clients.ts';

/** Undefined if none is installed. */
export const chromiumPath = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find((path) =>
  existsSync(path),
);

/** The global that the bundle defines in the page. */
declare const sdks: typeof import('./browser-clients.ts');

export interface PageClient {
  identify(context: SomeContext, hash?: string): Promise<void>;
  answers(flags: readonly string[], fallback: unknown): Promise<Record<string, Answer>>;
  /** Identifies each context in turn and collects its answers. */
  answersFor(
    contexts: readonly SomeContext[],
    flags: readonly string[],
    fallback: unknown,
  ): Promise<Record<string, Answer>[]>;
}

export interface Pages {
  /** The page's origin. */
  readonly origin: string;
  /** Opens an SDK in the page, with empty storage. Rejects with the SDK's error when it gives up. */
  open(name: BrowserClientName, options: ClientOptions): Promise<PageClient>;
  /** Opens an EventSource in the page; resolves to `event` or `error`, whichever fires first. */
  firstEvent(url: string, event: string): Promise<string>;
  /** Closes the page; the next call opens another. */
  closePage(): Promise<void>;
  close(): Promise<void>;
}

const quiet = [
  ...['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run'],
  ...['--disable-background-networking', '--disable-component-update', '--disable-sync'],
];

export async function startPages(): Promise<Pages> {
  const { outputFiles } = await build({
    entryPoints: [join(import.meta.dirname, 'browser-clients.ts')],
    ...{ bundle: true, write: false, format: 'iife', globalName: 'sdks', platform: 'browser', target: 'es2022' },
  });
  const script = outputFiles[0]?.text ?? '';
  const server = createServer((request, response) => {
    const [type, body] = request.url === '/sdks.js' ? ['text/javascript', script] : ['text/html', html];
    response.writeHead(200, { 'Content-Type': `${type}; charset=utf-8` }).end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  let browser: Browser;
  try {
    browser = await chromium.launch({ executablePath: chromiumPath!, args: quiet });
  } catch (error) {
    server.close();
    throw error;
  }
  let page: Promise<Page> | undefined;
  const openPage = async () => {
    const opened = await (await browser.newContext()).newPage();
    await opened.goto(origin);
    return opened;
  };
  const thePage = () => {
    page ??= openPage();
    return page;
  };
  return {
    origin,
    async open(name, options) {
      const opened = await thePage();
      const client: JSHandle<Client> = await opened.evaluateHandle(
        ([which, how]) => {
          localStorage.clear();
          return sdks.browserClients[which](how);
        },
        [name, options] as const,
      );
      return {
        identify: (context, hash) =>
          client.evaluate((sdk, [who, proof]) => sdk.identify(who, proof), [context, hash] as const),
        answers: (flags, fallback) =>
          client.evaluate((sdk, [keys, otherwise]) => sdk.answers(keys, otherwise), [flags, fallback] as const),
        answersFor: (contexts, flags, fallback) =>
          client.evaluate(
            async (sdk, [all, keys, otherwise]) => {
              const answers = [];
              for (const context of all) {
                await sdk.identify(context);
                answers.push(sdk.answers(keys, otherwise));
              }
              return answers;
            },
            [contexts, flags, fallback] as const,
          ),
      };
    },
    async firstEvent(url, event) {
      const opened = await thePage();
      return opened.evaluate(
        ([address, name]) =>
          new Promise<string>((resolve) => {
            const source = new EventSource(address);
            for (const type of [name, 'error']) source.addEventListener(type, () => resolve(type));
          }),
        [url, event] as const,
      );
    },
    async closePage() {
      const closing = page;
      page = undefined;
      await (await closing)?.context().close();
    },
    async close() {
      await browser.close();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

const html = '<!doctype html><meta charset="utf-8"><title>interop</title><script src="/sdks.js"></script>';

declare class EventSource {
  constructor(url: string);
  addEventListener(type: string, listener: () => void): void;
}

declare const localStorage: { clear(): void };
