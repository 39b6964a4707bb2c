import { OFREPWebProvider } from '@openfeature/ofrep-web-provider';
import { OpenFeature, ProviderEvents } from '@openfeature/web-sdk';

// All flags at once, and again when an event of the relay reports a change; every 30 s if there is no stream.
const provider = new OFREPWebProvider({
  baseUrl: 'http://127.0.0.1:8030',
  headers: [['Authorization', 'Bearer local']],
  pollInterval: 30_000,
});
const client = OpenFeature.getClient();

function show() {
  document.body.textContent = `canary-checkout: ${client.getStringValue('canary-checkout', 'stable')}`;
}
OpenFeature.addHandler(ProviderEvents.ConfigurationChanged, show);
OpenFeature.setProviderAndWait(provider, { targetingKey: 'tester' }).then(show, show);
