import { createClient } from '@launchdarkly/js-client-sdk';

const relay = 'http://127.0.0.1:8030';
const clientSideId = 'local';

const client = createClient(
  clientSideId,
  { kind: 'user', key: 'tester' },
  { streamUri: relay, baseUri: relay, eventsUri: relay, streaming: true },
);

function show() {
  document.body.textContent = `canary-checkout: ${client.variation('canary-checkout', 'stable')}`;
}
client.on('change:canary-checkout', show);
client.start().then(show);
