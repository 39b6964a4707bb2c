/** The check of a distribution, against an HTTP server that answers as CloudFront does. */
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createEdgeCheck } from '../../../lambda/canary/edge.ts';
import { closeAfterEach } from '../../support/opened.ts';

const { behind } = closeAfterEach();
let lines: Record<string, unknown>[];
beforeEach(() => {
  lines = [];
});

async function start(answer: RequestListener) {
  const server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  behind(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/page?a=b`;
}

const check = (url: string, timeoutMs?: number) =>
  createEdgeCheck({
    ...{ url, decisionHeader: 'x-flag-decision', namespace: 'Canary/dev', ...(timeoutMs && { timeoutMs }) },
    write: (line) => lines.push(JSON.parse(line)),
  })();

const deciding =
  (decision: string | undefined, status = 200): RequestListener =>
  (_, response) =>
    void response.writeHead(status, decision === undefined ? {} : { 'x-flag-decision': decision }).end();

test('succeeds when the flag decided', async () => {
  let asked = '';
  const url = await start((request, response) => {
    asked = `${request.method} ${request.url}`;
    deciding('checkout=canary; reason=FALLTHROUGH')(request, response);
  });
  expect(await check(url)).toEqual({ ok: true, ms: expect.any(Number) });
  expect(asked).toBe('HEAD /page?a=b');
  expect(lines).toMatchObject([
    {
      _aws: { CloudWatchMetrics: [{ Namespace: 'Canary/dev', Dimensions: [[]] }] },
      ...{ EdgeSuccess: 1, EdgeLatency: expect.any(Number), edge: { ok: true } },
    },
  ]);
});

test('follows no redirect: the answer of the distribution itself counts', async () => {
  const url = await start((request, response) => {
    response.setHeader('location', '/elsewhere');
    deciding(request.url === '/elsewhere' ? undefined : 'checkout=canary; reason=OFF', 302)(request, response);
  });
  expect(await check(url)).toMatchObject({ ok: true });
});

test.each([
  ['the flag could not be read', 'checkout=stable; reason=ERROR CLIENT_NOT_READY', 200, 'CLIENT_NOT_READY'],
  ['the flag has a value that is no variant', 'checkout=stable; reason=UNKNOWN_VARIANT', 200, 'UNKNOWN_VARIANT'],
  ['the bootstrap decides', 'checkout=canary; reason=OFF; source=bootstrap', 200, 'flags cannot be read'],
  ['there is no decision', undefined, 200, 'answered 200 without x-flag-decision'],
  ['the origin fails', undefined, 502, 'answered 502 without x-flag-decision'],
])('fails when %s', async (_, decision, status, said) => {
  const { ok, problem } = await check(await start(deciding(decision, status)));
  expect([ok, problem]).toEqual([false, expect.stringContaining(said)]);
  expect(lines).toMatchObject([{ EdgeSuccess: 0, edge: { ok: false, problem } }]);
  expect(lines[0]).not.toHaveProperty('EdgeLatency');
});

test('fails with the reason when nobody answers, or too late', async () => {
  const url = await start(() => {});
  expect(await check(url, 50)).toMatchObject({ ok: false, problem: expect.stringContaining('timeout') });
  const refused = await check('http://127.0.0.1:1/');
  expect(refused).toMatchObject({ ok: false, problem: expect.stringMatching(/127\.0\.0\.1:1.*\(.+\)/) });
  expect(lines).toMatchObject([{ EdgeSuccess: 0 }, { EdgeSuccess: 0 }]);
});
