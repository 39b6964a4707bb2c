/** Starts busy relays that hold every kind of secret and searches all their output for them. */
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Variables } from '../../relay-task/config/config.ts';
import { packArchive } from '../support/archive.ts';
import { startTable } from '../support/dynalite.ts';
import { eventually } from '../support/eventually.ts';
import { exampleFile } from '../support/example-environment.ts';
import { environmentRep, startFakeAutoConfig } from '../support/fake-auto-config.ts';
import { startFakeProxy } from '../support/fake-proxy.ts';
import { type FakeUpstream, startFakeUpstream } from '../support/fake-upstream.ts';
import { closeAfterEach } from '../support/opened.ts';
import { readStream } from '../support/read-stream.ts';
import { bundleRelay, listeningPort, runRelay } from '../support/relay-process.ts';
import { hastyTimings } from '../support/rotating-sources.ts';
import { startSsmServer } from '../support/ssm-server.ts';
import { expectSilence, startTestRelay, type TestRelay } from '../support/start-relay.ts';

bundleRelay();

/** Distinct keys in LaunchDarkly's format, searched for in full. */
const keyOf = (kind: 'sdk' | 'mob' | 'rel', number: number) =>
  `${kind}-5ec7e7${String(number).padStart(2, '0')}-aaaa-bbbb-cccc-dddddddddd${String(number).padStart(2, '0')}`;
const [sdkKey, newKey, badKey, twinKey, strayKey] = [1, 2, 3, 4, 5].map((number) => keyOf('sdk', number)) as [
  ...[string, string, string, string, string],
];
const [mobileKey, strayMobileKey] = [keyOf('mob', 1), keyOf('mob', 2)] as const;
const relKey = keyOf('rel', 1);
const passwords = {
  proxy: 'pr0xy-passw0rd',
  redis: 'r3dis-passw0rd',
  consul: 'c0nsul-t0ken',
  status: 'st4tus-t0ken',
  cache: 'c4che-encryption-key',
};
const person = { kind: 'user', key: 'person-0815', email: 'person@secret.example' };
const secrets = [
  ...[sdkKey, newKey, badKey, twinKey, strayKey, mobileKey, strayMobileKey, relKey],
  ...Object.values(passwords),
  ...[person.key, person.email],
];
const environmentId = 'eeeeeeeeeeeeeeeeeeeeeeee';
const flag = (version: number, more = {}) => ({
  ...{ key: 'a', version, on: true, variations: [1], fallthrough: { variation: 0 }, salt: '' },
  ...{ clientSideAvailability: { usingEnvironmentId: true, usingMobileKey: true }, ...more },
});
const base64 = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');

const { opened, behind } = closeAfterEach();

/** Responses are searched as they arrive, log lines and metrics when the relay closes. */
async function start(variables: Variables): Promise<TestRelay> {
  const all = { LOG_LEVEL: 'debug', ...variables };
  return opened(await startTestRelay(all, { timings: hastyTimings, secrets }));
}

async function ask(uri: string, path: string, options: RequestInit = {}): Promise<number> {
  const response = await fetch(`${uri}${path}`, options);
  const { status, headers } = response;
  expectSilence(secrets, await response.text(), JSON.stringify([...headers]));
  return status;
}

const withKey = (key: string) => ({ headers: { Authorization: key } });
const served = (relay: TestRelay, key = sdkKey) =>
  eventually(async () => expect(await ask(relay.uri, '/sdk/flags/a', withKey(key))).toBe(200));

/** Valid and invalid requests of every kind. */
async function beBusy({ uri, port }: { uri: string; port: number }, keys = { sdkKey, mobileKey }): Promise<void> {
  const encoded = base64(person);
  const events = JSON.stringify([{ kind: 'identify', creationDate: 1, context: person }]);
  const json = { 'Content-Type': 'application/json' };
  for (const [path, key] of [
    ['/all', keys.sdkKey],
    [`/meval/${encoded}`, keys.mobileKey],
    [`/eval/${environmentId}/${encoded}`, ''],
  ] as const) {
    const stream = await readStream({ port, path, headers: key === '' ? {} : { Authorization: key } });
    if (stream.status === 200) await stream.next();
    stream.close();
  }
  await ask(uri, `/msdk/evalx/contexts/${encoded}`, withKey(keys.mobileKey));
  await ask(uri, `/sdk/evalx/${environmentId}/contexts/${encoded}`);
  await ask(uri, `/sdk/evalx/${environmentId}/contexts/${encoded}?h=${keys.mobileKey}`);
  await ask(uri, `/sdk/poll/eval/${encoded}?auth=${keys.mobileKey}`);
  await ask(uri, '/bulk', { method: 'POST', body: events, headers: { Authorization: keys.sdkKey, ...json } });
  await ask(uri, `/events/bulk/${environmentId}`, { method: 'POST', body: events, headers: json });
  await ask(uri, '/ofrep/v1/evaluate/flags', {
    method: 'POST',
    body: JSON.stringify({ context: { targetingKey: person.key, email: person.email } }),
    headers: { Authorization: `Bearer ${keys.sdkKey}`, ...json },
  });
  // Mistakes: unknown keys, keys in the wrong place, keys of the wrong kind, invalid contexts.
  for (const key of [strayKey, strayMobileKey, `${keys.sdkKey} ${keys.mobileKey}`, `api_key ${strayKey}`]) {
    await ask(uri, '/sdk/latest-all', withKey(key));
    await ask(uri, `/msdk/evalx/contexts/${encoded}`, withKey(key));
  }
  for (const path of [
    ...[`/${keys.sdkKey}`, `/sdk/evalx/${keys.sdkKey}/contexts/${encoded}`, `/sdk/goals/${strayKey}`],
    ...[`/sdk/flags/${person.key}?filter=${strayKey}`, `/all/${encoded}?auth=${keys.sdkKey}`, `/ping/${strayKey}`],
  ]) {
    const response = await fetch(`${uri}${path}`, withKey(keys.sdkKey));
    await response.body?.cancel();
  }
  const broken = [`{"kind":"user","key":"${person.key}","email":"${person.email}"`, `{"key":{"x":"${person.email}"}}`];
  for (const body of broken) {
    await ask(uri, '/sdk/evalx/context', {
      ...{ method: 'REPORT', body },
      headers: { Authorization: keys.sdkKey, ...json },
    });
    await ask(uri, '/bulk', { method: 'POST', body, headers: { Authorization: keys.sdkKey, ...json } });
    await ask(uri, `/msdk/evalx/contexts/${Buffer.from(body).toString('base64url')}`, withKey(keys.mobileKey));
  }
}

/** Every kind of bad response from LaunchDarkly, with a secret wherever one fits. */
async function misbehave(upstream: FakeUpstream, relay: TestRelay): Promise<void> {
  const to = { to: ({ url }: { url: string }) => url.startsWith('/all') };
  await upstream.patch('flags', flag(2, { rules: 'none' }), to);
  await upstream.event('patch', { path: '/flags/broken', data: person }, to);
  await upstream.event('nonsense', sdkKey, to);
  const before = upstream.connections;
  await upstream.event('put', `{"data":{"flags":"${sdkKey}`, to);
  await upstream.connected(before + 1);
  upstream.data = { flags: { a: flag(3) }, segments: {} };
  for (const answer of [
    { status: 401, body: sdkKey },
    { status: 500, body: person.email },
    { status: 302, headers: { Location: `http://relay:${passwords.proxy}@[not an address/${sdkKey}` } },
  ]) {
    upstream.answerNext(answer);
    const asked = upstream.requests.length;
    upstream.cut(to.to);
    await upstream.requested(asked + 2);
  }
  await eventually(() => expect(upstream.openStreams).toBeGreaterThan(0));
  await served(relay);
}

async function statusIsSilent({ uri }: { uri: string }, token?: string): Promise<void> {
  const authorization = token === undefined ? {} : withKey(token);
  expect(await ask(uri, '/status', authorization)).toBe(200);
  for (const path of ['/readyz', '/livez', '/', '/status/shop', `/status/${environmentId}`]) {
    await ask(uri, path, authorization);
  }
}

test('a relay with a proxy, three stores that are down and a restricted status leaks no secret @heavy', async () => {
  const upstream = opened(await startFakeUpstream({ flags: { a: flag(1) } }));
  const proxy = opened(await startFakeProxy(Number(new URL(upstream.uri).port)));
  const relay = await start({
    ...{ LD_ENV_shop: sdkKey, LD_MOBILE_KEY_shop: mobileKey, LD_CLIENT_SIDE_ID_shop: environmentId },
    ...{ LD_PREFIX_shop: 'shop', STREAM_URI: 'http://launchdarkly.example', PROXY_URL: proxy.uri },
    ...{ PROXY_AUTH_USER: 'relay', PROXY_AUTH_PASSWORD: passwords.proxy },
    ...{ USE_EVENTS: 'true', EVENTS_HOST: 'http://events.example', EVENTS_FLUSH_INTERVAL: '50ms' },
    ...{ USE_REDIS: 'true', REDIS_URL: `redis://relay:${passwords.redis}@127.0.0.1:9` },
    ...{ USE_CONSUL: 'true', CONSUL_HOST: '127.0.0.1:9', CONSUL_TOKEN: passwords.consul },
    ...{ USE_DYNAMODB: 'true', DYNAMODB_TABLE: 'flags', DYNAMODB_URL: 'http://127.0.0.1:9' },
    ...{ STATUS_ACCESS: 'restricted', STATUS_TOKEN: passwords.status },
  });
  await served(relay);
  await beBusy(relay);
  await misbehave(upstream, relay);
  proxy.refuse = 407;
  upstream.cut();
  await eventually(() => expect(JSON.stringify(relay.lines)).toContain('407'));
  await statusIsSilent(relay, passwords.status);
  await statusIsSilent(relay, sdkKey);
  await ask(relay.uri, '/status', withKey(strayKey));
});

test('a secret key that was pasted as client-side ID leaks nowhere @heavy', async () => {
  const upstream = opened(await startFakeUpstream({ flags: { a: flag(1) } }));
  const token = `api-${strayKey.slice(4)}`;
  const relay = opened(
    await startTestRelay(
      {
        ...{ LD_ENV_shop: sdkKey, LD_MOBILE_KEY_shop: mobileKey, LD_CLIENT_SIDE_ID_shop: token },
        ...{ STREAM_URI: upstream.uri, LOG_LEVEL: 'debug' },
      },
      { timings: hastyTimings, secrets: [...secrets, token] },
    ),
  );
  await served(relay);
  await beBusy(relay);
  for (const path of ['/all', '/sdk/stream']) {
    const stream = await readStream({ port: relay.port, path, headers: { Authorization: sdkKey } });
    stream.close();
    expect([path, stream.status]).toEqual([path, 200]);
    expectSilence([token], JSON.stringify(stream.headers));
  }
  for (const path of ['/sdk/flags', '/sdk/poll', '/status', '/status/shop', `/status/${token}`]) {
    const response = await fetch(`${relay.uri}${path}`, withKey(sdkKey));
    expect([path, response.status]).toEqual([path, 200]);
    expectSilence([token], await response.text(), JSON.stringify([...response.headers]));
  }
});

test('a relay with auto-configuration leaks no key during a rotation, with a bad key, a duplicate, or unreadable records @heavy', async () => {
  const record = (version: number, value: string, more = {}) =>
    environmentRep(environmentId, version, { sdkKey: { value, ...more }, mobKey: mobileKey });
  const fake = opened(await startFakeAutoConfig(record(1, sdkKey)));
  const { upstream } = fake;
  upstream.data = { flags: { a: flag(1) }, segments: {} };
  const table = opened(await startTable());
  const relay = await start({
    ...{ AUTO_CONFIG_KEY: relKey, AUTO_CONFIG_CACHE_ENCRYPTION_KEY: passwords.cache, STREAM_URI: upstream.uri },
    ...{ ENV_DATASTORE_PREFIX: '$CID', USE_DYNAMODB: 'true', DYNAMODB_TABLE: table.tableName },
    ...{ DYNAMODB_URL: table.endpoint },
  });
  await served(relay);
  await beBusy(relay);
  await misbehave(upstream, relay);
  const inAnHour = Date.now() + 3_600_000;
  upstream.answer = ({ headers }) => (headers.authorization === badKey ? { status: 401 } : 'stream');
  await fake.patch(record(2, newKey, { expiring: { value: sdkKey, timestamp: inAnHour } }));
  await served(relay, newKey);
  await fake.patch(record(3, badKey, { expiring: { value: newKey, timestamp: inAnHour } }));
  await eventually(() => expect(JSON.stringify(relay.lines)).toContain('answered 401'));
  await eventually(async () => expect(await ask(relay.uri, '/sdk/flags/a', withKey(badKey))).toBe(503));
  await statusIsSilent(relay);
  // A second environment with a key of the first, and records with keys in the wrong fields.
  await fake.patch(environmentRep('ffffffffffffffffffffffff', 1, { sdkKey: { value: newKey } }));
  await fake.patch({ ...record(4, twinKey), version: twinKey as unknown as number });
  await fake.patch({ ...record(5, twinKey), sdkKeys: [{ value: strayKey }] });
  await fake.patch({ ...record(6, twinKey), sdkKey: twinKey as never });
  await fake.patchFilter('f1', { projKey: twinKey, key: 7 });
  const asked = upstream.requests.length;
  await upstream.event('patch', `{"path":"/environments/x","data":"${twinKey}`, {
    to: ({ url }) => url.startsWith('/relay_auto_config'),
  });
  await upstream.requested(asked + 1);
  await eventually(() => expect(relay.lines.filter(({ level }) => level === 'error').length).toBeGreaterThan(1));
  await statusIsSilent(relay);
});

test('a relay with keys from SSM leaks no key that is unreadable, malformed, duplicate or revoked @heavy', async () => {
  const upstream = opened(await startFakeUpstream({ flags: { a: flag(1) } }));
  const ssm = opened(await startSsmServer());
  const put = (name: string, value: string) => ssm.put(`/relay/${name}`, value);
  put('shop/sdk-key', sdkKey);
  put('shop/mobile-key', mobileKey);
  put('shop/client-side-id', environmentId);
  const relay = await start({ KEYS_FROM_SSM: '/relay', SSM_URL: ssm.endpoint, STREAM_URI: upstream.uri });
  await served(relay);
  await beBusy(relay);
  const said = (words: string) =>
    eventually(() => expect(relay.lines.map((line) => JSON.stringify(line)).join('\n')).toContain(words));
  put('twin/sdk-key', sdkKey);
  put('twin/client-side-id', twinKey);
  put('odd/sdk-key', `${twinKey} ${strayKey}`);
  put('odd/secure-mode', strayKey);
  put(`odd/${strayKey.slice(4)}`, 'x');
  await said('odd/sdk-key is invalid');
  ssm.forbid('/relay/shop/sdk-key');
  put('shop/sdk-key', newKey);
  await said('shop/sdk-key cannot be read');
  await statusIsSilent(relay);
  ssm.heal();
  put('shop/previous-sdk-key', sdkKey);
  put('shop/previous-sdk-key-until', strayKey);
  await said('previous-sdk-key-until is invalid');
  await served(relay, newKey);
  ssm.deny();
  await said('is not authorized');
  await statusIsSilent(relay);
  ssm.heal();
  put('shop/revoked', '*');
  await eventually(async () => expect(await ask(relay.uri, '/sdk/flags/a', withKey(newKey))).toBe(401));
  await statusIsSilent(relay);
});

test('a relay with an archive leaks no key during a rotation, or from an unreadable environment @heavy', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'secrets-'));
  behind(() => rmSync(directory, { recursive: true }));
  const path = join(directory, 'flags.tar.gz');
  const write = async (env: unknown, data: unknown = { flags: { a: flag(1), b: { key: 'b', rules: 'none' } } }) => {
    writeFileSync(`${path}.new`, await packArchive({ [environmentId]: { env, dataId: JSON.stringify(data), data } }));
    renameSync(`${path}.new`, path);
  };
  const record = (version: number, value: string) =>
    environmentRep(environmentId, version, { sdkKey: { value }, mobKey: mobileKey });
  await write(record(1, sdkKey));
  const relay = await start({ FILE_DATA_SOURCE: path, FILE_DATA_SOURCE_MONITORING_INTERVAL: '100ms' });
  await served(relay);
  await beBusy(relay);
  await write(record(2, newKey));
  await served(relay, newKey);
  await write({ ...record(3, twinKey), sdkKeys: [{ value: strayKey }] });
  await eventually(() => expect(relay.lines.some(({ level }) => level === 'error')).toBe(true));
  await write(record(4, newKey), `{"flags":"${strayKey}`);
  await eventually(() => expect(relay.lines.filter(({ level }) => level === 'error').length).toBeGreaterThan(1));
  await statusIsSilent(relay);
});

test('the relay process leaks no secret at debug level, in --check, or in config errors @heavy', async () => {
  const settings = {
    ...{ LISTEN_HOST: '127.0.0.1', PORT: '0', LOG_LEVEL: 'debug', DRAIN_WINDOW: '0', METRICS_EMF: 'true' },
    ...{ LD_ENV_shop: sdkKey, LD_MOBILE_KEY_shop: mobileKey, LD_CLIENT_SIDE_ID_shop: environmentId },
    ...{ LD_FLAGS_FILE_shop: exampleFile, STATUS_TOKEN: passwords.status },
    ...{ PROXY_URL: `http://relay:${passwords.proxy}@127.0.0.1:9` },
    ...{ USE_REDIS: 'true', REDIS_URL: `redis://relay:${passwords.redis}@127.0.0.1:9`, LD_PREFIX_shop: 'shop' },
  };
  const relay = runRelay(settings);
  const wrong = runRelay({
    ...settings,
    ...{ PORT: sdkKey, INIT_TIMEOUT: mobileKey, AUTO_CONFIG_KEY: `${relKey} ${relKey}`, LOG_LEVEL: strayKey },
    ...{
      REDIS_URL: `nonsense://relay:${passwords.redis}@x`,
      STATUS_TOKEN: `${passwords.status} x`,
      LD_ENV_twin: sdkKey,
    },
    ...{ STREAM_URI: `ftp://relay:${passwords.proxy}@x`, PROXY_URL: `socks://relay:${passwords.proxy}@x` },
  });
  const check = runRelay({ ...settings, CONSUL_TOKEN: passwords.consul, USE_CONSUL: 'true' }, ['--check']);
  const usage = runRelay({}, [`--config=${sdkKey}`, `--${strayKey}`]);
  expect([await wrong.exited, await check.exited, await usage.exited]).toEqual([1, 0, 1]);
  const port = await eventually(() => listeningPort(relay.output().stdout));
  await beBusy({ uri: `http://127.0.0.1:${port}`, port });
  await statusIsSilent({ uri: `http://127.0.0.1:${port}` });
  relay.child.kill('SIGTERM');
  await relay.exited;
  // The usage message may repeat a file name.
  expectSilence(secrets, ...[relay, wrong, check].flatMap(({ output }) => Object.values(output())));
  expectSilence([strayKey], JSON.stringify(usage.output()));
  expect(check.output().stdout).toContain('sdk-********');
});
