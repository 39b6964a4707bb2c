/** A fake LaunchDarkly and a relay in front of it, for SDKs to connect to. */
import type { Variables } from '../../relay-task/config/config.ts';
import { type FakeUpstream, type FlagData, startFakeUpstream } from '../support/fake-upstream.ts';
import { startTestRelay, type TestRelay } from '../support/start-relay.ts';

export const sdkKey = 'sdk-interop';
const mobileKey = 'mob-interop';
export const environmentId = '64a0interop';

export interface Site {
  readonly upstream: FakeUpstream;
  /** The relay's address, the same after every restart. */
  readonly uri: string;
  readonly port: number;
  /** Stops the relay; `start` starts another at the same address. */
  stop(): Promise<void>;
  start(): Promise<void>;
  close(): Promise<void>;
}

/** `upstream` replaces the fake LaunchDarkly that would serve `data`; the site closes it. */
export async function startSite(data: FlagData, variables: Variables = {}, upstream?: FakeUpstream): Promise<Site> {
  const launchDarkly = upstream ?? (await startFakeUpstream(data));
  let relay: TestRelay | undefined;
  let port = '0';
  const start = async () => {
    relay = await startTestRelay({
      ...(variables.AUTO_CONFIG_KEY === undefined && {
        LD_ENV_interop: sdkKey,
        LD_MOBILE_KEY_interop: mobileKey,
        LD_CLIENT_SIDE_ID_interop: environmentId,
      }),
      STREAM_URI: launchDarkly.uri,
      ...variables,
      PORT: port,
    });
    port = String(relay.port);
    await relay.initialized();
  };
  const stop = async () => {
    await relay?.close();
    relay = undefined;
  };
  try {
    await start();
  } catch (error) {
    await launchDarkly.close();
    throw error;
  }
  return {
    upstream: launchDarkly,
    uri: `http://127.0.0.1:${port}`,
    port: Number(port),
    stop,
    start,
    async close() {
      await stop();
      await launchDarkly.close();
    },
  };
}
