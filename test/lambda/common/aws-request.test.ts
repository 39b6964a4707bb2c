/** Expected signatures: aws4 1.13, which is tested against AWS's own test suite. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import { type AwsRequest, sendToAws } from '../../../lambda/common/aws-request.ts';

interface Signed {
  readonly headers: Readonly<Record<string, string>>;
}
const aws4: { sign(request: unknown, credentials: unknown): Signed } = createRequire(__filename)('aws4');

const at = Date.UTC(2026, 10, 22, 6, 30, 5);
const OURS = new Set(['x-amz-date', 'x-amz-security-token']);

let server: Server;
let endpoint: string;
let asked: { message: IncomingMessage; body: string }[];
let answer: ((response: ServerResponse) => { status: number; body: string } | undefined) | undefined;

beforeAll(async () => {
  server = createServer((message, response) => {
    let body = '';
    message.on('data', (chunk) => {
      body += chunk;
    });
    message.on('end', () => {
      asked.push({ message, body });
      const reply = answer?.(response);
      if (reply) response.writeHead(reply.status).end(reply.body);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
beforeEach(() => {
  asked = [];
  answer = () => ({ status: 200, body: 'ok' });
});
afterAll(() => {
  server.closeAllConnections();
  return new Promise((resolve) => server.close(resolve));
});

const ssm: AwsRequest = {
  ...{ service: 'ssm', region: 'eu-west-1', path: '/', timeoutMs: 60_000 },
  headers: { 'content-type': 'application/x-amz-json-1.1', 'x-amz-target': 'AmazonSSM.GetParameters' },
  body: '{"Names":["/edge-flag-relay/prod/ä"]}',
};
const invoke: AwsRequest = {
  ...{
    service: 'lambda',
    region: 'ap-northeast-1',
    path: '/2015-03-31/functions/a-b_c/invocations',
    timeoutMs: 60_000,
  },
  headers: { 'content-type': 'application/json' },
  body: '{}',
};

const listing: AwsRequest = {
  ...{ service: 'route53', region: 'us-east-1', method: 'GET', body: '', headers: {}, timeoutMs: 60_000 },
  path: '/2013-04-01/hostedzone/Z1/rrset?type=A&name=%2A.example.com&maxitems=1',
};

test.each([
  ['a call to SSM', ssm, undefined],
  ['a reading with a query', listing, undefined],
  ['a call to Lambda in another region', invoke, undefined],
  ["a call with a role's session token", ssm, 'token/with+signs=='],
])('%s has the signature that aws4 computes', async (_, request, token) => {
  const env = {
    AWS_ACCESS_KEY_ID: 'AKIDEXAMPLE',
    AWS_SECRET_ACCESS_KEY: 'wJalrXUtnFEMI/K7MDENG',
    AWS_SESSION_TOKEN: token,
  };
  expect(await sendToAws({ ...request, endpoint }, env, at)).toMatchObject({ status: 200, body: 'ok' });
  const [{ message, body }] = asked as [(typeof asked)[0]];
  const { method = 'POST' } = request;
  expect([message.method, message.url, body]).toEqual([method, request.path, request.body]);
  const { authorization, ...headers } = message.headers;
  const names = /SignedHeaders=([^,]+)/.exec(authorization!)![1]!.split(';');
  const expected = aws4.sign(
    {
      ...{ service: request.service, region: request.region, method, path: request.path, body: request.body },
      // Without the headers that aws4 adds itself.
      headers: {
        ...Object.fromEntries(names.filter((name) => !OURS.has(name)).map((name) => [name, headers[name]])),
        'X-Amz-Date': '20261122T063005Z',
      },
      extraHeadersToIgnore: { 'content-length': true },
    },
    { accessKeyId: env.AWS_ACCESS_KEY_ID, secretAccessKey: env.AWS_SECRET_ACCESS_KEY, sessionToken: token },
  );
  expect(expected.headers.Authorization).toBe(authorization);
  if (token) expect(names).toContain('x-amz-security-token');
});

test('a timeout is an error that names the service', async () => {
  answer = undefined;
  await expect(sendToAws({ ...ssm, endpoint, timeoutMs: 50 }, {}, at)).rejects.toThrow(
    'ssm in eu-west-1: did not answer within 50 ms',
  );
});

test('an answer that breaks off is an error that names the service', async () => {
  answer = (response) => void response.write('{', () => response.destroy());
  await expect(sendToAws({ ...ssm, endpoint }, {}, at)).rejects.toThrow('ssm in eu-west-1: aborted');
});

test('an answer may be as long as the longest template in XML', async () => {
  const body = '&quot;'.repeat(1 << 20);
  answer = () => ({ status: 200, body });
  const { body: read } = await sendToAws({ ...ssm, endpoint }, {}, at);
  expect(read === body).toBe(true);
});

test('an answer that never ends is an error that names the service, and its connection is closed', async () => {
  let closed: Promise<unknown> | undefined;
  answer = (response) => {
    const more = () => {
      if (!response.destroyed) response.write(Buffer.alloc(64 << 10), more);
    };
    closed = once(response, 'close');
    more();
    return undefined;
  };
  await expect(sendToAws({ ...ssm, endpoint }, {}, at)).rejects.toThrow(
    'ssm in eu-west-1: answered with more than 8388608 bytes',
  );
  await closed;
});
