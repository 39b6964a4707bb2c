import { fork } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, get, type IncomingHttpHeaders } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describeResultProblem } from '../../bin/dev/cloudfront.ts';
import { LOCAL_STAGE, type LocalEdge, startLocalEdge } from '../../bin/dev/edge.ts';
import { startLambdaProcess } from '../../bin/dev/lambda-process.ts';
import { close, listen, type SampleOrigins, startSampleOrigins } from '../../bin/dev/sample-origins.ts';
import { runPreview } from '../../bin/preview/run.ts';
import { item, putDelta, putSnapshot } from '../lambda/edge-reader/table-writer.ts';
import { requestEvent } from '../lambda/edge-router/events.ts';
import { startTable, type TestTable } from '../support/dynalite.ts';
import { eventually } from '../support/eventually.ts';
import { pipeOf } from '../support/fake-terminal.ts';

const flag = (canaryPercent: number, version: number) =>
  item('features', {
    key: 'checkout',
    version,
    on: true,
    salt: 'salt',
    variations: ['stable', 'canary'],
    fallthrough: {
      rollout: {
        variations: [
          { variation: 0, weight: (100 - canaryPercent) * 1_000 },
          { variation: 1, weight: canaryPercent * 1_000 },
        ],
      },
    },
  });

let table: TestTable;
let origins: SampleOrigins;
let edge: LocalEdge;
const lines: string[] = [];

beforeAll(async () => {
  table = await startTable();
  origins = await startSampleOrigins(['stable', 'canary']);
  await putSnapshot(table, 'local', [flag(30, 1)], { epoch: 1, seq: 1 });
  edge = await startLocalEdge({
    port: 0,
    table: { endpoint: table.endpoint, name: table.tableName, prefix: 'local' },
    flagKey: 'checkout',
    origins: origins.urls,
    refreshMs: 100,
    log: (line) => void lines.push(line),
  });
});
afterAll(async () => {
  await edge.close();
  await origins.close();
  await table.close();
});

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

function visit(headers: Record<string, string> = {}, url = edge.url): Promise<Answer> {
  return new Promise((resolve, reject) => {
    get(`${url}/some/page?a=b`, { headers, agent: false }, (incoming) => {
      let body = '';
      incoming.on('data', (chunk) => {
        body += chunk;
      });
      incoming.on('end', () => resolve({ status: incoming.statusCode!, headers: incoming.headers, body }));
    }).on('error', reject);
  });
}

const cookieOf = ({ headers }: Answer) => headers['set-cookie']?.[0]?.split(';')[0];

test('a viewer keeps its variant and gets the cookie once @heavy', async () => {
  const first = await visit();
  expect([first.status, lines]).toEqual([200, []]);
  expect(first.headers['set-cookie']![0]).toMatch(
    /^flag-viewer=[0-9a-f-]{36}; Path=\/; Max-Age=34560000; HttpOnly; SameSite=Lax$/,
  );
  const variant = first.headers['x-origin'];
  expect(first.headers['x-flag-decision']).toBe(`checkout=${variant}; reason=FALLTHROUGH`);
  expect(first.body).toContain(`>${variant}</h1>`);
  for (let i = 0; i < 10; i += 1) {
    const again = await visit({ cookie: cookieOf(first)! });
    expect(again.headers['x-origin']).toBe(variant);
    expect(again.headers['set-cookie']).toBeUndefined();
  }
});

test('viewers are split as the flag says, whatever headers they send @heavy', async () => {
  const seen: Record<string, number> = { stable: 0, canary: 0 };
  for (let i = 0; i < 100; i += 1) {
    const { headers } = await visit(i % 2 ? { 'x-flag-variant': 'canary', 'x-flag-decision': 'mine' } : {});
    expect(headers['x-flag-decision']).toBe(`checkout=${headers['x-origin']}; reason=FALLTHROUGH`);
    seen[String(headers['x-origin'])]! += 1;
  }
  // 30 are expected, with a standard deviation of 4.6: once in 10^8 runs it is outside.
  expect(seen.canary).toBeGreaterThan(3);
  expect(seen.canary).toBeLessThan(57);
});

test('a flag change reaches viewers, and the status has its revision', async () => {
  await putDelta(table, 'local', [flag(100, 2)], { epoch: 1, seq: 2 }, { epoch: 1, seq: 1 });
  await eventually(async () => {
    expect(await edge.status()).toMatchObject({
      rev: '000000000000000001.0000000002',
      state: 'ready',
      replica: 'eu-west-1',
    });
  });
  for (let i = 0; i < 5; i += 1) expect((await visit()).headers['x-origin']).toBe('canary');
});

test('a crashed function is restarted for the next request @heavy', async () => {
  const before = edge.pids()['viewer-request']!;
  process.kill(before, 'SIGKILL');
  await eventually(() => expect(edge.pids()['viewer-request']).toBeUndefined());
  expect((await visit()).status).toBe(200);
  expect(edge.pids()['viewer-request']).not.toBe(before);
  expect(lines.join('\n')).toContain('viewer-request exited (SIGKILL)');
});

test('close ends every process and frees the port @heavy', async () => {
  const other = await startLocalEdge({
    port: 0,
    table: { endpoint: table.endpoint, name: table.tableName, prefix: 'local' },
    flagKey: 'checkout',
    origins: { stable: origins.urls.stable! },
  });
  const pids = Object.values(other.pids()) as number[];
  expect(pids).toHaveLength(3);
  await other.close();
  for (const pid of pids) expect(() => process.kill(pid, 0)).toThrow('ESRCH');
  await expect(visit({}, other.url)).rejects.toThrow('ECONNREFUSED');
});

test('without the table, viewers get the default origin and a decision that says why @heavy', async () => {
  const lonely = await startLocalEdge({
    port: 0,
    table: { endpoint: 'http://127.0.0.1:1', name: table.tableName },
    flagKey: 'checkout',
    origins: { canary: origins.urls.canary!, stable: origins.urls.stable! },
    defaultVariant: 'stable',
  });
  try {
    const { headers, status } = await visit({ 'x-flag-variant': 'canary' }, lonely.url);
    expect([status, headers['x-origin'], headers['set-cookie']]).toEqual([200, 'stable', undefined]);
    expect(headers['x-flag-decision']).toBe('checkout=stable; reason=ERROR CLIENT_NOT_READY');
  } finally {
    await lonely.close();
  }
});

test('viewers who refuse cookies keep the variant of their address, if the settings say so @heavy', async () => {
  await putSnapshot(table, 'half', [flag(50, 1)], { epoch: 1, seq: 1 });
  const sticky = await startLocalEdge({
    port: 0,
    table: { endpoint: table.endpoint, name: table.tableName, prefix: 'half' },
    flagKey: 'checkout',
    origins: origins.urls,
    viewer: { without: 'address', epoch: 'b', consent: { cookie: 'consent' } },
  });
  try {
    const refused: Answer[] = [];
    for (let visits = 0; visits < 20; visits += 1) refused.push(await visit({}, sticky.url));
    const [origin] = refused.map(({ headers }) => headers['x-origin']);
    for (const { headers } of refused)
      expect([headers['x-origin'], headers['set-cookie']]).toEqual([origin, undefined]);
    const given = await visit({ cookie: 'consent=1' }, sticky.url);
    expect(given.headers['x-origin']).toBe(origin);
    expect(cookieOf(given)).toMatch(/^flag-viewer=b\.[0-9a-f-]{36}$/);
    const again = await visit({ cookie: `consent=1; ${cookieOf(given)}` }, sticky.url);
    expect([again.headers['x-origin'], again.headers['set-cookie']]).toEqual([origin, undefined]);
  } finally {
    await sticky.close();
  }
});

test('rules redirect, answer, rewrite and set headers, in the built functions too @heavy', async () => {
  const of = (key: string, value: unknown) =>
    item('features', { key, version: 1, on: true, fallthrough: { variation: 0 }, variations: [value] });
  const flags = [of('move', true), of('close', 'closed'), of('search', 'vector'), of('plan', 'gold'), flag(0, 1)];
  await putSnapshot(table, 'rules', flags, { epoch: 1, seq: 1 });
  const site = await startLocalEdge({
    port: 0,
    table: { endpoint: table.endpoint, name: table.tableName, prefix: 'rules' },
    flagKey: 'checkout',
    log: (line) => void lines.push(line),
    origins: origins.urls,
    attributes: { plan: { cookie: 'plan' } },
    rules: [
      {
        when: { path: '/old/*' },
        flagKey: 'move',
        variations: { true: { redirect: { to: '/new/*', status: 307 }, responseHeaders: { 'x-moved': '1' } } },
      },
      {
        when: { path: '/shop/*', method: 'GET', header: { 'x-open': false } },
        flagKey: 'close',
        variations: { closed: { answer: { status: 503, body: 'Closed.' } } },
      },
      {
        when: { path: '/search/*', query: { q: '*' } },
        flagKey: 'search',
        variations: {
          vector: {
            origin: 'canary',
            rewrite: '/received/*',
            requestHeaders: { 'x-search': 'vector' },
            responseHeaders: { 'x-search': 'done' },
          },
        },
      },
      { flagKey: 'plan', variations: { gold: { responseHeaders: { 'x-plan': 'gold' } } } },
    ],
  });
  try {
    const ask = async (path: string, headers: Record<string, string> = {}) => {
      const answer = await fetch(`${site.url}${path}`, { headers, redirect: 'manual' });
      return { status: answer.status, headers: Object.fromEntries(answer.headers), body: await answer.text() };
    };
    expect(await ask('/old/a?x=1')).toMatchObject({
      status: 307,
      headers: {
        location: '/new/a?x=1',
        'x-moved': '1',
        'cache-control': 'no-store',
        'set-cookie': expect.stringMatching(
          /^flag-viewer=[0-9a-f-]{36}; Path=\/; Max-Age=34560000; HttpOnly; SameSite=Lax$/,
        ),
        'x-flag-decision': 'move=true; reason=FALLTHROUGH',
      },
    });
    expect(await ask('/shop/1')).toMatchObject({ status: 503, body: 'Closed.' });
    expect(await ask('/shop/1', { 'x-open': '1' })).toMatchObject({ status: 200, headers: { 'x-origin': 'stable' } });
    const found = await ask('/search/shoes?q=red', { 'x-search': 'guessed' });
    expect(found).toMatchObject({
      status: 200,
      headers: {
        'x-origin': 'canary',
        'x-search': 'done',
        'x-plan': 'gold',
        'x-flag-decision': 'search=vector; reason=FALLTHROUGH, plan=gold; reason=FALLTHROUGH',
      },
    });
    expect(JSON.parse(found.body)).toMatchObject({ url: '/received/shoes?q=red', headers: { 'x-search': 'vector' } });
    expect(await ask('/search/shoes', { 'x-search': 'guessed' })).toMatchObject({
      headers: { 'x-origin': 'stable', 'x-flag-decision': expect.stringMatching(/^plan=gold; .*, checkout=stable; /) },
    });
    expect(lines.filter((line) => line.startsWith('502'))).toEqual([]);
  } finally {
    await site.close();
  }
});

describe('for testers', () => {
  const secret = 'a secret of 16 characters';
  const directory = mkdtempSync(join(tmpdir(), 'testers-'));
  const key = join(directory, 'key.pem');
  const bootstrapFile = join(directory, 'flags.json');
  const closed = { endpoint: 'http://127.0.0.1:1', name: 'flags' };
  const run = async (...args: string[]) => {
    const terminal = pipeOf('');
    expect(await runPreview(args, terminal)).toBe(0);
    return terminal.printed().trim();
  };
  const toOrigins = () => ({
    port: 0,
    flagKey: 'checkout',
    origins: origins.urls,
  });
  let site: LocalEdge;
  beforeAll(async () => {
    await putSnapshot(table, 'testers', [flag(0, 1)], { epoch: 1, seq: 1 });
    site = await startLocalEdge({
      ...toOrigins(),
      table: { endpoint: table.endpoint, name: table.tableName, prefix: 'testers' },
      preview: { publicKeys: [await run('new-key', key)], maxHours: 2 },
      shadow: { header: 'x-load-test', value: secret },
    });
  });
  afterAll(async () => {
    await site.close();
    rmSync(directory, { recursive: true });
  });

  test('a preview link shows the value that it names, in the browser that opened it', async () => {
    expect((await visit({}, site.url)).headers['x-flag-decision']).toBe('checkout=stable; reason=FALLTHROUGH');
    const link = await run('link', LOCAL_STAGE, 'checkout=canary', '--site', site.url, '--key', key, '--for', '1h');
    const opened = await fetch(link, { redirect: 'manual' });
    const cookie = opened.headers.get('set-cookie')?.split(';')[0] ?? '';
    expect([opened.status, cookie.split('=')[0]]).toEqual([302, 'flag-preview']);
    expect((await visit({ cookie }, site.url)).headers).toMatchObject({
      'x-origin': 'canary',
      'x-flag-decision': 'checkout=canary; reason=OVERRIDE',
      'cache-control': 'private, no-store',
    });
    const longer = await run('link', LOCAL_STAGE, 'checkout=canary', '--site', site.url, '--key', key, '--for', '3h');
    expect((await fetch(longer)).status).toBe(403);
  });

  test('shadow traffic is marked for the origin, and only the secret marks it', async () => {
    const received = async (headers: Record<string, string>) => {
      const answer = await fetch(`${site.url}/received`, { headers });
      return ((await answer.json()) as { headers: Record<string, string> }).headers;
    };
    const marked = await received({ 'x-load-test': secret });
    expect([marked['x-flag-shadow'], marked['x-load-test']]).toEqual(['1', undefined]);
    expect((await received({ 'x-flag-shadow': '1', 'x-load-test': 'guessed' }))['x-flag-shadow']).toBeUndefined();
  });

  test('a bootstrap decides while the table cannot be read @heavy', async () => {
    writeFileSync(bootstrapFile, `{"flags":{"checkout":${flag(100, 1).json}}}`);
    const held = await startLocalEdge({ ...toOrigins(), table: closed, bootstrapFile });
    try {
      expect((await visit({}, held.url)).headers).toMatchObject({
        'x-origin': 'canary',
        'x-flag-decision': 'checkout=canary; reason=FALLTHROUGH; source=bootstrap',
      });
    } finally {
      await held.close();
    }
  });

  test('a bootstrap without the flag is refused', async () => {
    writeFileSync(bootstrapFile, '{"flags":{}}');
    await expect(startLocalEdge({ ...toOrigins(), table: closed, bootstrapFile })).rejects.toThrow(
      'it has no flag checkout',
    );
  });
});

describe('the requests that origins get', () => {
  /** An origin that answers with what it got. */
  const startMirror = async (name: string, status = 200) => {
    const server = createServer(async (request, response) => {
      let body = '';
      for await (const chunk of request) body += chunk;
      const { method, url, headers } = request;
      response.writeHead(status, { 'content-type': 'application/json', 'set-cookie': 'login=1; HttpOnly' });
      response.end(JSON.stringify({ name, method, url, headers, body }));
    });
    return { url: await listen(server, 0), close: () => close(server) };
  };
  const mirrors: Record<string, { url: string; close(): Promise<void> }> = {};
  let site: LocalEdge;
  beforeAll(async () => {
    for (const name of ['stable', 'canary', 'api', 'static', 'sorry']) mirrors[name] = await startMirror(name);
    mirrors.broken = await startMirror('broken', 503);
    const url = (name: string) => mirrors[name]!.url;
    site = await startLocalEdge({
      port: 0,
      table: { endpoint: table.endpoint, name: table.tableName, prefix: 'local' },
      flagKey: 'checkout',
      origins: {
        stable: { url: url('stable'), headers: { 'x-origin-key': 'secret' } },
        canary: { url: url('canary'), headers: { 'x-origin-key': 'secret' } },
      },
      otherOrigins: { api: url('api'), static: url('static'), broken: url('broken'), sorry: url('sorry') },
      behaviors: [
        { path: '/api/*', origin: 'api', caching: 'none', forward: 'all' },
        { path: '/static/*', origin: 'static', forward: 'none', methods: 'read' },
        { path: '/broken/*', origin: 'broken', fallback: { origin: 'sorry' } },
      ],
      refreshMs: 100,
      log: (line) => void lines.push(line),
    });
  });
  afterAll(async () => {
    await site.close();
    for (const one of Object.values(mirrors)) await one.close();
  });

  const ask = async (path: string, method = 'GET', body?: string) => {
    const headers = {
      cookie: 'session=1; flag-viewer=6d2f7f3e-3f0a-4b0c-9a51-0d1f1d0c7a11',
      authorization: 'Bearer abc',
      'user-agent': 'Firefox',
      'accept-encoding': 'gzip',
      'x-origin-key': 'guessed',
    };
    const answer = await fetch(`${site.url}${path}`, { method, headers, ...(body !== undefined && { body }) });
    const text = await answer.text();
    return {
      status: answer.status,
      cookies: answer.headers.getSetCookie(),
      got: text.startsWith('{') ? JSON.parse(text) : text,
    };
  };

  test('have cookies, Authorization, User-Agent and the query, the origin’s Host and key, and no key of the viewer’s', async () => {
    const { status, cookies, got } = await ask('/page?a=1', 'POST', 'hello');
    expect([status, cookies]).toEqual([200, ['login=1; HttpOnly']]);
    const { name, method, url, body } = got;
    expect({ method, url, body }).toEqual({ method: 'POST', url: '/page?a=1', body: 'hello' });
    expect(got.headers).toMatchObject({
      host: new URL(mirrors[name]!.url).host,
      cookie: 'flag-viewer=6d2f7f3e-3f0a-4b0c-9a51-0d1f1d0c7a11; session=1',
      authorization: 'Bearer abc',
      'user-agent': 'Firefox',
      'accept-encoding': 'gzip',
      'x-origin-key': 'secret',
      'x-flag-variant': name,
      'x-forwarded-for': expect.stringMatching(/127\.0\.0\.1$/),
      'x-amz-cf-id': expect.any(String),
      via: expect.stringContaining('CloudFront'),
    });
  });

  test('are those of the first behavior whose path matches: by the flag or to a fixed origin', async () => {
    const api = await ask('/api/users?x=1');
    expect(api.got).toMatchObject({
      name: 'api',
      headers: { host: new URL(site.url).host, authorization: 'Bearer abc' },
    });
    expect(api.got.headers).not.toHaveProperty('x-flag-variant');
    expect(api.cookies).toEqual(['login=1; HttpOnly']);

    const { got, cookies } = await ask('/static/a.css');
    expect(got).toMatchObject({ name: 'static', headers: { 'user-agent': 'Amazon CloudFront' } });
    expect(got.headers).not.toHaveProperty('cookie');
    expect(cookies).toEqual([]);
    expect(await ask('/static/a.css', 'POST', 'x')).toMatchObject({
      status: 403,
      got: expect.stringContaining('only GET, HEAD'),
    });
  });

  test('go to the fallback when the first origin fails', async () => {
    expect(await ask('/broken/page')).toMatchObject({ status: 200, got: { name: 'sorry', url: '/broken/page' } });
    expect(await ask('/broken/page', 'OPTIONS')).toMatchObject({ status: 503, got: { name: 'broken' } });
    await mirrors.broken!.close();
    expect(await ask('/broken/page')).toMatchObject({ status: 200, got: { name: 'sorry' } });
  });

  test('go to the fallback of their own origin when it fails, in a behavior with a fallback @heavy', async () => {
    const url = (name: string) => mirrors[name]!.url;
    await putSnapshot(table, 'all-canary', [flag(100, 1)], { epoch: 1, seq: 1 });
    const failing = await startMirror('failing', 503);
    const grouped = await startLocalEdge({
      port: 0,
      table: { endpoint: table.endpoint, name: table.tableName, prefix: 'all-canary' },
      flagKey: 'checkout',
      origins: { stable: url('stable'), canary: { url: failing.url, fallback: 'stable' } },
      otherOrigins: { sorry: url('sorry') },
      behavior: { fallback: { origin: 'sorry' } },
    });
    try {
      const answer = await fetch(`${grouped.url}/page`);
      expect([answer.headers.get('x-flag-decision'), ((await answer.json()) as { name: string }).name]).toEqual([
        'checkout=canary; reason=FALLTHROUGH',
        'stable',
      ]);
    } finally {
      await grouped.close();
      await failing.close();
    }
  });

  test('are not sent by an edge whose settings a stage file could not have', async () => {
    const options = { port: 0, table: { endpoint: table.endpoint, name: table.tableName }, flagKey: 'checkout' };
    const wrong = { origins: { stable: 'http://127.0.0.1:22' }, behaviors: [{ path: '/a', origin: 'nowhere' }] };
    await expect(startLocalEdge({ ...options, ...wrong })).rejects.toThrow('origins.stable.port=22 is invalid');
  });
});

describe("an edge function's process", () => {
  const directory = mkdtempSync(join(tmpdir(), 'lambda-process-'));
  afterAll(() => rmSync(directory, { recursive: true }));
  const host = join(directory, 'host.cjs');
  const file = join(directory, 'function.cjs');
  writeFileSync(
    file,
    `exports.handler = async (event) => {
       if (event === 'throw') throw new RangeError('oops');
       if (event === 'crash') process.exit(3);
       if (event === 'hang') return new Promise(() => {});
       return { env: Object.keys(process.env).sort(), memory: require('v8').getHeapStatistics().heap_size_limit, event };
     };`,
  );

  beforeAll(async () => {
    const { build } = await import('esbuild');
    const entryPoints = [join(import.meta.dirname, '../../bin/dev/edge-child.ts')];
    await build({ entryPoints, outfile: host, bundle: true, format: 'cjs', platform: 'node', target: 'node20' });
  });

  test('has the variables and memory that Lambda provides, and no other variables @heavy', async () => {
    const lambda = startLambdaProcess({
      name: 'f',
      host,
      file,
      region: 'sa-east-1',
      memoryMb: 128,
      timeoutMs: 9_000,
      log() {},
    });
    const { env, memory } = (await lambda.invoke('x')) as { env: string[]; memory: number };
    expect(env.filter((name) => !/^(AWS_|LANG$|TZ$|NODE_CHANNEL_)/.test(name))).toEqual([]);
    expect(env).toEqual(expect.arrayContaining(['AWS_REGION', 'AWS_SESSION_TOKEN', 'AWS_LAMBDA_FUNCTION_NAME']));
    expect(memory).toBeLessThan(150 * 1024 * 1024);
    await lambda.close();
  });

  test('reports exceptions, crashes and timeouts as different errors, and recovers from each @heavy', async () => {
    const lambda = startLambdaProcess({
      name: 'f',
      host,
      file,
      region: 'sa-east-1',
      memoryMb: 128,
      timeoutMs: 4_000,
      log() {},
    });
    await expect(lambda.invoke('throw')).rejects.toThrow('f threw RangeError: oops');
    await expect(lambda.invoke('crash')).rejects.toThrow('f crashed (3)');
    await expect(lambda.invoke('x')).resolves.toMatchObject({ event: 'x' });
    await expect(lambda.invoke('hang')).rejects.toThrow('f timed out after 4000 ms');
    await expect(lambda.invoke('x')).resolves.toMatchObject({ event: 'x' });
    await lambda.close();
  });

  test('ends when its parent is killed @heavy', async () => {
    const parent = join(directory, 'parent.cjs');
    writeFileSync(
      parent,
      `const child = require('child_process').fork(${JSON.stringify(host)}, [${JSON.stringify(file)}]);
       child.send({ id: 1, call: 'handler', event: 'x' }); child.on('message', () => process.send(child.pid));`,
    );
    const killed = fork(parent, { execArgv: [] });
    const pid = await new Promise<number>((resolve) => killed.once('message', (message) => resolve(Number(message))));
    killed.kill('SIGKILL');
    await eventually(() => expect(() => process.kill(pid, 0)).toThrow('ESRCH'));
  });
});

describe('the check of results', () => {
  const { request } = requestEvent('viewer-request').Records[0]!.cf;
  const before = request.headers;
  const withHeader = (name: string, value: unknown) => ({ ...request, headers: { ...before, [name]: value } });
  const pair = [{ key: 'a', value: 'b' }];

  test.each([
    ['nothing', undefined, /must be a request or a response/],
    [
      'a forbidden header',
      withHeader('x-edge-thing', [{ key: 'X-Edge-Thing', value: 'b' }]),
      /x-edge-thing is forbidden/,
    ],
    ['an upper-case key', withHeader('X-A', [{ key: 'X-A', value: 'b' }]), /lower case/],
    ['a header that is not a list', withHeader('a', 'b'), /must be a list/],
    ['a value that is not a string', withHeader('a', [{ key: 'a', value: 1 }]), /must be a string/],
    ['a pair with another name', withHeader('b', pair), /is another header/],
    ['a changed Host', withHeader('host', [{ key: 'Host', value: 'evil' }]), /host is read-only in viewer-request/],
    ['a uri without a slash', { ...request, uri: 'x' }, /uri "x"/],
    ['a query with a space', { ...request, querystring: 'a=b c' }, /must not contain spaces/],
    ['a long URL', { ...request, uri: `/${'a'.repeat(8_191)}` }, /fewer than 8192 characters/],
    ['a country of its own', withHeader('cloudfront-viewer-country', [{ value: 'DE' }]), /must not be added/],
    ["a viewer's certificate", withHeader('client-cert', [{ value: 'x' }]), /client-cert is forbidden/],
    ['a response with a status out of range', { status: '99' }, /status "99"/],
    ['a 204 with a body', { status: '204', body: 'x' }, /no body/],
    ['a body above the limit', { status: '200', body: 'x'.repeat(41_000) }, /viewer-request allows 40960/],
  ])('rejects %s', (_, result, problem) => {
    expect(describeResultProblem('viewer-request', result, before)).toMatch(problem);
  });

  const custom = requestEvent('origin-request').Records[0]!.cf.request.origin!.custom!;
  test.each([
    ['port 22', { port: 22 }, /origin\.custom\.port=22 is invalid: expected 80, 443/],
    ['a read timeout of 0', { readTimeout: 0 }, /origin\.custom\.readTimeout=0 is invalid/],
    ['an address', { domainName: '10.0.0.1' }, /origin\.custom\.domainName="10\.0\.0\.1" is invalid/],
    ['a forbidden header of its own', { customHeaders: { via: [{ value: 'x' }] } }, /header "via" is invalid/],
    [
      'a header twice',
      { customHeaders: { accept: [{ value: 'x' }] } },
      /header accept is in origin\.custom\.customHeaders and/,
    ],
  ])('rejects an origin with %s', (_, change, problem) => {
    const changed = { ...request, origin: { custom: { ...custom, ...change } } };
    expect(describeResultProblem('origin-request', changed, before)).toMatch(problem);
    expect(describeResultProblem('origin-request', { ...request, origin: { custom } }, before)).toBeUndefined();
  });

  test('accepts a valid request and a valid response', () => {
    expect(describeResultProblem('viewer-request', withHeader('a', pair), before)).toBeUndefined();
    expect(describeResultProblem('viewer-request', { status: 302, headers: {} }, before)).toBeUndefined();
  });

  test('rejects a viewer-response that changes the status', () => {
    const response = { status: '201', statusDescription: '', headers: {} };
    expect(describeResultProblem('viewer-response', response, {}, '200')).toMatch(/may not change the status/);
  });
});
