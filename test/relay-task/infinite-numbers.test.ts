/** Numbers that are valid JSON and above what a double holds, as in `1e400`: LaunchDarkly's Go code refuses them. */
import { until } from '../support/eventually.ts';
import { startFakeUpstream } from '../support/fake-upstream.ts';
import { flagData, segmentData } from '../support/items.ts';
import { closeAfterEach } from '../support/opened.ts';
import { startTestRelay } from '../support/start-relay.ts';

const sdkKey = 'sdk-00000000-1111-2222-3333-444455556666';
const seen = { clientSideAvailability: { usingMobileKey: true, usingEnvironmentId: true } };
const base64 = Buffer.from('{"kind":"user","key":"alice"}').toString('base64url');
const { opened } = closeAfterEach();

/** `JSON.stringify` cannot write the number. */
const withInfinity = (data: object) => JSON.stringify(data).replace('"INFINITE"', '1e400');

test('an infinite number costs the item that has it, which is named with the reason, and no other', async () => {
  const upstream = opened(await startFakeUpstream({ flags: {}, segments: {} }));
  const flags = {
    dated: flagData('dated', 1, { ...seen, debugEventsUntilDate: 'INFINITE' }),
    plain: flagData('plain', 1, seen),
  };
  const segments = { weighed: segmentData('weighed', 1, { rules: [{ id: 'r', clauses: [], weight: 'INFINITE' }] }) };
  const data = `{"flags":${withInfinity(flags)},"segments":${withInfinity(segments)}}`;
  upstream.greetingFor = () => `event: put\ndata: {"path":"/","data":${data}}\n\n`;
  const relay = opened(
    await startTestRelay({ LD_ENV_prod: sdkKey, LD_CLIENT_SIDE_ID_prod: 'client-id', STREAM_URI: upstream.uri }),
  );
  await until('the put has been read', async () => (await relay.initialized()).length === 0);

  const evalx = await fetch(`${relay.uri}/sdk/evalx/client-id/contexts/${base64}`);
  expect(await evalx.json()).toEqual({ plain: expect.objectContaining({ value: true }) });
  const ofrep = await fetch(`${relay.uri}/ofrep/v1/evaluate/flags`, {
    method: 'POST',
    headers: { authorization: sdkKey, 'content-type': 'application/json' },
    body: '{"context":{"targetingKey":"alice"}}',
  });
  expect([ofrep.status, await ofrep.json()]).toEqual([
    200,
    expect.objectContaining({ flags: [expect.objectContaining({ key: 'plain' })] }),
  ]);
  const { environments } = await (await fetch(`${relay.uri}/status`)).json();
  expect(environments.prod.unreadable).toEqual([
    { kind: 'segments', key: 'weighed', reason: 'rules[0].weight must be a number, not Infinity' },
    { kind: 'features', key: 'dated', reason: 'debugEventsUntilDate must be a number, not Infinity' },
  ]);
});
