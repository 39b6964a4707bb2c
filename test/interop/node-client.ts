import { initialize } from 'launchdarkly-node-client-sdk';
import { silentLog } from '../support/logs.ts';
import { type OpenClient, wrapOlder } from './browser-clients.ts';

/** LaunchDarkly's client-side SDK for Node, behind the same interface as the browser SDKs. */
export const openNodeClient: OpenClient = async (options) => {
  const { uri, context, hash, streaming, useReport = false, sendEvents = false } = options;
  const client = initialize(options.environmentId, context as never, {
    ...{ baseUrl: uri, streamUrl: uri, eventsUrl: options.eventsUri ?? uri, logger: silentLog },
    ...{ streaming, useReport, sendEvents, evaluationReasons: true, streamReconnectDelay: 200 },
    ...{ diagnosticOptOut: !sendEvents, ...(hash !== undefined && { hash }) },
  });
  try {
    await client.waitForInitialization();
  } catch (error) {
    await client.close();
    throw error;
  }
  return wrapOlder(client as never);
};
