/** Which flag is an environment's heartbeat flag, and of which project it is, whatever source the environment comes from. */
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ConfigFile, Variables } from '../../relay-task/config/config.ts';
import { packArchive } from '../support/archive.ts';
import { eventually } from '../support/eventually.ts';
import { environmentRep, startFakeAutoConfig } from '../support/fake-auto-config.ts';
import { type FakeRestApi, startFakeRestApi } from '../support/fake-rest-api.ts';
import { type FakeUpstream, startFakeUpstream } from '../support/fake-upstream.ts';
import { closeAfterEach } from '../support/opened.ts';
import { hastyTimings } from '../support/rotating-sources.ts';
import { startSsmServer } from '../support/ssm-server.ts';
import { startTestRelay, type TestRelay } from '../support/start-relay.ts';

const sdkKey = 'sdk-00000000-0000-0000-0000-00000000000a';
const token = 'api-00000000-0000-0000-0000-00000000feed';
const { opened, behind } = closeAfterEach();

const heartbeat = (key: string, sentAt?: number, version = 1) => ({
  ...{ key, version, on: false, offVariation: 0, variations: [sentAt === undefined ? {} : { sentAt }], salt: '' },
});
const flags = Object.fromEntries(['heartbeat', 'other', 'everyones'].map((key) => [key, heartbeat(key)]));

async function start(variables: Variables, file?: ConfigFile): Promise<TestRelay> {
  const timings = { ...hastyTimings, heartbeats: { pulse: { intervalMs: 50, lookMs: 5 }, overdue: { lookMs: 20 } } };
  return opened(await startTestRelay(variables, { timings, ...(file && { file }) }));
}

async function startLaunchDarkly(): Promise<{ launchDarkly: FakeUpstream; api: FakeRestApi }> {
  const launchDarkly = opened(await startFakeUpstream({ flags: { ...flags } }));
  return { launchDarkly, api: opened(await startFakeRestApi(launchDarkly, token)) };
}

const sendingTo = ({ uri }: FakeUpstream, api: FakeRestApi) => ({
  STREAM_URI: uri,
  HEARTBEAT_API_URI: api.uri,
  HEARTBEAT_API_TOKEN: token,
});
const keysFrom = ({ endpoint }: { readonly endpoint: string }) => ({
  KEYS_FROM_SSM: '/relay/environments',
  SSM_URL: endpoint,
});

/** How many heartbeats have reached the relay. */
async function arrived({ metrics }: TestRelay): Promise<number> {
  const { body } = await metrics.text();
  const line = body.split('\n').find((one) => /^launchdarkly_relay_heartbeat_seconds_count{.*stage="relay"/.test(one));
  return Number(line?.split(' ').at(-1) ?? 0);
}

/** Until the relay sends heartbeats of this flag and of no other, and sees them arrive. */
async function beats(relay: TestRelay, api: FakeRestApi, project: string, flag: string): Promise<void> {
  const url = `/api/v2/flags/${project}/${flag}`;
  const { length } = api.requests;
  await eventually(() => {
    expect(api.requests.length).toBeGreaterThanOrEqual(length + 3);
    expect(api.requests.slice(-3).map((request) => request.url)).toEqual([url, url, url]);
  });
  const before = await arrived(relay);
  await eventually(async () => expect(await arrived(relay)).toBeGreaterThan(before));
}

test('the configuration names them: variables, or a file', async () => {
  const { launchDarkly, api } = await startLaunchDarkly();
  const text = `[Heartbeat]\nflag = everyones\n[Environment "shop"]\nsdkKey = ${sdkKey}\nprojKey = shop\nheartbeatFlag = heartbeat\n`;
  const relay = await start(sendingTo(launchDarkly, api), { path: 'ld-relay.conf', text });
  await beats(relay, api, 'shop', 'heartbeat');
});

test('SSM names them: a flag that is put, changed or deleted there is taken over while the relay runs @heavy', async () => {
  const { launchDarkly, api } = await startLaunchDarkly();
  const ssm = opened(await startSsmServer());
  const put = (name: string, value: string) => ssm.put(`/relay/environments/shop/${name}`, value);
  put('sdk-key', sdkKey);
  put('project-key', 'shop');
  const relay = await start({
    ...keysFrom(ssm),
    ...sendingTo(launchDarkly, api),
    HEARTBEAT_FLAG: 'everyones',
    // The environment's own counts.
    HEARTBEAT_PROJECT: 'elsewhere',
  });
  await beats(relay, api, 'shop', 'everyones');
  put('heartbeat-flag', 'heartbeat');
  await beats(relay, api, 'shop', 'heartbeat');
  put('heartbeat-flag', 'other');
  await beats(relay, api, 'shop', 'other');
  // Not valid: the last good one stays.
  put('heartbeat-flag', 'two words');
  await eventually(() =>
    expect(relay.lines.some(({ fields }) => /heartbeat-flag/.test(String(fields.reason)))).toBe(true),
  );
  await beats(relay, api, 'shop', 'other');
  ssm.delete('/relay/environments/shop/heartbeat-flag');
  await beats(relay, api, 'shop', 'everyones');
});

test('without HEARTBEAT_FLAG only the environment in SSM that names a flag has heartbeats, until it names none @heavy', async () => {
  const { launchDarkly, api } = await startLaunchDarkly();
  const ssm = opened(await startSsmServer());
  ssm.put('/relay/environments/shop/sdk-key', sdkKey);
  ssm.put('/relay/environments/shop/heartbeat-flag', 'heartbeat');
  ssm.put('/relay/environments/shop/project-key', 'shop');
  ssm.put('/relay/environments/bare/sdk-key', 'sdk-00000000-0000-0000-0000-00000000000b');
  const relay = await start({
    ...keysFrom(ssm),
    ...sendingTo(launchDarkly, api),
  });
  await beats(relay, api, 'shop', 'heartbeat');
  const { body } = await relay.metrics.text();
  expect(body).toContain('heartbeats_overdue{env="shop"} 0');
  expect(body).not.toMatch(/heartbeat\w+{env="bare"/);
  expect(relay.lines.filter(({ message }) => message.startsWith('Could not send a heartbeat'))).toEqual([]);
  ssm.delete('/relay/environments/shop/heartbeat-flag');
  await eventually(async () => expect((await relay.metrics.text()).body).not.toContain('heartbeats_overdue{'));
  const { length } = api.requests;
  ssm.put('/relay/environments/shop/heartbeat-flag', 'other');
  await beats(relay, api, 'shop', 'other');
  // None was sent meanwhile, but for one that was on its way.
  expect(api.requests.slice(length + 1).map(({ url }) => url)).not.toContain('/api/v2/flags/shop/heartbeat');
});

test('with auto-configuration LaunchDarkly names the project, and HEARTBEAT_PROJECT counts where it names none @heavy', async () => {
  const id = 'abcdef0123456789abcdef01';
  const autoConfig = opened(await startFakeAutoConfig(environmentRep(id, 1)));
  autoConfig.upstream.data = { flags: { ...flags }, segments: {} };
  const api = opened(await startFakeRestApi(autoConfig.upstream, token));
  const relay = await start({
    AUTO_CONFIG_KEY: 'rel-00000000-0000-0000-0000-00000000abcd',
    STREAM_URI: autoConfig.upstream.uri,
    HEARTBEAT_API_URI: api.uri,
    HEARTBEAT_API_TOKEN: token,
    HEARTBEAT_FLAG: 'heartbeat',
    HEARTBEAT_PROJECT: 'given',
  });
  await beats(relay, api, 'shop', 'heartbeat');
  const { length } = api.requests;
  await autoConfig.patch(environmentRep(id, 2, { projKey: '' }));
  await eventually(() => expect(api.requests.slice(length).at(-1)?.url).toBe('/api/v2/flags/given/heartbeat'));
});

test('flags of an archive are no heartbeats: they may have been changed long before it came @heavy', async () => {
  const id = 'abcdef0123456789abcdef01';
  const directory = mkdtempSync(join(tmpdir(), 'heartbeats-'));
  behind(async () => rmSync(directory, { recursive: true }));
  const path = join(directory, 'flags.tar.gz');
  const write = async (version: number) => {
    const data = { flags: { heartbeat: heartbeat('heartbeat', Date.now(), version) }, segments: {} };
    const bytes = await packArchive({ [id]: { env: environmentRep(id, 1), dataId: `data-${version}`, data } });
    writeFileSync(`${path}.new`, bytes);
    renameSync(`${path}.new`, path);
  };
  await write(1);
  const relay = await start({
    FILE_DATA_SOURCE: path,
    FILE_DATA_SOURCE_MONITORING_INTERVAL: '100ms',
    HEARTBEAT_FLAG: 'heartbeat',
  });
  await write(2);
  await eventually(async () => {
    const answer = await fetch(`${relay.uri}/sdk/latest-all`, { headers: { Authorization: `sdk-${id}` } });
    expect(await answer.json()).toMatchObject({ flags: { heartbeat: { version: 2 } } });
  });
  expect(await arrived(relay)).toBe(0);
});
