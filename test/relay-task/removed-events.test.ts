/** Events for an environment that goes while they arrive: SDKs send them again after 503, and another relay or environment takes them. */
import { request } from 'node:http';
import { eventually } from '../support/eventually.ts';
import { environmentRep, startFakeAutoConfig } from '../support/fake-auto-config.ts';
import { closeAfterEach } from '../support/opened.ts';
import { autoConfigKey, hastyTimings } from '../support/rotating-sources.ts';
import { startTestRelay } from '../support/start-relay.ts';
import { custom, startEnvironment, startLaunchDarkly } from './events/support.ts';

const { opened } = closeAfterEach();
const id = 'aaaaaaaaaaaaaaaaaaaaaaaa';
const other = 'bbbbbbbbbbbbbbbbbbbbbbbb';

test('an environment says that it takes none any more from the moment it begins to close', async () => {
  const launchDarkly = await startLaunchDarkly();
  const { intake } = startEnvironment(launchDarkly.uri);
  expect(intake.closed).toBe(false);
  const closed = intake.close(0);
  expect(intake.closed).toBe(true);
  await closed;
});

test('a body whose key moves to another environment before its end gets 503, and 202 when it is sent again', async () => {
  const recorder = await startLaunchDarkly();
  const launchDarkly = opened(await startFakeAutoConfig(environmentRep(id, 1, { envName: 'Before' })));
  const { dataFor } = launchDarkly.upstream;
  launchDarkly.upstream.dataFor = (asked) => dataFor(asked) ?? { flags: {}, segments: {} };
  const relay = opened(
    await startTestRelay(
      {
        AUTO_CONFIG_KEY: autoConfigKey,
        STREAM_URI: launchDarkly.upstream.uri,
        EVENTS_HOST: recorder.uri,
        USE_EVENTS: 'true',
      },
      { timings: hastyTimings },
    ),
  );
  expect(await relay.initialized()).toEqual([]);
  const sdkKey = `sdk-${id}`;
  const body = JSON.stringify([custom(1), custom(2)]);
  const headers = {
    Authorization: sdkKey,
    'Content-Type': 'application/json',
    'Content-Length': String(body.length),
    'X-LaunchDarkly-Event-Schema': '4',
  };
  const posted = request(`${relay.uri}/bulk`, { method: 'POST', headers });
  const status = new Promise<number | undefined>((resolve, reject) => {
    posted.on('response', (response) => response.resume().on('end', () => resolve(response.statusCode)));
    posted.on('error', reject);
  });
  posted.write(body.slice(0, 20));
  // It came later, over a connection of its own, so the other one is known by now.
  expect((await fetch(`${relay.uri}/sdk/latest-all`, { headers: { Authorization: sdkKey } })).status).toBe(200);
  delete launchDarkly.environments[id];
  launchDarkly.environments[other] = environmentRep(other, 1, { envName: 'After', sdkKey: { value: sdkKey } });
  await launchDarkly.put();
  await eventually(async () => {
    const { body: text } = await relay.metrics.text();
    expect(text).not.toContain('upstream_disconnected{env="Shop Before"}');
    expect(text).toContain('upstream_disconnected{env="Shop After"} 0');
  });
  posted.end(body.slice(20));
  expect(await status).toBe(503);
  const again = await fetch(`${relay.uri}/bulk`, { method: 'POST', headers: { ...headers }, body });
  expect(again.status).toBe(202);
  const { body: text } = await relay.metrics.text();
  expect(text).not.toMatch(/events_(received|dropped)_total\{env="Shop Before"/);
  expect(text).toMatch(/events_received_total\{env="Shop After",kind="sdkKey"\} 2/);
});
