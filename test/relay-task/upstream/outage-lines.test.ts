import { createServer, type Server } from 'node:net';
import { durationText } from '../../../relay-task/common/duration-text.ts';
import { connect } from '../../../relay-task/upstream/connect.ts';
import { causeOf } from '../../../relay-task/upstream/failure-text.ts';
import { createOutageLines } from '../../../relay-task/upstream/outage-lines.ts';
import { createOutbound } from '../../../relay-task/upstream/outbound.ts';
import type { Failure } from '../../../relay-task/upstream/status.ts';
import { startStreaming } from '../../../relay-task/upstream/streaming.ts';
import { eventually } from '../../support/eventually.ts';
import { startFakeUpstream } from '../../support/fake-upstream.ts';
import { createLogRecorder } from '../../support/logs.ts';
import { closeAfterEach } from '../../support/opened.ts';

const { behind } = closeAfterEach();

/** A server of TCP that treats each connection like this; its port. */
async function listen(onConnection: Parameters<typeof createServer>[1]): Promise<number> {
  const server: Server = createServer(onConnection as never);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  behind(() => new Promise((resolve) => server.close(resolve)));
  return (server.address() as { port: number }).port;
}

function failureOf(address: string, proxyUrl?: string): Promise<Failure> {
  return new Promise((onFailure, reject) =>
    connect({
      url: () => new URL(address),
      headers: { Authorization: 'sdk-x' },
      outbound:
        proxyUrl === undefined
          ? undefined
          : createOutbound({
              proxyUrl,
              user: undefined,
              password: undefined,
              caCertFiles: [],
              env: {},
            } as never),
      connectTimeoutMs: 2_000,
      headTimeoutMs: 300,
      onResponse: () => reject(new Error('it answered')),
      onFailure,
    }),
  );
}

const answering = (text: string) =>
  listen((socket) => {
    socket.on('error', () => {});
    socket.once('data', () => socket.end(text));
  });
const httpAnswer = (status: string) =>
  answering(`HTTP/1.1 ${status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`);

describe('the cause of a failure is told by what really happens on a socket:', () => {
  test('nothing listens', async () => {
    const port = await listen(() => {});
    // A port that nothing has now.
    expect(causeOf(await failureOf('http://127.0.0.1:1/all'))).toBe('unreachable');
    expect(port).toBeGreaterThan(1);
  });

  test('the connection is reset before an answer', async () => {
    const port = await listen((socket) => void socket.once('data', () => socket.destroy()).on('error', () => {}));
    expect(causeOf(await failureOf(`http://127.0.0.1:${port}/all`))).toBe('closed');
  });

  test('nothing is answered', async () => {
    const port = await listen((socket) => {
      socket.on('error', () => {});
      setTimeout(() => socket.destroy(), 2_000).unref();
    });
    expect(causeOf(await failureOf(`http://127.0.0.1:${port}/all`))).toBe('timeout');
  });

  test('the peer speaks no TLS', async () => {
    const port = await httpAnswer('200 OK');
    expect(causeOf(await failureOf(`https://127.0.0.1:${port}/all`))).toBe('tls');
  });

  test('a name that no DNS server knows', async () => {
    // RFC 6761: names under `invalid` do not exist.
    expect(causeOf(await failureOf('http://nowhere.invalid/all'))).toBe('dns');
  });

  test.each([
    ['401 Unauthorized', 'key'],
    ['403 Forbidden', 'key'],
    ['404 Not Found', 'address'],
    ['302 Found', 'address'],
    ['429 Too Many Requests', 'limited'],
    ['500 Internal Server Error', 'server'],
    ['503 Service Unavailable', 'server'],
    ['407 Proxy Authentication Required', 'proxy'],
  ])('the answer %s', async (status, cause) => {
    expect(causeOf(await failureOf(`http://127.0.0.1:${await httpAnswer(status)}/all`))).toBe(cause);
  });

  test('a proxy that refuses, and one that is not there', async () => {
    const proxy = await httpAnswer('403 Forbidden');
    expect(causeOf(await failureOf('https://launchdarkly.invalid/all', `http://127.0.0.1:${proxy}`))).toBe('proxy');
    expect(causeOf(await failureOf('https://launchdarkly.invalid/all', 'http://127.0.0.1:1'))).toBe('proxy');
  });
});

// https://nodejs.org/api/tls.html#x509-certificate-error-codes and https://nodejs.org/api/errors.html
test.each([
  'CERT_HAS_EXPIRED',
  'CERT_NOT_YET_VALID',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'ERR_TLS_CERT_ALTNAME_INVALID',
  'HOSTNAME_MISMATCH',
  'INVALID_CA',
])('the code %s is about the certificate', (code) => {
  expect(causeOf({ kind: 'NETWORK_ERROR', message: '', code })).toBe('certificate');
});

test.each([
  [0, '0 ms'],
  [850, '850 ms'],
  [999.6, '1 s'],
  [9_540, '9.5 s'],
  [59_700, '1 min'],
  [204_000, '3.4 min'],
  [3_599_999, '1 h'],
  [7_200_000, '2 h'],
  [200_000_000, '2.3 days'],
])('%d ms is %s for people', (ms, text) => expect(durationText(ms)).toBe(text));

describe('one connection', () => {
  const down: Failure = { kind: 'ERROR_RESPONSE', statusCode: 503, message: 'x answered 503' };

  function lines() {
    const { log, shown, lines: all } = createLogRecorder();
    return { shown, all, outage: createOutageLines({ what: 'It', key: 'the key', meanwhile: () => undefined, log }) };
  }
  const told = (shown: readonly string[]) => shown.map((line) => line.replace(/ \{.*/, ''));

  test('has one line for each cause, and one when it works again', () => {
    const { outage, shown } = lines();
    for (let i = 0; i < 1_000; i += 1) outage.failed(down, 2_000);
    for (let i = 0; i < 1_000; i += 1) outage.failed({ ...down, statusCode: 401, message: 'x answered 401' }, 204_000);
    outage.worked();
    outage.worked();
    expect(told(shown)).toEqual([
      'WARN LaunchDarkly answered 503; next attempt in 2 s',
      'ERROR LaunchDarkly rejected the key (401); next attempt in 3.4 min',
      expect.stringMatching(/^INFO It works again after \d/),
    ]);
  });

  test('that breaks and works again in a loop has few lines', () => {
    const { outage, shown, all } = lines();
    for (let i = 0; i < 1_000; i += 1) {
      outage.failed(down, 0);
      outage.worked();
    }
    expect(shown).toHaveLength(2);
    expect(all.length).toBeGreaterThan(1_000);
  });

  test('has few lines whatever it answers', () => {
    const { outage, shown } = lines();
    for (let round = 0; round < 10; round += 1) {
      for (let statusCode = 500; statusCode < 600; statusCode += 1) {
        outage.failed({ ...down, statusCode, message: `x answered ${Math.random()}` }, 0);
      }
    }
    expect(shown.length).toBeLessThanOrEqual(21);
  });

  test('that fails again soon is named later if it lasts, with how many lines were left out', () => {
    jest.useFakeTimers({ doNotFake: ['setTimeout', 'setImmediate', 'nextTick', 'queueMicrotask'] });
    try {
      const { outage, shown } = lines();
      outage.failed(down, 0);
      outage.worked();
      for (let i = 0; i < 5; i += 1) outage.failed(down, 0);
      expect(shown).toHaveLength(2);
      jest.advanceTimersByTime(61_000);
      outage.failed(down, 0);
      expect(shown).toHaveLength(3);
      expect(shown.at(-1)).toContain('"suppressed":5');
      for (let i = 0; i < 7; i += 1) outage.failed(down, 0);
      jest.advanceTimersByTime(599_000);
      outage.failed(down, 0);
      expect(shown).toHaveLength(3);
      jest.advanceTimersByTime(1_000);
      outage.failed(down, 0);
      expect(shown.at(-1)).toContain('"suppressed":8');
    } finally {
      jest.useRealTimers();
    }
  });
});

test('a stream that fails hundreds of times in a row has one line, which says what is served, and one when it works', async () => {
  const upstream = await startFakeUpstream({ flags: { a: { key: 'a', version: 1 } }, segments: {} } as never);
  upstream.answer = { status: 503 };
  const { log, shown } = createLogRecorder();
  let flags: number | undefined;
  const stream = startStreaming({
    ...{ streamUri: upstream.uri, baseUri: upstream.uri, sdkKey: 'sdk-x', userAgent: 'x', protocol: 'fdv1' },
    ...{ pollIntervalMs: 30_000, backoff: { firstMs: 1, maxMs: 1 }, random: () => 0, log },
    serving: { environment: 'production', flags: () => flags },
    sink: {
      put(items) {
        flags = items.length;
      },
      upsert() {},
      skip() {},
    },
  });
  behind(() => stream.close());
  await upstream.requested(200);
  upstream.answer = 'stream';
  await eventually(() => expect(flags).toBe(1));
  await eventually(() => expect(shown.length).toBe(3));
  upstream.answer = { status: 401 };
  upstream.cut();
  await eventually(() => expect(shown.length).toBeGreaterThanOrEqual(5));
  expect(
    shown.map((line) =>
      line
        .replace(/ \{.*/, '')
        .replace(/\d+(\.\d)? m?s$/, 'SOON')
        .replace(/[\d.]+ min/, 'MIN'),
    ),
  ).toEqual([
    'WARN LaunchDarkly answered 503; there are no flags yet, next attempt in SOON',
    'INFO Received the full flag set from LaunchDarkly',
    'INFO LaunchDarkly stream works again after SOON',
    'WARN The connection to LaunchDarkly was closed; still serving 1 flag, next attempt in SOON',
    'ERROR LaunchDarkly rejected the SDK key of environment "production" (401); still serving 1 flag, next attempt in MIN',
  ]);
});
