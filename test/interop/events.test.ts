/** Events of official SDKs: LaunchDarkly receives the same events through a relay as without one. */
import { init } from '@launchdarkly/node-server-sdk';
import { eventually } from '../support/eventually.ts';
import { silentLog } from '../support/logs.ts';
import { browserClients, type OpenClient } from './browser-clients.ts';
import { openWindow } from './browser-globals.ts';
import { clientSideEnvironment } from './client-side.ts';
import { type EventsRecorder, startEventsRecorder } from './events-recorder.ts';
import { openNodeClient } from './node-client.ts';
import { environmentId, type Site, sdkKey, startSite } from './site.ts';

type Sent = Record<string, unknown>;

let site: Site | undefined;
/** What LaunchDarkly receives without a relay, and with one. */
let directly: EventsRecorder;
let through: EventsRecorder;
let browser: ReturnType<typeof openWindow>;
beforeEach(() => {
  browser = openWindow('http://page.example');
});
afterEach(async () => {
  await site?.close();
  await Promise.all([directly?.close(), through?.close()]);
  browser.close();
});

/** Uses an SDK that sends its events to the address; resolves when it has sent them. */
type Use = (relay: string, events: string) => Promise<void>;

const useNodeSdk: Use = async (relay, events) => {
  const client = init(sdkKey, {
    ...{ streamUri: relay, baseUri: relay, eventsUri: events, logger: silentLog },
    application: { id: 'interop', version: '1' },
  });
  await client.waitForInitialization({ timeout: 60 });
  for (const key of ['alice', 'viewer-1']) {
    const context = { kind: 'user', key, email: 'secret@example.com', _meta: { privateAttributes: ['email'] } };
    for (const flag of ['retired', 'site-banner', 'nothing']) await client.variation(flag, context, 'FALLBACK');
    client.track('bought', context, { what: 'thing' }, 3);
  }
  client.identify({ kind: 'organization', key: 'acme' });
  await client.flush();
  client.close();
};

const useClientSide =
  (open: OpenClient): Use =>
  async (relay, events) => {
    const client = await open({
      ...{ uri: relay, eventsUri: events, environmentId, streaming: false, sendEvents: true },
      context: { kind: 'user', key: 'alice' },
    });
    client.answers(['retired', 'site-banner', 'nothing'], 'FALLBACK');
    client.track('bought');
    await client.identify({ kind: 'user', key: 'viewer-1' });
    client.answers(['site-banner'], 'FALLBACK');
    await client.flush();
    await client.close();
  };

/** Replaces dates and ids, which differ between runs, and sorts the events. */
function comparable(events: readonly Sent[]): Sent[] {
  const timeless = events.map((event) =>
    JSON.parse(JSON.stringify(event, (key, value) => (/(Date|^id)$/.test(key) && value ? key : value))),
  );
  return timeless.sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
}

const sdks: readonly { name: string; use: Use; path: string }[] = [
  { name: 'the Node server SDK', use: useNodeSdk, path: '/bulk' },
  ...Object.entries(browserClients).map(([name, open]) => ({
    ...{ name, use: useClientSide(open), path: `/events/bulk/${environmentId}` },
  })),
  { name: 'the Node client-side SDK', use: useClientSide(openNodeClient), path: `/events/bulk/${environmentId}` },
];

test.each(sdks)('events of $name reach LaunchDarkly through a relay as they do directly', async ({ use, path }) => {
  [directly, through] = [await startEventsRecorder(), await startEventsRecorder()];
  // Only the SDK's events are of interest here.
  const silent = { DISABLE_INTERNAL_USAGE_METRICS: 'true' };
  const variables = { USE_EVENTS: 'true', EVENTS_HOST: through.uri, EVENTS_FLUSH_INTERVAL: '50ms', ...silent };
  site = await startSite(clientSideEnvironment(), variables);
  await use(site.uri, directly.uri);
  // Empty browser storage: an SDK that has noted there that it sent diagnostics does not send them again.
  browser.close();
  browser = openWindow('http://page.example');
  await use(site.uri, site.uri);

  const analytics = ({ requests }: EventsRecorder) => requests.filter((request) => request.path === path);
  const eventsOf = (where: EventsRecorder) => comparable(analytics(where).flatMap(({ events }) => events));
  expect(eventsOf(directly).length).toBeGreaterThan(2);
  await eventually(() => expect(eventsOf(through)).toEqual(eventsOf(directly)));

  const told = (where: EventsRecorder) =>
    analytics(where).map(({ headers }) => ({
      key: headers.authorization,
      schema: headers['x-launchdarkly-event-schema'],
      tags: headers['x-launchdarkly-tags'],
    }));
  // As sets, since the number of requests may differ.
  expect(new Set(told(through).map((one) => JSON.stringify(one)))).toEqual(
    new Set(told(directly).map((one) => JSON.stringify(one))),
  );

  const diagnostics = ({ requests }: EventsRecorder) =>
    requests.flatMap(({ path: at, events }) => (at === path ? [] : events.map(({ kind }) => `${at} ${kind}`))).sort();
  expect(diagnostics(directly)).not.toEqual([]);
  await eventually(() => expect(diagnostics(through)).toEqual(diagnostics(directly)));
});
