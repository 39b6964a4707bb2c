/** The globals that browser SDKs need: jsdom's window and document, and EventSource over real sockets. */
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { EventSource } from 'eventsource';
import { JSDOM, VirtualConsole } from 'jsdom';

/** Loads LaunchDarkly's EventSource, which is a dependency of the Node client-side SDK. */
const fromNodeClient = createRequire(
  join(import.meta.dirname, '../../node_modules/launchdarkly-node-client-sdk/package.json'),
);

/** `reporting(true)` adds the EventSource that LaunchDarkly provides for pages that open their streams with REPORT. */
export function openWindow(origin: string): { reporting(on: boolean): void; close(): void } {
  // Keeps failed requests out of the console: tests check them.
  const dom = new JSDOM('', { url: origin, virtualConsole: new VirtualConsole() });
  const { window } = dom;
  const added = { window, document: window.document, localStorage: window.localStorage, EventSource };
  Object.assign(window, { EventSource });
  for (const [name, value] of Object.entries(added)) {
    Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
  }
  return {
    reporting(on) {
      if (on) Object.assign(window, { EventSourcePolyfill: fromNodeClient('launchdarkly-eventsource').EventSource });
      else Reflect.deleteProperty(window, 'EventSourcePolyfill');
    },
    close() {
      window.close();
      for (const name of Object.keys(added)) Reflect.deleteProperty(globalThis, name);
    },
  };
}
