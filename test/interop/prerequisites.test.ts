/** Prerequisites that clients may not see: official SDKs evaluate every prerequisite that an answer names, and report it. */
import { eventually } from '../support/eventually.ts';
import { startFakeUpstream } from '../support/fake-upstream.ts';
import { flagData } from '../support/items.ts';
import { closeAfterEach } from '../support/opened.ts';
import { startTestRelay } from '../support/start-relay.ts';
import { browserClients, type OpenClient } from './browser-clients.ts';
import { openWindow } from './browser-globals.ts';
import { startEventsRecorder } from './events-recorder.ts';
import { openNodeClient } from './node-client.ts';

const { opened, behind } = closeAfterEach();

const seenByClients = (seen: boolean) => ({
  clientSideAvailability: { usingEnvironmentId: seen, usingMobileKey: seen },
});
const flags = {
  open: flagData('open', 1, seenByClients(true)),
  'servers-only': flagData('servers-only', 1, seenByClients(false)),
  shown: flagData('shown', 1, {
    ...seenByClients(true),
    prerequisites: ['open', 'servers-only'].map((key) => ({ key, variation: 0 })),
  }),
};

const sdks: [name: string, open: OpenClient][] = [
  ...Object.entries(browserClients),
  ['the Node client-side SDK', openNodeClient],
];

test.each(sdks)(
  '%s reports the prerequisites that it has, and no unknown flag for those it has not',
  async (_, open) => {
    const browser = openWindow('http://page.example');
    behind(async () => browser.close());
    const upstream = opened(await startFakeUpstream({ flags }));
    const events = opened(await startEventsRecorder());
    const variables = { LD_ENV_a: 'sdk-a', LD_CLIENT_SIDE_ID_a: 'client-id', STREAM_URI: upstream.uri };
    const relay = opened(await startTestRelay(variables));
    await relay.initialized();
    const client = await open({
      ...{ uri: relay.uri, eventsUri: events.uri, environmentId: 'client-id', streaming: false, sendEvents: true },
      context: { kind: 'user', key: 'alice' },
    });
    expect(client.answers(['shown'], 'FALLBACK')).toMatchObject({ shown: { value: true } });
    await client.flush();
    await client.close();
    await eventually(() => {
      const sent = events.requests.flatMap((request) => request.events);
      const evaluated = sent.flatMap(({ features }) => Object.keys(features ?? {}));
      expect(evaluated.sort()).toEqual(['open', 'shown']);
    });
  },
);
