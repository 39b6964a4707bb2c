/** What a real relay writes about each cause of an outage: what happened, to what, why, what happens next, and where to look. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { eventually } from '../support/eventually.ts';
import { exampleFile } from '../support/example-environment.ts';
import { startFakeUpstream } from '../support/fake-upstream.ts';
import { flagData } from '../support/items.ts';
import { closeAfterEach } from '../support/opened.ts';
import { bundleRelay, listeningPort, runRelay } from '../support/relay-process.ts';

bundleRelay();
const { behind } = closeAfterEach();

const key = 'sdk-outage-log-test';

interface Line {
  readonly level: string;
  readonly message: string;
  readonly [field: string]: unknown;
}

function start(variables: Record<string, string>) {
  const relay = runRelay({
    ...{ PORT: '0', LISTEN_HOST: '127.0.0.1', DRAIN_WINDOW: '0', LD_ENV_production: key },
    ...variables,
  });
  behind(async () => {
    relay.child.kill('SIGTERM');
    await relay.exited;
    expect(JSON.stringify(relay.output())).not.toContain(key);
  });
  const lines = (): Line[] =>
    relay
      .output()
      .stdout.split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as Line);
  return {
    lines,
    signal: (name: NodeJS.Signals) => void relay.child.kill(name),
    exited: relay.exited,
    /** Those about LaunchDarkly, with durations replaced. */
    outage: () =>
      lines()
        .filter(({ message }) => !message.startsWith('Relay listening'))
        .map(({ level, message }) => `${level} ${message.replace(/\d+(\.\d)? (ms|s|min)/, 'SOON')}`),
    async post(path: string, body: unknown) {
      const url = `http://127.0.0.1:${await eventually(() => listeningPort(relay.output().stdout))}${path}`;
      const headers = { Authorization: key, 'Content-Type': 'application/json', 'X-LaunchDarkly-Event-Schema': '4' };
      return (await fetch(url, { method: 'POST', headers, body: JSON.stringify(body) })).status;
    },
    async status() {
      const answer = await fetch(`http://127.0.0.1:${listeningPort(relay.output().stdout)}/status`);
      return (await answer.json()) as {
        status: string;
        reasons: readonly { what: string; message: string; environment?: string; runbook: string }[];
        environments: Record<
          string,
          { connectionStatus: { lastError?: Record<string, unknown> }; eventStatus?: unknown }
        >;
      };
    },
  };
}

/** A server of HTTP that gives everyone this answer; its address without the scheme. */
async function answering(status: number, headers: Record<string, string> = {}, body = ''): Promise<string> {
  const server = createServer((_request, response) => response.writeHead(status, headers).end(body));
  server.on('connect', (_request, socket) => socket.end(`HTTP/1.1 ${status} No\r\nContent-Length: 0\r\n\r\n`));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  behind(() => new Promise((resolve) => server.close(resolve)));
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

test('a rejected key has one line of level ERROR, and /status names it at once; so has the recovery', async () => {
  const upstream = await startFakeUpstream({ flags: { a: flagData('a', 1), b: flagData('b', 1) } });
  behind(() => upstream.close());
  const relay = start({ STREAM_URI: upstream.uri });
  await eventually(() => expect(relay.outage()).toEqual(['INFO Received the full flag set from LaunchDarkly']));
  upstream.answer = { status: 401 };
  upstream.cut();
  await eventually(async () => expect((await relay.status()).status).toBe('degraded'));
  expect(relay.outage().slice(1)).toEqual([
    'WARN The connection to LaunchDarkly was closed; still serving 2 flags, next attempt in SOON',
    'ERROR LaunchDarkly rejected the SDK key of environment "production" (401); still serving 2 flags, next attempt in SOON',
  ]);
  expect(relay.lines().at(-1)).toMatchObject({
    environment: 'production',
    cause: 'key',
    statusCode: 401,
    reason: expect.stringMatching(/^127\.0\.0\.1:\d+ answered 401$/),
    delayMs: expect.any(Number),
    runbook: 'operations.md#upstream-refused',
  });
  const { reasons, environments } = await relay.status();
  expect(environments.production?.connectionStatus.lastError).toMatchObject({
    kind: 'ERROR_RESPONSE',
    statusCode: 401,
    message: expect.stringContaining('answered 401'),
  });
  expect(reasons).toEqual([
    expect.objectContaining({
      environment: 'production',
      what: 'key-refused',
      message: expect.stringMatching(/^LaunchDarkly rejects the SDK key \(.*401\); clients get what memory holds$/),
      runbook: 'operations.md#upstream-refused',
    }),
  ]);
});

describe('before there are flags, nothing is said to be served:', () => {
  const notYet = 'there are no flags yet, next attempt in SOON';

  test('an answer 503, until it works @heavy', async () => {
    const upstream = await startFakeUpstream({ flags: { a: flagData('a', 1) } });
    behind(() => upstream.close());
    upstream.answer = { status: 503 };
    const relay = start({ STREAM_URI: upstream.uri });
    await upstream.requested(2);
    upstream.answer = 'stream';
    await eventually(() => expect(relay.outage()).toHaveLength(3));
    expect(relay.outage()).toEqual([
      `WARN LaunchDarkly answered 503; ${notYet}`,
      'INFO Received the full flag set from LaunchDarkly',
      'INFO LaunchDarkly stream works again after SOON',
    ]);
    expect((await relay.status()).status).toBe('healthy');
  });

  const stream = { 'Content-Type': 'text/event-stream' };
  const causes: [string, string, string, () => Promise<Record<string, string>>][] = [
    [
      'nothing listens',
      'unreachable',
      'WARN LaunchDarkly cannot be reached',
      async () => ({ STREAM_URI: 'http://127.0.0.1:1' }),
    ],
    [
      'no such name',
      'dns',
      'WARN The name of LaunchDarkly cannot be resolved (DNS)',
      async () => ({ STREAM_URI: 'http://nowhere.invalid' }),
    ],
    [
      'no TLS',
      'tls',
      'WARN No TLS connection to LaunchDarkly can be made',
      async () => ({ STREAM_URI: `https://${await answering(200)}` }),
    ],
    [
      'a proxy that refuses',
      'proxy',
      'WARN The proxy does not let the relay through to LaunchDarkly',
      async () => ({ STREAM_URI: 'https://nowhere.invalid', PROXY_URL: `http://${await answering(407)}` }),
    ],
    [
      'another server',
      'address',
      'ERROR LaunchDarkly answered 404, as if this were not its address',
      async () => ({ STREAM_URI: `http://${await answering(404)}` }),
    ],
    [
      'garbage',
      'data',
      'WARN LaunchDarkly sent something that cannot be used',
      async () => ({ STREAM_URI: `http://${await answering(200, stream, 'event: put\ndata: <html>\n\n')}` }),
    ],
  ];

  test.each(causes)('%s (%s) @heavy', async (_title, cause, says, variables) => {
    const relay = start(await variables());
    await eventually(() => expect(relay.outage().length).toBeGreaterThan(0));
    expect(relay.outage()[0]).toBe(`${says}; ${notYet}`);
    const [line] = relay.lines().filter((one) => 'cause' in one);
    expect(line).toMatchObject({ cause, environment: 'production', reason: expect.stringMatching(/\w/) });
    await eventually(async () => {
      const { status, reasons } = await relay.status();
      expect(status).toBe('degraded');
      expect(reasons.map(({ what }) => what)).toContain('no-data');
      expect(JSON.stringify(reasons)).not.toContain('what memory holds');
    });
  });
});

test('events that LaunchDarkly refuses have one line, and /status says since when, why and how many wait @heavy', async () => {
  const host = await answering(401);
  const relay = start({
    ...{ LD_FLAGS_FILE_production: exampleFile, EVENTS_HOST: `http://${host}`, EVENTS_FLUSH_INTERVAL: '10ms' },
    ...{ EVENTS_SPOOL_DIR: '/dev/null/spool', USE_EVENTS: 'true' },
  });
  const eventStatus = async () => (await relay.status()).environments.production?.eventStatus;
  const sent = await relay.post('/bulk', [{ kind: 'custom', key: 'a', creationDate: 1, context: { key: 'u' } }]);
  expect(sent).toBe(202);
  await eventually(async () => expect(await eventStatus()).toMatchObject({ state: 'INTERRUPTED' }));
  expect(await eventStatus()).toEqual({
    ...{ state: 'INTERRUPTED', stateSince: expect.any(Number), pending: 1, runbook: 'operations.md#events-dropped' },
    lastError: {
      ...{ kind: 'ERROR_RESPONSE', time: expect.any(Number), statusCode: 401 },
      message: `${host} answered 401`,
    },
  });
  expect(await relay.status()).toMatchObject({
    ...{ status: 'healthy', reasons: [] },
    eventSpool: { state: 'INTERRUPTED', runbook: 'operations.md#event-spool' },
  });
  const lines = relay.lines().filter(({ message }) => message.startsWith('LaunchDarkly rejected events'));
  expect(lines).toEqual([
    expect.objectContaining({
      ...{ level: 'WARN', environment: 'production', status: 401, runbook: 'operations.md#events-dropped' },
    }),
  ]);
});

test('SIGUSR2 shows requests at level debug, and hides them again @heavy', async () => {
  const upstream = await startFakeUpstream({ flags: { a: flagData('a', 1) } });
  behind(() => upstream.close());
  const relay = start({ STREAM_URI: upstream.uri });
  await eventually(async () => expect((await relay.status()).status).toBe('healthy'));
  const requests = () =>
    relay
      .lines()
      .filter(({ level }) => level === 'DEBUG')
      .map(({ message }) => message);
  expect(requests()).toEqual([]);
  relay.signal('SIGUSR2');
  await eventually(() =>
    expect(relay.lines().at(-1)).toMatchObject({
      message: expect.stringMatching(/^Log level is debug until /),
      by: 'SIGUSR2',
    }),
  );
  await relay.status();
  await eventually(() => expect(requests()).toEqual(['GET /status 200']));
  relay.signal('SIGUSR2');
  await eventually(() =>
    expect(relay.lines().at(-1)).toMatchObject({ message: 'Log level is info again', by: 'SIGUSR2' }),
  );
  await relay.status();
  expect(requests()).toEqual(['GET /status 200']);
});

test('what a flood left out of the log is said before the process ends @heavy', async () => {
  const relay = start({ LD_FLAGS_FILE_production: exampleFile });
  await eventually(async () => expect((await relay.status()).status).toBe('healthy'));
  const toggles = () => relay.lines().filter(({ by }) => by === 'SIGUSR2').length;
  // The guard lets twenty lines of a kind pass, and these are of two kinds in turn.
  for (let toggle = 1; toggle <= 40; toggle += 1) {
    relay.signal('SIGUSR2');
    await eventually(() => expect(toggles()).toBe(toggle));
  }
  relay.signal('SIGUSR2');
  // Of two signals at once the later one may be handled first. Only at level debug a request is logged.
  await eventually(async () => {
    await relay.status();
    expect(relay.lines().at(-1)).toMatchObject({ level: 'DEBUG', message: 'GET /status 200' });
  });
  relay.signal('SIGTERM');
  expect(await relay.exited).toBe(0);
  expect(relay.lines().at(-1)).toEqual({
    ...{ level: 'INFO', message: 'Repeated lines of the log were left out', timestamp: expect.any(String) },
    ...{ line: expect.stringMatching(/^Log level is debug until /), suppressed: 1 },
  });
});
