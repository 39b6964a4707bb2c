/**
 * What anyone on the network can do to a relay, by the numbers of the table of faults that these inputs were found for: each
 * test sends the input to a relay process of 512 MiB and asserts the right answer. `npm run test:faults -- -t '^B[0-9]'` lists
 * and runs them. Costs are measured in processor time, which does not depend on what else the
 * machine does. `npm test` leaves out B4, B5, B12, B15 and B16, whose kinds have suites beside the code.
 */
import { execFileSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, existsSync, openSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { createAuthority } from '../support/authority.ts';
import { eventually, until } from '../support/eventually.ts';
import type { FakeUpstream } from '../support/fake-upstream.ts';
import { freePort } from '../support/free-port.ts';
import { flagData } from '../support/items.ts';
import { closeAfterEach } from '../support/opened.ts';
import { readStream } from '../support/read-stream.ts';
import { bundled, bundleRelay, listeningPort, root, runCommand, runRelay } from '../support/relay-process.ts';
import { startUpstream } from './changes.ts';
import { type OneRelay, post, sendRaw, startOneRelay, statusOf } from './one-relay.ts';
import { CHANGING, changingFlag, environmentId, FULL, relayVariables, sdkKey } from './site.ts';

bundleRelay();
const { behind, opened } = closeAfterEach();

/** A request that LaunchDarkly's own relay answers in some ms. */
const MOST_CPU_MS = 5_000;
const shown = { clientSide: true, clientSideAvailability: { usingMobileKey: true, usingEnvironmentId: true } };
/** These take much processor time, so that `npm test` leaves them out. */
const fully = (title: string, body: () => Promise<void>) => {
  if (FULL) test(title, body);
};
const base64 = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
const user = base64({ kind: 'user', key: 'somebody' });

interface Running {
  readonly upstream: FakeUpstream;
  readonly relay: OneRelay;
}

async function start(flags: Record<string, unknown>, variables: Record<string, string>): Promise<Running> {
  const upstream = await startUpstream();
  upstream.data = { ...upstream.data, flags: { ...upstream.data.flags, ...flags } };
  const relay = await startOneRelay({ ...relayVariables(upstream.uri), ...variables });
  await eventually(async () => expect((await fetch(`http://127.0.0.1:${relay.port}/readyz`)).status).toBe(200));
  return { upstream, relay };
}

/** A relay for this test alone. */
async function run(flags: Record<string, unknown> = {}, variables: Record<string, string> = {}): Promise<Running> {
  const running = await start(flags, variables);
  opened(running.upstream);
  opened(running.relay);
  return running;
}

const matches = (key: string, pattern: string) => {
  const clauses = [{ contextKind: 'user', attribute: 'email', op: 'matches', values: [pattern], negate: false }];
  return { ...flagData(key, 1, { rules: [{ id: 'r', variation: 1, clauses }] }), ...shown };
};
const patterns = [matches('nested', '(a+)+$'), matches('ordinary', '[a-z]+@corp\\.com$')];

let shared: Running | undefined;
/** One relay for tests that leave nothing behind, and another one whenever it has ended. */
async function common(): Promise<Running> {
  if (shared !== undefined && shared.relay.child.exitCode === null && shared.relay.child.signalCode === null)
    return shared;
  await shared?.upstream.close();
  shared = await start(Object.fromEntries(patterns.map((flag) => [flag.key, flag])), {});
  return shared;
}
afterAll(async () => {
  await shared?.relay.close();
  await shared?.upstream.close();
});

let version = 1;
/** Opens a stream of a server SDK; what is returned changes the flag and waits until the stream has the change. */
async function openWitness({ upstream, relay }: Running) {
  const stream = await readStream({ port: relay.port, path: '/all', headers: { Authorization: sdkKey } });
  behind(() => stream.close());
  await stream.next();
  return async () => {
    const changed = ++version;
    await upstream.patch('flags', changingFlag({ version: changed, at: 0 }));
    await stream.until(({ events }) =>
      events.some(({ data }) => data.includes(`"variations":[{"version":${changed},`)),
    );
    return changed;
  };
}

const attribute = (bytes: number) => gzipSync(`{"kind":"user","key":"k","a":[${'{},'.repeat(bytes / 3)}{}]}`);

test('B1: eight streams whose contexts unpack to 5 MiB get 503 with Retry-After, and others are not affected @heavy', async () => {
  const running = await common();
  const { relay } = running;
  const changed = await openWitness(running);
  const body = attribute(5 * 1024 * 1024 - 200);
  const streams = Array.from({ length: 8 }, () =>
    sendRaw(relay.port, post(`/eval/${environmentId}`, body, ['Content-Encoding: gzip'])),
  );
  for (const stream of streams) {
    behind(() => stream.close());
    const status = await stream.status();
    expect([200, 413, 503]).toContain(status);
    if (status === 503) expect(stream.text()).toMatch(/\r\nRetry-After: \d+\r\n/i);
  }
  await changed();
  await relay.expectWell();
});

test.each(
  FULL
    ? [
        ['66 MB of empty objects', Buffer.from(`[${'{},'.repeat(22_000_000)}{}]`), 1],
        ['50 times 60 MB of one string', Buffer.from(`[{"kind":"custom","key":"${'x'.repeat(60_000_000)}"}]`), 50],
      ]
    : [['66 MB of empty objects', Buffer.from(`[${'{},'.repeat(22_000_000)}{}]`), 1]],
)('B2: events that unpack to %s do not end the relay @heavy', async (_what, events, times) => {
  const running = await common();
  const { relay } = running;
  const changed = await openWitness(running);
  const request = post(`/events/bulk/${environmentId}`, gzipSync(events), ['Content-Encoding: gzip']);
  const answers = Array.from({ length: times }, () => statusOf(relay.port, request));
  await changed();
  for (const status of await Promise.all(answers)) expect([202, 400, 413, 503]).toContain(status);
  await relay.expectWell();
});

test('B3: patterns take linear time on hostile attributes', async () => {
  const { relay } = await common();
  const before = relay.cpuMs();
  for (const email of [`${'a'.repeat(31)}!`, 'a'.repeat(100_000)]) {
    const answer = await fetch(`http://127.0.0.1:${relay.port}/sdk/evalx/${environmentId}/context`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ kind: 'user', key: 'k', email }),
    });
    expect(await answer.json()).toMatchObject({ nested: { value: email.endsWith('!') }, ordinary: { value: true } });
  }
  expect(relay.cpuMs() - before).toBeLessThan(MOST_CPU_MS);
});

const needs = (key: string, ...keys: readonly string[]) => ({
  ...flagData(key, 1, { prerequisites: keys.map((each) => ({ key: each, variation: 0 })) }),
  ...shown,
});

fully('B4: each of 5,000 prerequisites in a chain, and of 28 in a diamond, is evaluated once', async () => {
  const chain = Array.from({ length: 5_000 }, (_, at) => needs(`c${at}`, ...(at < 4_999 ? [`c${at + 1}`] : [])));
  const diamond = Array.from({ length: 28 }, (_, at) =>
    needs(`d${at}`, ...(at < 27 ? [`d${at + 1}`, `d${at + 1}`] : [])),
  );
  const { relay } = await run(Object.fromEntries([...chain, ...diamond].map((flag) => [flag.key, flag])));
  const before = relay.cpuMs();
  const path = `/sdk/evalx/${environmentId}/contexts/${user}`;
  const answer = await fetch(`http://127.0.0.1:${relay.port}${path}`);
  const answers = (await answer.json()) as Record<string, { value: unknown }>;
  expect(relay.cpuMs() - before).toBeLessThan(MOST_CPU_MS);
  expect(answers).toMatchObject({ c4999: { value: true }, d0: { value: true }, [CHANGING]: { value: { version: 1 } } });
  await relay.expectWell();
});

fully('B5: browsers that open streams and never read do not keep a server SDK from its first payload', async () => {
  const large = Object.fromEntries(
    Array.from({ length: 20 }, (_, at) => [
      `l${at}`,
      { ...flagData(`l${at}`, 1), variations: ['x'.repeat(200_000)], ...shown },
    ]),
  );
  const { relay } = await run(large);
  const sockets: Socket[] = Array.from({ length: FULL ? 300 : 30 }, (_, index) => {
    const socket = connect(relay.port, '127.0.0.1').pause();
    socket.on('error', () => {});
    socket.write(
      `GET /eval/${environmentId}/${base64({ kind: 'user', key: `k${index}` })} HTTP/1.1\r\nHost: a\r\n\r\n`,
    );
    return socket;
  });
  behind(() => sockets.forEach((socket) => void socket.destroy()));
  await Promise.all(
    sockets.map((socket) => new Promise((resolve) => socket.once('readable', resolve).once('close', resolve))),
  );
  const began = performance.now();
  const stream = await readStream({ port: relay.port, path: '/all', headers: { Authorization: sdkKey } });
  behind(() => stream.close());
  expect(stream.status).toBe(200);
  expect((await stream.next()).event).toBe('put');
  // The places of those that do not read are free after 5 s at the latest.
  if (FULL) expect(performance.now() - began).toBeLessThan(3_000);
  await relay.expectWell();
});

test('B6: a value that nests 3,900 levels deep affects its flag alone, not the process', async () => {
  const running = await common();
  const { relay, upstream } = running;
  const stream = await readStream({ port: relay.port, path: `/eval/${environmentId}/${user}` });
  behind(() => stream.close());
  await stream.next();
  const changed = await openWitness(running);
  for (const [index, depth] of [2_400, 3_000, 3_900].entries()) {
    const nested = `${'['.repeat(depth)}${']'.repeat(depth)}`;
    const text = JSON.stringify({ ...flagData('deep', index + 1), ...shown, variations: ['NESTED', false] });
    await upstream.event('patch', `{"path":"/flags/deep","data":${text.replace('"NESTED"', nested)}}`);
    await changed();
  }
  const last = await changed();
  await stream.until(({ events }) => events.some(({ data }) => data.includes(`"value":{"version":${last},`)));
  await relay.expectWell();
});

/** Waits until the relay's log has a line that matches. */
const logged = (relay: OneRelay, pattern: RegExp) =>
  eventually(() => expect(relay.output().stdout + relay.output().stderr).toMatch(pattern));

test('B7: a certificate that does not match its key is refused at start, by its name @heavy', async () => {
  const certificate = opened(await createAuthority('relay.example'));
  const other = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
  const key = join(certificate.file, '../other-key.pem');
  writeFileSync(key, other.export({ type: 'pkcs8', format: 'pem' }));
  const tls = { TLS_ENABLED: 'true', TLS_CERT: certificate.file, TLS_KEY: key };
  const relay = runRelay({ ...relayVariables('http://127.0.0.1:1'), ...tls });
  behind(() => relay.child.kill('SIGKILL'));
  const listens = eventually(() => `listens on ${listeningPort(relay.output().stdout)}`);
  expect(await Promise.race([relay.exited, listens])).toBe(1);
  listens.catch(() => {});
  expect(relay.output().stderr).toMatch(/key/i);
});

test.each(['a full disk', 'a closed pipe'])('B8: with %s as its stdout a relay goes on serving', async (where) => {
  const port = await freePort();
  const upstream = opened(await startUpstream());
  const full = openSync('/dev/full', 'w');
  behind(() => closeSync(full));
  const variables = { ...relayVariables(upstream.uri), PORT: String(port) };
  const relay = runRelay(variables, [], where === 'a full disk' ? { stdout: full } : {});
  behind(() => relay.child.kill('SIGKILL') && relay.exited);
  relay.child.stdout?.destroy();
  const ended = relay.exited.then((code) => `ended with ${code}`);
  const serves = eventually(async () => {
    const answer = await fetch(`http://127.0.0.1:${port}/sdk/latest-all`, { headers: { Authorization: sdkKey } });
    expect(answer.status).toBe(200);
    return 'serves';
  });
  expect(await Promise.race([serves, ended])).toBe('serves');
  // A change that is logged, and one more answer afterwards.
  upstream.cut();
  await upstream.connected(3);
  expect(await Promise.race([fetch(`http://127.0.0.1:${port}/livez`).then(({ status }) => status), ended])).toBe(200);
});

test.each([
  ['B9: two Host headers', 400, 'GET /livez HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n'],
  ['B9: a request line without version', 400, 'GET /livez\r\n\r\n'],
  [
    'B11: more than 2,000 header fields before the credential',
    431,
    `GET /sdk/latest-all HTTP/1.1\r\nHost: a\r\n${'X: y\r\n'.repeat(2_001)}Authorization: ${sdkKey}\r\n\r\n`,
  ],
  [
    'B21: chunks whose lines end in a bare line feed',
    400,
    `POST /eval/${environmentId} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n19\n{"kind":"user","key":"k"}\n0\n\n`,
  ],
])('%s: %i', async (_what, status, bytes) => {
  const { relay } = await common();
  expect(await statusOf(relay.port, bytes)).toBe(status);
});

test('B10: a request and a stream that are pipelined on one connection are answered in this order', async () => {
  const { relay } = await common();
  const stream = `GET /all HTTP/1.1\r\nHost: a\r\nAuthorization: ${sdkKey}\r\n\r\n`;
  const answer = sendRaw(relay.port, `GET /status HTTP/1.1\r\nHost: a\r\n\r\n${stream}`);
  behind(() => answer.close());
  await eventually(() => expect(answer.text()).toContain('event: put'));
  expect(answer.statuses()).toEqual([200, 200]);
  expect(answer.text().indexOf('"environments"')).toBeLessThan(answer.text().indexOf('text/event-stream'));
});

fully(
  'B12: connections that cannot be accepted for want of file descriptors are logged, and counted in a metric',
  async () => {
    const metricsPort = await freePort();
    const { relay } = await run({}, { USE_PROMETHEUS: 'true', PROMETHEUS_PORT: String(metricsPort) });
    const limit = (count: string) => execFileSync('prlimit', ['--pid', String(relay.pid), `--nofile=${count}:`]);
    limit(String(readdirSync(`/proc/${relay.pid}/fd`).length));
    const waiting = Array.from({ length: 20 }, () => sendRaw(relay.port, 'GET /livez HTTP/1.1\r\nHost: a\r\n\r\n'));
    behind(() => waiting.forEach((each) => void each.close()));
    await logged(relay, /EMFILE|file descriptor/i);
    limit('1000');
    await relay.expectWell();
    const metrics = await (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text();
    expect(metrics).toMatch(/^\w*(accept|connection|refused|dropped|descriptor)\w*(\{.*\})? [1-9]/im);
  },
);

test('B13: an access token as client-side ID is shown neither in /status nor in the log', async () => {
  const token = 'api-01234567-89ab-cdef-0123-456789abcdef';
  const upstream = opened(await startUpstream());
  const relay = opened(await startOneRelay({ ...relayVariables(upstream.uri), LD_CLIENT_SIDE_ID_main: token }));
  const status = await (await fetch(`http://127.0.0.1:${relay.port}/status`)).text();
  expect(status).toContain('environments');
  expect(`${status}${JSON.stringify(relay.output())}`).not.toContain(token.slice(0, -4));
});

test('B14: the log says why a store fails', async () => {
  const { relay } = await run(
    {},
    {
      ...{ AWS_ACCESS_KEY_ID: 'local', AWS_SECRET_ACCESS_KEY: 'local', AWS_REGION: 'us-east-1' },
      ...{ USE_DYNAMODB: 'true', DYNAMODB_TABLE: 'flags', DYNAMODB_URL: 'http://127.0.0.1:1' },
      ...{
        USE_REDIS: 'true',
        REDIS_HOST: '127.0.0.1',
        REDIS_PORT: '1',
        USE_CONSUL: 'true',
        CONSUL_HOST: '127.0.0.1:1',
      },
    },
  );
  for (const store of ['redis', 'consul', 'dynamodb'])
    await logged(relay, new RegExp(`"database":"${store}".*ECONNREFUSED`));
  expect(relay.output().stdout).not.toMatch(/reserved/i);
});

fully('B15: npm run relay ends with npm', async () => {
  const upstream = opened(await startUpstream());
  const { PATH = '', HOME = '/' } = process.env;
  const npm = runCommand(['npm', 'run', 'relay'], { PATH, HOME, ...relayVariables(upstream.uri), DRAIN_WINDOW: '0s' });
  const port = await eventually(() => listeningPort(npm.output().stdout));
  const pid = listenerOn(port);
  behind(() => {
    if (existsSync(`/proc/${pid}`)) process.kill(pid, 'SIGKILL');
  });
  npm.child.kill('SIGTERM');
  // Not `exited`: a relay that lives on keeps npm's stdout open.
  await once(npm.child, 'exit');
  await eventually(() => expect(existsSync(`/proc/${pid}`)).toBe(false), 15_000);
});

fully("B16: the image's health check passes for a relay with TLS", async () => {
  const certificate = opened(await createAuthority('localhost'));
  const key = join(certificate.file, '../key.pem');
  writeFileSync(key, certificate.key);
  const port = await freePort();
  const upstream = opened(await startUpstream());
  const tls = { TLS_ENABLED: 'true', TLS_CERT: certificate.file, TLS_KEY: key, PORT: String(port) };
  const variables = { ...relayVariables(upstream.uri), ...tls };
  opened(await startOneRelay(variables));
  const dockerfile = readFileSync(join(root, 'relay-task/Dockerfile'), 'utf8');
  const command = JSON.parse(/^HEALTHCHECK .*CMD (\[.*\])$/m.exec(dockerfile)?.[1] ?? '') as string[];
  const PATH = `${bundled()}:${process.env.PATH}`;
  const check = runCommand(command, { ...variables, PATH });
  expect({ code: await check.exited, ...check.output() }).toMatchObject({ code: 0 });
});

test('B18: a request with events that LaunchDarkly does not answer delays no others @heavy', async () => {
  const received = new Set<string>();
  let hung = 0;
  const launchDarkly = createServer((request, response) => {
    if (hung++ === 0) return;
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const body = Buffer.concat(chunks);
      const text = (request.headers['content-encoding'] === 'gzip' ? gunzipSync(body) : body).toString();
      for (const [key] of text.matchAll(/event-\d+/g)) received.add(key);
      response.writeHead(202).end();
    });
  });
  await new Promise<void>((resolve) => launchDarkly.listen(0, '127.0.0.1', resolve));
  behind(() => {
    launchDarkly.closeAllConnections();
    launchDarkly.close();
  });
  const uri = `http://127.0.0.1:${(launchDarkly.address() as AddressInfo).port}`;
  const { relay } = await run({}, { EVENTS_HOST: uri, EVENTS_FLUSH_INTERVAL: '20ms' });
  const send = async (key: string) => {
    const event = { kind: 'custom', key, creationDate: 1, context: { kind: 'user', key: 'k' } };
    expect(await statusOf(relay.port, post('/bulk', JSON.stringify([event]), [`Authorization: ${sdkKey}`]))).toBe(202);
  };
  await send('event-hung');
  await until('a request that hangs', () => hung > 0);
  for (let event = 0; event < 200; event++) await send(`event-${event}`);
  await until('the other events', () => received.size === 200, 15_000);
});

test('B19: on SIGHUP a relay drains as on SIGTERM, or goes on', async () => {
  const { relay } = await run({}, { DRAIN_WINDOW: '100ms' });
  const stream = await readStream({ port: relay.port, path: '/all', headers: { Authorization: sdkKey } });
  behind(() => stream.close());
  relay.child.kill('SIGHUP');
  const alive = fetch(`http://127.0.0.1:${relay.port}/livez`).then(
    ({ status }) => status,
    () => 0,
  );
  if ((await alive) !== 200 || relay.child.exitCode !== null) {
    expect(await stream.ended).toBe('clean');
    expect(await relay.exited).toBe(0);
  }
});

test('B20: lastError in /status gives the reason', async () => {
  const { upstream, relay } = await common();
  const { answer } = upstream;
  behind(() => {
    upstream.answer = answer;
  });
  upstream.answer = { status: 503 };
  upstream.cut();
  await eventually(async () => {
    const status = (await (await fetch(`http://127.0.0.1:${relay.port}/status`)).json()) as {
      environments: { main: { connectionStatus: { lastError?: { message?: string } } } };
    };
    expect(status.environments.main.connectionStatus.lastError?.message).toMatch(/503|\w+ \w+/);
  }, 15_000);
});

test('B22: a bot pins the base images by digest, and the image has the licences of what is bundled', () => {
  expect(readFileSync(join(root, 'renovate.json'), 'utf8')).toContain('docker:pinDigests');
  const notices = readdirSync(bundled()).filter((name) => /licen[cs]e|notice/i.test(name));
  expect(notices.map((name) => readFileSync(join(bundled(), name), 'utf8')).join()).toMatch(/prom-client/);
  for (const name of notices) expect(readFileSync(join(root, 'relay-task/Dockerfile'), 'utf8')).toContain(name);
});

test('B17: no suite asserts how long something took', () => {
  const suites = readdirSync(join(root, 'test'), { recursive: true, encoding: 'utf8' }).filter((name) =>
    name.endsWith('.test.ts'),
  );
  const timed = suites.filter((name) =>
    /expect\((?:performance|Date)\.now\(\) - \w+\)\s*\.toBeLess/.test(readFileSync(join(root, 'test', name), 'utf8')),
  );
  // This one does, in its full form alone.
  expect(timed.filter((name) => !name.startsWith('faults'))).toEqual([]);
});

/** The id of the process that listens on this port. */
function listenerOn(port: number): number {
  const hex = `:${port.toString(16).toUpperCase().padStart(4, '0')} `;
  const line = readFileSync('/proc/net/tcp', 'utf8')
    .split('\n')
    .find((each) => each.includes(hex) && each.includes(' 0A '));
  const inode = line?.trim().split(/\s+/)[9];
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      for (const fd of readdirSync(`/proc/${pid}/fd`)) {
        if (readlinkSync(`/proc/${pid}/fd/${fd}`) === `socket:[${inode}]`) return Number(pid);
      }
    } catch {
      // It has ended meanwhile.
    }
  }
  throw new Error(`nobody listens on port ${port}`);
}
