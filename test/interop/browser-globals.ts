/** What browser SDKs expect to find around them: a window and document of jsdom, and EventSources over real sockets. */
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { EventSource } from 'eventsource';
import { JSDOM, VirtualConsole } from 'jsdom';

/** LaunchDarkly's own, of which the Node client-side SDK brings a copy. */
const fromNodeClient = createRequire(
  join(import.meta.dirname, '../../node_modules/launchdarkly-node-client-sdk/package.json'),
);

/** `reporting`: with the EventSource that LaunchDarkly offers to pages which want REPORT for their streams. */
export function openWindow(origin: string): { reporting(on: boolean): void; close(): void } {
  // Failed requests are the tests' business, not the console's.
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
