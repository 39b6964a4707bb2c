import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { createOutbound, type OutboundOptions } from '../../../relay-task/upstream/outbound.ts';
import { startStreaming } from '../../../relay-task/upstream/streaming.ts';
import { createAuthority as createAuthorityFor } from '../../support/authority.ts';
import { eventually, roomy } from '../../support/eventually.ts';
import { startFakeProxy } from '../../support/fake-proxy.ts';
import { startFakeUpstream } from '../../support/fake-upstream.ts';
import { createLogRecorder } from '../../support/logs.ts';
import { closeAfterEach } from '../../support/opened.ts';
import { createSinkRecorder, fdv1, flagData } from './support.ts';

const { behind } = closeAfterEach();

/** A certificate for LaunchDarkly's name in these tests. */
async function createAuthority() {
  const authority = await createAuthorityFor('stream.example.com');
  behind(authority.close);
  return authority;
}

/** A fake LaunchDarkly behind TLS that sends one `put`. */
async function startTlsUpstream({ key, cert }: { key: string; cert: string }) {
  const server = createServer({ key, cert }, (_request, response) => {
    response.writeHead(200, { 'Content-Type': 'text/event-stream' });
    response.write(`event: put\ndata: ${JSON.stringify({ path: '/', data: { flags: { a: flagData('a', 1) } } })}\n\n`);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  behind(async () => {
    const closed = new Promise((resolve) => server.close(resolve));
    server.closeAllConnections();
    await closed;
  });
  return (server.address() as AddressInfo).port;
}

function listen(streamUri: string, outbound: Partial<OutboundOptions>, more: { connectTimeoutMs?: number } = {}) {
  const { sink, puts } = createSinkRecorder();
  const { log, lines } = createLogRecorder();
  const stream = startStreaming({
    ...fdv1,
    ...{ streamUri, sdkKey: 'sdk-key', sink, log, userAgent: 'EdgeFlagRelay/1.2.3' },
    outbound: createOutbound({ caCertFiles: [], env: {}, ...outbound }),
    backoff: { firstMs: 10, maxMs: 40 },
    ...more,
  });
  behind(() => stream.close());
  return { stream, puts, lines };
}

async function startProxy(targetPort: number, tls?: { key: string; cert: string }) {
  const proxy = await startFakeProxy(targetPort, tls);
  behind(() => proxy.close());
  return proxy;
}

describe('a stream over TLS', () => {
  test('trusts the CA files, and only public authorities without them @heavy', async () => {
    const authority = await createAuthority();
    const port = await startTlsUpstream(authority);
    const trusting = listen(`https://127.0.0.1:${port}`, { caCertFiles: [authority.file] });
    await eventually(() => expect(trusting.puts).toHaveLength(1));
    const distrusting = listen(`https://127.0.0.1:${port}`, {});
    await eventually(() => expect(distrusting.stream.status().lastError?.message).toMatch(/self-signed/));
    expect(distrusting.puts).toEqual([]);
  });

  test.each(['http', 'https'])(
    'uses a tunnel through an %s proxy, and sends its user but never logs it @heavy',
    async (scheme) => {
      const authority = await createAuthority();
      const proxy = await startProxy(await startTlsUpstream(authority), scheme === 'https' ? authority : undefined);
      const { puts, lines } = listen('https://stream.example.com', {
        ...{ proxyUrl: proxy.uri, user: 'jane', password: 'p@ss:word', caCertFiles: [authority.file] },
      });
      await eventually(() => expect(puts).toHaveLength(1));
      const authorization = `Basic ${Buffer.from('jane:p@ss:word').toString('base64')}`;
      expect(proxy.asked).toEqual([{ what: 'CONNECT stream.example.com:443', authorization }]);
      expect(lines.join()).not.toMatch(/p@ss|p%40ss/);
    },
  );

  test('rejects a certificate for another name', async () => {
    const authority = await createAuthority();
    const proxy = await startProxy(await startTlsUpstream(authority));
    const { stream, puts } = listen('https://other.example.com', {
      proxyUrl: proxy.uri,
      caCertFiles: [authority.file],
    });
    await eventually(() => expect(stream.status().lastError?.message).toMatch(/altnames/));
    expect(puts).toEqual([]);
  });

  test("is retried if the proxy rejects it, and reports the proxy's response @heavy", async () => {
    const authority = await createAuthority();
    const proxy = await startProxy(await startTlsUpstream(authority));
    proxy.refuse = 407;
    const { stream, puts } = listen('https://stream.example.com', {
      proxyUrl: proxy.uri,
      caCertFiles: [authority.file],
    });
    await eventually(() => expect(stream.status().lastError?.message).toMatch(/the proxy 127.0.0.1:\d+ answered 407/));
    proxy.refuse = undefined;
    await eventually(() => expect(puts).toHaveLength(1));
  });

  test('is retried if the proxy never answers @heavy', async () => {
    const authority = await createAuthority();
    const proxy = await startProxy(await startTlsUpstream(authority));
    proxy.refuse = 'hang';
    const { puts } = listen(
      'https://stream.example.com',
      { proxyUrl: proxy.uri, caCertFiles: [authority.file] },
      { connectTimeoutMs: roomy(500) },
    );
    await eventually(() => expect(proxy.asked.length).toBeGreaterThan(1));
    proxy.refuse = undefined;
    await eventually(() => expect(puts).toHaveLength(1));
  });
});

test('a stream without TLS is requested from the proxy by absolute URL, with the key for the target', async () => {
  const upstream = await startFakeUpstream({ flags: { a: flagData('a', 1) } });
  behind(() => upstream.close());
  const proxy = await startProxy(Number(new URL(upstream.uri).port));
  const { puts } = listen('http://relay.example.com:8030/base', { proxyUrl: proxy.uri.replace('//', '//jane:word@') });
  await eventually(() => expect(puts).toHaveLength(1));
  const authorization = `Basic ${Buffer.from('jane:word').toString('base64')}`;
  expect(proxy.asked).toEqual([{ what: 'GET http://relay.example.com:8030/base/all', authorization }]);
  expect(upstream.requests[0]).toMatchObject({
    url: '/base/all',
    headers: { authorization: 'sdk-key', host: 'relay.example.com:8030' },
  });
});

test('environment variables set the proxy for each scheme @heavy', async () => {
  const authority = await createAuthority();
  const proxy = await startProxy(await startTlsUpstream(authority));
  const { puts } = listen('https://stream.example.com', {
    env: { https_proxy: proxy.uri.replace('http://', ''), HTTP_PROXY: 'http://127.0.0.1:1' },
    caCertFiles: [authority.file],
  });
  await eventually(() => expect(puts).toHaveLength(1));
});

describe('NO_PROXY', () => {
  // Expected: https://pkg.go.dev/golang.org/x/net/http/httpproxy#Config
  test.each([
    ['', 'https://stream.launchdarkly.com', true],
    ['', 'https://localhost:8443', false],
    ['', 'https://127.0.0.9', false],
    ['', 'https://[::1]', false],
    ['*', 'https://stream.launchdarkly.com', false],
    ['launchdarkly.com', 'https://stream.launchdarkly.com', false],
    ['launchdarkly.com', 'https://launchdarkly.com', false],
    ['launchdarkly.com', 'https://notlaunchdarkly.com', true],
    ['.launchdarkly.com', 'https://stream.launchdarkly.com', false],
    ['.launchdarkly.com', 'https://launchdarkly.com', true],
    ['*.launchdarkly.com', 'https://stream.launchdarkly.com', false],
    ['LaunchDarkly.com', 'https://stream.launchdarkly.com', false],
    ['a.example, launchdarkly.com:443', 'https://stream.launchdarkly.com', false],
    ['launchdarkly.com:8443', 'https://stream.launchdarkly.com', true],
    ['10.0.0.0/8', 'https://10.1.2.3', false],
    ['10.0.0.0/8', 'https://11.1.2.3', true],
    ['10.0.0.0/8', 'https://10.example.com', true],
    ['169.254.170.2', 'https://169.254.170.2', false],
    ['169.254.170.2:80', 'https://169.254.170.2', true],
    ['fd00::/8', 'https://[fd00::1]', false],
    ['fd00::1', 'https://[fd00:0::1]', false],
    ['[fd00::1]:443', 'https://[fd00::1]', false],
    ['10.0.0.0/99,x/y,.,:', 'https://10.1.2.3', true],
  ])('%j proxies %s: %s', (NO_PROXY, target, proxied) => {
    const { agentFor } = createOutbound({ caCertFiles: [], env: { HTTPS_PROXY: 'http://proxy:3128', NO_PROXY } });
    expect(agentFor(new URL(target)) !== undefined).toBe(proxied);
  });

  test("does not apply to a proxy in the relay's own settings", () => {
    const { agentFor } = createOutbound({ proxyUrl: 'proxy:3128', caCertFiles: [], env: { NO_PROXY: '*' } });
    expect(agentFor(new URL('https://stream.launchdarkly.com'))).toBeDefined();
  });
});

describe('the agents for AWS', () => {
  test('are those of the SDK without proxies in variables and without CA files', () => {
    expect(createOutbound({ caCertFiles: [], env: { NO_PROXY: '*' } }).awsAgents()).toBeUndefined();
    // As with ld-relay, the proxy in the settings is for LaunchDarkly alone.
    expect(createOutbound({ proxyUrl: 'proxy:3128', caCertFiles: [], env: {} }).awsAgents()).toBeUndefined();
  });

  test('keep as many connections as those of the SDK', () => {
    const agents = createOutbound({ caCertFiles: [], env: { https_proxy: 'proxy:3128' } }).awsAgents();
    const pool = { keepAlive: true, maxSockets: 50 };
    expect([agents?.httpAgent, agents?.httpsAgent]).toEqual([
      expect.objectContaining(pool),
      expect.objectContaining(pool),
    ]);
  });

  test('are refused with an invalid proxy that only AWS would use, and LaunchDarkly is reached', () => {
    const env = { HTTPS_PROXY: 'socks5://jane:secret@proxy' };
    const { agentFor, awsAgents } = createOutbound({ proxyUrl: 'proxy:3128', caCertFiles: [], env });
    expect(agentFor(new URL('https://stream.launchdarkly.com'))).toBeDefined();
    expect(awsAgents).toThrow(
      expect.objectContaining({ code: 'CONFIG_INVALID', message: expect.stringMatching(/HTTPS_PROXY must be/) }),
    );
    expect(awsAgents).toThrow(expect.objectContaining({ message: expect.not.stringContaining('secret') }));
  });
});

describe('an invalid outbound setting', () => {
  test.each([
    [{ proxyUrl: 'socks5://jane:secret@proxy' }, 'the proxy URL must be an http or https URL'],
    [{ proxyUrl: 'http://jane:secret%zz@proxy' }, 'the proxy URL must be an http or https URL'],
    [{ env: { HTTPS_PROXY: '::secret::' } }, 'HTTPS_PROXY must be'],
    [{ caCertFiles: ['/no/such/file.pem'] }, 'cannot read the CA file /no/such/file.pem: file not found'],
    [{ caCertFiles: [import.meta.filename] }, 'must contain PEM certificates'],
  ] as [Partial<OutboundOptions>, string][])('is rejected: %j', (options, message) => {
    const attempt = () => createOutbound({ caCertFiles: [], env: {}, ...options });
    expect(attempt).toThrow(
      expect.objectContaining({ code: 'CONFIG_INVALID', message: expect.stringContaining(message) }),
    );
    expect(attempt).toThrow(expect.objectContaining({ message: expect.not.stringContaining('secret') }));
  });

  test('is reported together with all others', () => {
    const attempt = () => createOutbound({ proxyUrl: 'ftp://x', caCertFiles: ['/no/a.pem', '/no/b.pem'], env: {} });
    expect(attempt).toThrow(/a\.pem.*b\.pem.*proxy/);
  });
});
