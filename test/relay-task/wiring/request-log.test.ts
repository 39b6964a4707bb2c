import { eventually } from '../../support/eventually.ts';
import { exampleFile } from '../../support/example-environment.ts';
import { closeAfterEach } from '../../support/opened.ts';
import { startTestRelay } from '../../support/start-relay.ts';

const { opened } = closeAfterEach();

const sdkKey = 'sdk-request-log';
const file = { LD_FLAGS_FILE_shop: exampleFile, LD_ENV_shop: sdkKey, LD_CLIENT_SIDE_ID_shop: 'shop-id' };
const context = { kind: 'user', key: 'ada@example.com' };
const encoded = Buffer.from(JSON.stringify(context)).toString('base64url');

async function request(uri: string, path: string, headers: Record<string, string> = {}): Promise<number> {
  const answer = await fetch(`${uri}${path}`, { headers: { 'User-Agent': 'NodeJSClient/9.4.0', ...headers } });
  await answer.arrayBuffer();
  return answer.status;
}

test('at level debug each request has a line with its route, and without key, context, query and address', async () => {
  const secrets = [encoded, context.key, 'hunter2', '127.0.0.1'];
  const relay = opened(await startTestRelay({ ...file, LOG_LEVEL: 'debug' }, { secrets: secrets.slice(0, 3) }));
  expect(await request(relay.uri, `/sdk/evalx/shop-id/contexts/${encoded}?h=hunter2`)).toBe(200);
  expect(await request(relay.uri, '/sdk/flags', { Authorization: sdkKey })).toBe(200);
  expect(await request(relay.uri, '/sdk/flags?auth=hunter2', { Authorization: 'sdk-unknown-key' })).toBe(401);
  expect(await request(relay.uri, '/nothing/hunter2')).toBe(404);
  const lines = () => relay.lines.filter(({ fields }) => 'durationMs' in fields);
  await eventually(() => expect(lines()).toHaveLength(4));
  const common = { method: 'GET', sdk: expect.any(String), durationMs: expect.any(Number), bytes: expect.any(Number) };
  expect(lines()).toEqual([
    {
      ...{ level: 'debug', message: 'GET /sdk/evalx/{envId}/contexts/{context} 200' },
      fields: {
        ...common,
        ...{
          environment: 'shop',
          route: '/sdk/evalx/{envId}/contexts/{context}',
          status: 200,
          credential: 'environmentId',
        },
      },
    },
    {
      ...{ level: 'debug', message: 'GET /sdk/flags 200' },
      fields: { ...common, environment: 'shop', route: '/sdk/flags', status: 200, credential: 'sdkKey' },
    },
    { level: 'debug', message: 'GET /sdk/flags 401', fields: { ...common, route: '/sdk/flags', status: 401 } },
    { level: 'debug', message: 'GET none 404', fields: { ...common, route: 'none', status: 404 } },
  ]);
  expect(lines()[1]?.fields.bytes).toBeGreaterThan(100);
  expect(JSON.stringify(lines())).not.toMatch(/hunter2|127\.0\.0\.1|ada@|unknown-key/);
});

test('at level info no request has a line, but those of an environment have, if that is its own level', async () => {
  const other = { LD_ENV_blog: 'sdk-request-log-2', LD_FLAGS_FILE_blog: exampleFile, LD_LOG_LEVEL_blog: 'debug' };
  const relay = opened(await startTestRelay({ ...file, ...other }));
  for (const key of [sdkKey, 'sdk-request-log-2', sdkKey]) {
    expect(await request(relay.uri, '/sdk/flags', { Authorization: key })).toBe(200);
  }
  const told = () => relay.lines.filter(({ fields }) => 'durationMs' in fields);
  await eventually(() => expect(told()).toHaveLength(1));
  expect(told()[0]?.fields.environment).toBe('blog');
});
