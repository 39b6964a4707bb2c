import { signedHeaders } from '../../../lambda/edge-reader/sign.ts';

interface Signed {
  readonly headers: Readonly<Record<string, string>>;
}
// The package ships no types.
const aws4: { sign(request: unknown, credentials: unknown): Signed } = require('aws4');

const at = Date.UTC(2026, 10, 22, 1, 2, 3, 456);
const env = { AWS_ACCESS_KEY_ID: 'AKIDEXAMPLE', AWS_SECRET_ACCESS_KEY: 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY' };

test.each([
  {
    host: 'dynamodb.eu-west-1.amazonaws.com',
    region: 'eu-west-1',
    operation: 'GetItem',
    body: '{"a":1}',
    token: undefined,
  },
  {
    host: 'dynamodb.us-east-1.amazonaws.com',
    region: 'us-east-1',
    operation: 'BatchGetItem',
    body: '{"ключ":"π"}',
    token: 'tok/en+=',
  },
  { host: '127.0.0.1:8000', region: 'ap-northeast-1', operation: 'Query', body: '{}', token: 'x'.repeat(900) },
])('$operation in $region has the signature that aws4 computes', ({ host, region, operation, body, token }) => {
  const headers = signedHeaders({ host, region, operation, body }, { ...env, AWS_SESSION_TOKEN: token }, at);
  const { authorization, ...unsigned } = headers;
  const expected = aws4.sign(
    {
      service: 'dynamodb',
      method: 'POST',
      path: '/',
      region,
      body,
      headers: unsigned,
      extraHeadersToIgnore: { 'content-length': true },
    },
    { accessKeyId: env.AWS_ACCESS_KEY_ID, secretAccessKey: env.AWS_SECRET_ACCESS_KEY, sessionToken: token },
  );
  expect(authorization).toBe(expected.headers.Authorization);
  expect(headers['x-amz-security-token']).toBe(token);
  expect(headers['x-amz-date']).toBe('20261122T010203Z');
});
