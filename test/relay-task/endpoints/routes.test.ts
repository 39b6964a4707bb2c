/** Every endpoint of the relay: those of LaunchDarkly's own relay, and those that LaunchDarkly itself offers in addition. */
import type { CredentialKind } from '../../../relay-task/ports.ts';
import { flag, segment } from '../../support/items.ts';
import { createMemory } from '../../support/memory.ts';
import { type Answer, ask, base64url, json } from './ask.ts';
import { startServer, type TestServer } from './start-server.ts';

const alice = { kind: 'user', key: 'alice' };
type Expected = 'stream' | 'json' | 'taken' | 'gif';
type Who = CredentialKind | 'client' | 'nobody';
/** Method, path, accepted credential, kind of response, and whether it needs the environment's data. */
type Row = readonly [string, string, Who, Expected, ('needs data' | '')?];

const inPathAndBody = (paths: readonly string[], bodies: readonly string[], who: Who, expected: Expected): Row[] => {
  const data = expected === 'stream' ? '' : 'needs data';
  return [
    ...paths.map((path): Row => ['GET', `${path}/{context}`, who, expected, data]),
    ...bodies.flatMap((path): Row[] => [
      ['REPORT', path, who, expected, data],
      ['POST', path, who, expected, data],
    ]),
  ];
};
const evalx = (prefix: string, who: Who) =>
  inPathAndBody([`${prefix}/contexts`, `${prefix}/users`], [`${prefix}/context`, `${prefix}/user`], who, 'json');

const rows: readonly Row[] = [
  ['GET', '/all', 'sdkKey', 'stream'],
  ['GET', '/flags', 'sdkKey', 'stream'],
  ['GET', '/sdk/latest-all', 'sdkKey', 'json', 'needs data'],
  ['GET', '/sdk/latest-flags', 'sdkKey', 'json', 'needs data'],
  ['GET', '/sdk/latest-segments', 'sdkKey', 'json', 'needs data'],
  ['GET', '/sdk/flags', 'sdkKey', 'json', 'needs data'],
  ['GET', '/sdk/flags/{key}', 'sdkKey', 'json', 'needs data'],
  ['GET', '/sdk/segments/{key}', 'sdkKey', 'json', 'needs data'],
  ['GET', '/sdk/stream', 'sdkKey', 'stream'],
  ['GET', '/sdk/poll', 'sdkKey', 'json', 'needs data'],
  ...evalx('/sdk/evalx', 'sdkKey'),
  ['POST', '/bulk', 'sdkKey', 'taken'],
  ['POST', '/diagnostic', 'sdkKey', 'taken'],
  ...evalx('/msdk/evalx', 'mobileKey'),
  ...inPathAndBody(['/meval'], ['/meval'], 'mobileKey', 'stream'),
  ['GET', '/mping', 'mobileKey', 'stream'],
  ['POST', '/mobile', 'mobileKey', 'taken'],
  ['POST', '/mobile/events', 'mobileKey', 'taken'],
  ['POST', '/mobile/events/bulk', 'mobileKey', 'taken'],
  ['POST', '/mobile/events/diagnostic', 'mobileKey', 'taken'],
  ...evalx('/sdk/evalx/{envId}', 'environmentId'),
  ...inPathAndBody(['/eval/{envId}'], ['/eval/{envId}'], 'environmentId', 'stream'),
  ['GET', '/ping/{envId}', 'environmentId', 'stream'],
  ['GET', '/sdk/goals/{envId}', 'environmentId', 'json'],
  ['POST', '/events/bulk/{envId}', 'environmentId', 'taken'],
  ['POST', '/events/diagnostic/{envId}', 'environmentId', 'taken'],
  ['GET', '/a/{envId}.gif', 'environmentId', 'gif'],
  ...inPathAndBody(['/sdk/poll/eval'], ['/sdk/poll/eval'], 'client', 'json'),
  ...inPathAndBody(['/sdk/stream/eval'], ['/sdk/stream/eval'], 'client', 'stream'),
  ['GET', '/status', 'nobody', 'json'],
  ['GET', '/status/{environment}', 'nobody', 'json'],
  ['GET', '/livez', 'nobody', 'json'],
  ['GET', '/readyz', 'nobody', 'json'],
];
const titled = (some: readonly Row[]) => some.map((row) => [`${row[0]} ${row[1]}`, row] as const);
const withCredential = rows.filter(([, , who]) => who !== 'nobody');
const forBrowsers = rows.filter(([, , who]) => who === 'environmentId' || who === 'client');

const right: Record<Who, string> = {
  sdkKey: 'sdk-key',
  mobileKey: 'mob-key',
  environmentId: '64a0',
  client: 'mob-key',
  nobody: '',
};
const concrete = (path: string, envId: string) =>
  path
    .replace('{envId}', envId)
    .replace('{context}', base64url(alice))
    .replace('/sdk/flags/{key}', '/sdk/flags/banner')
    .replace('{key}', 'beta')
    .replace('{environment}', 'production');
const bodyFor = (expected: Expected) => (expected === 'taken' ? '[{"kind":"custom"}]' : JSON.stringify(alice));

const send = (server: TestServer, [method, path, who, expected]: Row, credential = right[who]): Promise<Answer> => {
  const inHeader = who !== 'environmentId' && credential !== '';
  return ask(server.port, method, concrete(path, who === 'environmentId' ? credential : '64a0'), {
    headers: { ...json, ...(inHeader && { authorization: credential }) },
    ...(/POST|REPORT/.test(method) && { body: bodyFor(expected) }),
  });
};
const isMessage = (answer: Answer) => {
  expect(answer.headers['content-type']).toBe('application/json');
  expect(answer.json()).toEqual({ message: expect.any(String) });
};
const comesLater = (answer: Answer) => {
  expect(answer.status).toBe(503);
  expect(Number(answer.headers['retry-after'])).toBeGreaterThan(0);
  isMessage(answer);
};
const contentTypes: Record<Expected, string | undefined> = {
  stream: 'text/event-stream',
  json: 'application/json',
  taken: undefined,
  gif: 'image/gif',
};

let full: TestServer;
let empty: TestServer;
let refused: TestServer;
let unlisted: TestServer;
beforeAll(async () => {
  full = await startServer({ view: createMemory(flag('banner', 7), segment('beta', 2)) });
  empty = await startServer({ view: createMemory() });
  refused = await startServer({ view: createMemory() });
  refused.environment.refused = true;
  unlisted = await startServer({ find: () => 'not-yet' });
});
afterAll(() => Promise.all([full, empty, refused, unlisted].map((server) => server.close())));

/** Another protocol with its own bodies and errors: see ofrep.test.ts. */
const openFeature = [
  'POST /ofrep/v1/evaluate/flags/{key}',
  'POST /ofrep/v1/evaluate/flags',
  'GET /ofrep/v1/events/{envId}',
  'GET /ofrep/v1/configuration',
];

test('the relay has these endpoints and no others', () => {
  const listed = rows.map(([method, path]) => `${method} ${path}`);
  // The segments are a project and environment key, or an environment name and a payload filter.
  listed.splice(listed.indexOf('GET /status/{environment}') + 1, 0, 'GET /status/{environment}/{filter}');
  listed.splice(listed.indexOf('GET /status'), 0, ...openFeature);
  expect(full.server.routes.map(({ method, path }) => `${method} ${path}`)).toEqual(listed);
});

test.each(titled(rows))('%s answers requests with the right credential', async (_, row) => {
  const [, , who, expected] = row;
  const answer = await send(full, row);
  expect(answer.status).toBe(expected === 'taken' ? 202 : 200);
  if (contentTypes[expected]) expect(answer.headers['content-type']).toContain(contentTypes[expected]);
  expect(answer.body.length > 0).toBe(expected !== 'taken');
  if (expected !== 'stream') expect(Math.abs(Date.parse(answer.headers.date!) - Date.now())).toBeLessThan(60_000);
  if (who !== 'nobody' && expected !== 'stream') expect(answer.headers['x-ld-envid']).toBe('64a0');
});

test.each(titled(withCredential))('%s rejects a wrong credential for good', async (_, row) => {
  const [, , who] = row;
  for (const wrong of ['sdk-wrong', ...Object.values(right)]) {
    if (wrong === '' || wrong === right[who] || (who === 'client' && wrong === '64a0')) continue;
    const answer = await send(full, row, wrong);
    expect([wrong, answer.status]).toEqual([wrong, who === 'environmentId' ? 404 : 401]);
    expect(answer.headers['www-authenticate'] !== undefined).toBe(answer.status === 401);
    isMessage(answer);
  }
});

test.each(titled(withCredential.filter(([, , who]) => who !== 'environmentId')))(
  '%s without a credential gets 401',
  async (_, row) => {
    const answer = await send(full, row, '');
    expect(answer.status).toBe(401);
    isMessage(answer);
  },
);

test.each(titled(withCredential))('%s with a filter that the environment does not have gets 404', async (_, row) => {
  const [method, path, who, expected] = row;
  const answer = await ask(full.port, method, `${concrete(path, '64a0')}?filter=zzz`, {
    headers: { ...json, authorization: right[who] },
    ...(/POST|REPORT/.test(method) && { body: bodyFor(expected) }),
  });
  expect(answer.status).toBe(404);
  expect(answer.json().message).toContain('filter');
});

test.each(titled(rows))('%s with another method gets 405 with Allow', async (_, [method, path, who]) => {
  const answer = await ask(full.port, 'DELETE', concrete(path, '64a0'), { headers: { authorization: right[who] } });
  expect(answer.status).toBe(405);
  const allowed = answer.headers.allow?.split(', ') ?? [];
  expect(allowed).toContain(method);
  expect(allowed.includes('HEAD')).toBe(allowed.includes('GET'));
  expect(answer.headers['access-control-allow-origin'] !== undefined).toBe(allowed.includes('OPTIONS'));
  isMessage(answer);
});

test.each(titled(rows.filter(([method]) => method === 'GET')))(
  '%s also works with HEAD and with a trailing slash',
  async (_, row) => {
    const [, path, who] = row;
    const authorization = right[who];
    const head = await ask(full.port, 'HEAD', concrete(path, '64a0'), { headers: { authorization } });
    expect([head.status, head.body.length]).toEqual([200, 0]);
    const slashed = await ask(full.port, 'GET', `${concrete(path, '64a0')}/`, { headers: { authorization } });
    expect(slashed.status).toBe(200);
  },
);

test.each(titled(withCredential))('%s gets 503 before the list of environments is known', async (_, row) => {
  comesLater(await send(unlisted, row));
  comesLater(await send(unlisted, row, 'wrong'));
});

test.each(titled(withCredential))('%s gets 503 before there is data, if it needs data', async (_, row) => {
  const [, , , expected, data] = row;
  if (data) return comesLater(await send(empty, row));
  // Streams on /all and /flags open and stay silent, so there is nothing to await.
  if (expected === 'stream' && !/ping|eval|sdk/.test(row[1])) return;
  expect((await send(empty, row)).status).toBe(expected === 'taken' ? 202 : 200);
});

test.each(titled(withCredential))(
  '%s gets 503 after LaunchDarkly rejected the key, if it needs data',
  async (_, row) => {
    const [, , , expected, data] = row;
    const answer = await send(refused, row);
    if (!data && expected !== 'stream') return expect(answer.status).toBe(expected === 'taken' ? 202 : 200);
    comesLater(answer);
    expect(answer.json().message).toContain('rejects');
  },
);

test.each(titled(withCredential))('%s works after LaunchDarkly rejected the key, if there is data', async (_, row) => {
  full.environment.refused = true;
  try {
    expect((await send(full, row)).status).toBe(row[3] === 'taken' ? 202 : 200);
  } finally {
    full.environment.refused = false;
  }
});

test.each(titled(forBrowsers))('%s answers OPTIONS in every state of the relay', async (_, [method, path]) => {
  for (const server of [full, empty, refused, unlisted]) {
    for (const envId of ['64a0', 'unknown']) {
      const answer = await ask(server.port, 'OPTIONS', concrete(path, envId), {
        headers: { origin: 'https://a.example' },
      });
      expect([answer.status, answer.body.length]).toEqual([200, 0]);
      expect(answer.headers['access-control-allow-origin']).toBe('https://a.example');
      const methods = answer.headers['access-control-allow-methods']?.split(',') ?? [];
      expect(methods).toEqual(
        method === 'GET' || path.includes('events') ? [method, 'OPTIONS'] : ['REPORT', 'POST', 'OPTIONS'],
      );
    }
  }
});

test('endpoints that browsers do not use reject OPTIONS with 405', async () => {
  expect((await ask(full.port, 'OPTIONS', '/all')).status).toBe(405);
  expect((await ask(full.port, 'OPTIONS', '/nothing')).status).toBe(404);
});
