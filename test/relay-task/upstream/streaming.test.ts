import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import process from 'node:process';
import type { UpstreamStatus } from '../../../relay-task/ports.ts';
import { createOutbound } from '../../../relay-task/upstream/outbound.ts';
import { type StreamingOptions, startStreaming } from '../../../relay-task/upstream/streaming.ts';
import { roomy, turnsOfLoop, until } from '../../support/eventually.ts';
import { startFakeFDv2 } from '../../support/fake-fdv2.ts';
import { type FakeUpstream, startFakeUpstream } from '../../support/fake-upstream.ts';
import { tombstone } from '../../support/items.ts';
import { createLogRecorder } from '../../support/logs.ts';
import { closeAfterEach } from '../../support/opened.ts';
import { countSlicedTurns } from '../../support/sliced-turns.ts';
import { createSinkRecorder, fdv1, flagData, segmentData } from './support.ts';

const SDK_KEY = 'sdk-0a1b2c3d-do-not-show-me-anywhere';

const { behind } = closeAfterEach();

async function startUpstream(...args: Parameters<typeof startFakeUpstream>) {
  const upstream = await startFakeUpstream(...args);
  behind(() => upstream.close());
  return upstream;
}

function listen(upstream: Pick<FakeUpstream, 'uri'>, more: Partial<StreamingOptions> = {}) {
  const recorder = createSinkRecorder();
  const { log, lines } = createLogRecorder();
  const statuses: UpstreamStatus[] = [];
  const stream = startStreaming({
    ...fdv1,
    streamUri: upstream.uri,
    sdkKey: SDK_KEY,
    sink: recorder.sink,
    log,
    userAgent: 'EdgeFlagRelay/1.2.3',
    onStatus: (status) => void statuses.push(status),
    backoff: { firstMs: 10, maxMs: 40 },
    refusedBackoff: { firstMs: 10, maxMs: 40 },
    ...more,
  });
  behind(() => stream.close());
  return { ...recorder, stream, statuses, lines };
}

describe('the request for a stream', () => {
  test('asks for /all with the headers of a LaunchDarkly SDK and without compression', async () => {
    const upstream = await startUpstream();
    const { puts } = listen(upstream);
    await until('a put', () => puts.length === 1);
    const [request] = upstream.requests;
    expect(request).toMatchObject({ method: 'GET', url: '/all' });
    expect(request?.headers).toMatchObject({
      authorization: SDK_KEY,
      'user-agent': 'EdgeFlagRelay/1.2.3',
      accept: 'text/event-stream',
      'cache-control': 'no-cache',
    });
    expect(Object.keys(request?.headers ?? {})).not.toContain('accept-encoding');
    expect(Object.keys(request?.headers ?? {}).filter((name) => name.startsWith('x-launchdarkly'))).toEqual([]);
  });

  test.each([
    ['', undefined, '/all'],
    ['/', undefined, '/all'],
    ['/base/path//', undefined, '/base/path/all'],
    ['/base', 'only mine&yours', '/base/all?filter=only%20mine%26yours'],
  ])('with the path %j and the filter %j is for %s', async (path, filter, url) => {
    const upstream = await startUpstream();
    listen({ uri: upstream.uri + path }, { ...(filter && { filter }) });
    await upstream.requested(1);
    expect(upstream.requests[0]?.url).toBe(url);
  });

  test.each(['stream.launchdarkly.com', 'ftp://x', ''])('to %j is rejected at once', (uri) => {
    expect(() => listen({ uri })).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }));
  });
});

describe('an upstream message', () => {
  test('is delivered byte for byte, with tombstones completed and null entries left out', async () => {
    const upstream = await startUpstream();
    upstream.answer = 'silent';
    const { puts, stream } = listen(upstream);
    await upstream.connected(1);
    const a = JSON.stringify(flagData('a', 1)).replace(
      '"version":1',
      ' "version":3.0 ,"future":[12345678901234567890,1.50,"\\u00e9 é 🏁"]',
    );
    await upstream.send(
      `event: put\ndata: {"path":"/","data":{"segments":{"s":${JSON.stringify(segmentData('s', 2))}},\n` +
        `data: "flags":{"a":${a},"none":null,"x":{"key":"x","version":4,"deleted":true}}}}\n\n`,
    );
    await until('a put', () => puts.length === 1);
    expect(puts[0]?.unreadable).toEqual([]);
    expect(puts[0]?.items).toEqual([
      { kind: 'segments', key: 's', version: 2, deleted: false, json: JSON.stringify(segmentData('s', 2)) },
      { kind: 'features', key: 'a', version: 3, deleted: false, json: a },
      tombstone('features', 'x', 4),
    ]);
    expect(stream.status()).toMatchObject({ state: 'VALID', current: true, refused: false });
  });

  test.each([1, 2, 3, 7, 64])(
    'arrives intact in chunks of %i bytes that split characters and line ends',
    async (chunkBytes) => {
      const flags = { 'flag-é-🏁': flagData('flag-é-🏁', 1, { variations: ['ü', '日本語', '🏁🏁'] }) };
      const upstream = await startUpstream({ flags });
      upstream.greetChunkBytes = chunkBytes;
      const { puts, upserts } = listen(upstream);
      await until('a put', () => puts.length === 1);
      expect(puts[0]?.items[0]?.json).toBe(JSON.stringify(flags['flag-é-🏁']));
      const patched = flagData('flag-é-🏁', 2, { variations: ['ß'] });
      const body = JSON.stringify({ path: '/flags/flag-é-🏁', data: patched });
      await upstream.send(`:\r\nevent: patch\r\ndata: ${body}\r\n\r\n:\r\n`, { chunkBytes });
      await until('a patch', () => upserts.length === 1);
      expect(upserts[0]).toMatchObject({ key: 'flag-é-🏁', version: 2, json: JSON.stringify(patched) });
    },
  );

  test('with a patch or delete is delivered item by item, including keys with slashes', async () => {
    const upstream = await startUpstream();
    const { puts, upserts } = listen(upstream);
    await until('a put', () => puts.length === 1);
    await upstream.patch('flags', flagData('a/b', 2));
    await upstream.patch('segments', segmentData('s', 3));
    await upstream.delete('flags', 'a/b', 4);
    await upstream.event('patch', { path: '/flags/gone', data: { key: 'gone', version: 9, deleted: true } });
    await until('four changes', () => upserts.length === 4);
    expect(upserts.map(({ kind, key, version, deleted }) => [kind, key, version, deleted])).toEqual([
      ['features', 'a/b', 2, false],
      ['segments', 's', 3, false],
      ['features', 'a/b', 4, true],
      ['features', 'gone', 9, true],
    ]);
    expect(upserts.slice(2)).toEqual([tombstone('features', 'a/b', 4), tombstone('features', 'gone', 9)]);
  });

  test('without default fields is completed, with unknown fields and numbers as they were sent', async () => {
    const upstream = await startUpstream();
    upstream.answer = 'silent';
    const { puts, upserts } = listen(upstream);
    await upstream.connected(1);
    const sparse =
      '{"key":"a","version":2,"on":true,"later":1.0,"variations":[1.50],"rules":[{"clauses":[{"op":"in","values":[1e2]}]}]}';
    const {
      rules: _,
      variations: __,
      ...rest
    } = { ...flagData('a', 2, { salt: '', offVariation: null }), fallthrough: {} };
    await upstream.send(
      `event: put\ndata: {"path":"/","data":{"flags":{"a":${sparse},"b":{"key":"b","version":0}},\n` +
        'data: "segments":{"s":{"key":"s","version":1,"included":["x"],"excluded":null}}}}\n\n',
    );
    await until('a put', () => puts.length === 1);
    const [segment, a, b] = puts[0]!.items;
    const clause = { attribute: '', op: 'in', values: [100], negate: false };
    expect(JSON.parse(a!.json)).toEqual({
      ...{ ...rest, later: 1, variations: [1.5], rules: [{ clauses: [clause], trackEvents: false }] },
    });
    for (const bytes of ['"later":1.0', '"variations":[1.50]', '"values":[1e2]']) expect(a!.json).toContain(bytes);
    expect(JSON.parse(b!.json)).toEqual({ ...JSON.parse(tombstone('features', 'b', 0).json), deleted: false });
    expect(JSON.parse(segment!.json)).toEqual(segmentData('s', 1, { salt: '', included: ['x'] }));
    await upstream.send(
      `event: patch\ndata: {"path":"/flags/a","data":${sparse.replace('"version":2', '"version":3')}}\n\n`,
    );
    await until('a patch', () => upserts.length === 1);
    expect(upserts[0]!.json).toBe(a!.json.replace('"version":2', '"version":3'));
  });

  test.each([
    ['without a path', {}],
    ['with an empty path', { path: '' }],
    ['with no path but null', { path: null }],
  ])('that is a put %s holds everything', async (_what, path) => {
    const upstream = await startUpstream();
    upstream.answer = 'silent';
    const { puts, stream, lines } = listen(upstream);
    await upstream.connected(1);
    await upstream.event('put', { ...path, data: { flags: { a: flagData('a', 1) }, segments: {} } });
    await until('a put', () => puts.length === 1);
    expect(puts[0]?.items.map(({ key }) => key)).toEqual(['a']);
    expect(stream.status().state).toBe('VALID');
    expect(lines.filter((line) => line.includes('Ignored'))).toEqual([]);
  });

  test('that is ignored is logged once with its reason, and what follows is delivered', async () => {
    const upstream = await startUpstream();
    const { puts, upserts, lines, skipped } = listen(upstream);
    await until('a put', () => puts.length === 1);
    for (const round of [1, 2]) {
      await upstream.event('indirect/put', 'not json at all');
      await upstream.event('put', { path: '/elsewhere', data: { flags: {} } });
      await upstream.event('patch', { path: '/metrics/a', data: 1 });
      await upstream.event('delete', { path: '/metrics/a', version: 1 });
      await upstream.event('delete', { path: '/segments/', version: 1 });
      await upstream.send('retry: x\nunknown: y\n: comment\ndata: {"no":"event"}\n\n');
      await upstream.patch('flags', flagData('a', round));
      await until('a patch', () => upserts.length === round);
    }
    expect([puts.length, upstream.connections, skipped]).toEqual([1, 1, []]);
    expect(upserts.map(({ key }) => key)).toEqual(['a', 'a']);
    const ignored = (message: string) =>
      lines.filter((line) => line.startsWith(message)).map((line) => JSON.parse(line.slice(message.length)).reason);
    expect(ignored('LaunchDarkly stream: ignored a line that is not part of an event')).toEqual([
      'Invalid `retry` value: "x"',
      'Unknown field "unknown"',
    ]);
    expect(ignored('Ignored a message from LaunchDarkly')).toEqual([
      'an event of the unknown kind "indirect/put"',
      'a put for the path "/elsewhere"',
      'a patch for the path "/metrics/a"',
      'a delete for the path "/metrics/a"',
      'a delete for the path "/segments/"',
      'an event of the unknown kind "message"',
    ]);
  });

  test('from a server that does not send events at all leaves one line that says so', async () => {
    const upstream = await startUpstream();
    upstream.answer = { status: 200, body: '<html>\n<p>Sign in to this network</p>\n</html>\n' };
    const { lines } = listen(upstream);
    await upstream.requested(3);
    const ignored = lines.filter((line) => line.startsWith('LaunchDarkly stream: ignored a line'));
    expect(ignored[0]).toContain('Unknown field \\"<html>\\"');
    expect(new Set(ignored).size).toBe(ignored.length);
  });

  test('for other events, paths or fields is ignored', async () => {
    const upstream = await startUpstream();
    const { puts, upserts, statuses } = listen(upstream);
    await until('a put', () => puts.length === 1);
    await upstream.event('indirect/put', 'not json at all');
    await upstream.event('put', { path: '/elsewhere', data: 'whatever' });
    await upstream.event('patch', { path: '/metrics/a', data: 1 });
    await upstream.event('delete', { path: '/metrics/a', version: 1 });
    await upstream.send('retry: x\nunknown: y\n: comment\ndata: {"no":"event"}\n\n');
    await upstream.patch('flags', flagData('a', 2));
    await until('a patch', () => upserts.length === 1);
    expect([puts.length, upstream.connections]).toEqual([1, 1]);
    expect(statuses.map(({ state }) => state)).toEqual(['VALID']);
  });

  test('with invalid items skips them by name and delivers the others', async () => {
    const upstream = await startUpstream({
      flags: {
        good: flagData('good', 1),
        renamed: flagData('other', 1),
        bad: flagData('bad', 1, { rules: 'none' }),
        unversioned: { key: 'unversioned', on: true },
        half: flagData('half', 1.5),
        list: [],
        '': flagData('', 1),
        '\ud800': flagData('\ud800', 1),
        '\udc01': flagData('\udc01', 1),
      },
      segments: { s: segmentData('s', 1, { included: 7 }), t: segmentData('t', 1) },
    });
    const { puts, skipped, upserts, lines } = listen(upstream);
    await until('a put', () => puts.length === 1);
    expect(puts[0]?.items.map(({ key }) => key)).toEqual(['t', 'good']);
    expect(puts[0]?.unreadable).toEqual([
      { kind: 'segments', key: 's', reason: expect.stringContaining('included') },
      { kind: 'features', key: 'renamed', reason: 'key must be "renamed" as in the map that holds it, not "other"' },
      { kind: 'features', key: 'bad', reason: expect.stringContaining('rules') },
      { kind: 'features', key: 'unversioned', reason: 'version must be a whole number from 0, not missing' },
      { kind: 'features', key: 'half', reason: 'version must be a whole number from 0, not 1.5' },
      { kind: 'features', key: 'list', reason: 'must be an object, not a list' },
      { kind: 'features', key: '', reason: 'key must not be empty' },
      { kind: 'features', key: '\ud800', reason: expect.stringContaining('half of a surrogate pair') },
      { kind: 'features', key: '\udc01', reason: expect.stringContaining('half of a surrogate pair') },
    ]);
    await upstream.patch('flags', flagData('good', 2, { variations: {} }));
    await upstream.patch('flags', flagData('\ud800', 3));
    await upstream.event('delete', { path: '/flags/\ud800', version: 4 });
    await upstream.patch('flags', flagData('good', 3));
    await until('a patch', () => upserts.length === 1);
    expect(skipped).toEqual([
      { kind: 'features', key: 'good', reason: expect.stringContaining('variations') },
      { kind: 'features', key: '\ud800', reason: expect.stringContaining('half of a surrogate pair') },
      { kind: 'features', key: '\ud800', reason: expect.stringContaining('half of a surrogate pair') },
    ]);
    expect(upstream.connections).toBe(1);
    expect(lines.filter((line) => line.includes('Item is invalid and was ignored'))).toHaveLength(10);
  });

  test('with an invalid item leaves a line when it becomes invalid or its reason changes, whatever is repeated', async () => {
    const bad = flagData('bad', 1, { rules: 'none' });
    const [badly, worse] = [7, 8].map((rules) => ({ ...bad, rules }));
    const upstream = await startUpstream({ flags: { bad, a: flagData('a', 1) } });
    const { puts, upserts, skipped, lines } = listen(upstream, {
      held: (_, key) => upserts.find((one) => one.key === key),
    });
    await until('a put', () => puts.length === 1);
    await upstream.patch('flags', flagData('a', 2));
    for (let round = 0; round < 100; round += 1) await upstream.patch('flags', bad);
    await upstream.put({ flags: { bad, a: flagData('a', 2) }, segments: {} });
    await until('another put', () => puts.length === 2);
    for (let round = 0; round < 2; round += 1) await upstream.patch('flags', badly ?? bad);
    await upstream.patch('flags', flagData('a', 3, { rules: 7 }));
    await upstream.patch('flags', flagData('bad', 4));
    await until('a patch', () => upserts.length === 2);
    await upstream.patch('flags', worse ?? bad);
    await until('the last one', () => skipped.length === 104);
    const told = lines.flatMap((line) => /^Item is invalid and was ignored; (.*) (\{.*)/.exec(line)?.[1] ?? []);
    const [nothing, previous] = ['nothing is served for it', 'still serving its previous version'];
    // Its key was told a moment ago when it had become valid.
    expect(told).toEqual([nothing, nothing, previous]);
  });

  test('with many invalid items names ten of them and counts the others, once @heavy', async () => {
    const flags = Object.fromEntries(
      Array.from({ length: 1_000 }, (_, at) => [`f${at}`, flagData(`f${at}`, 1, { rules: 5 })]),
    );
    const upstream = await startUpstream({ flags });
    const { puts, lines } = listen(upstream);
    await until('a put', () => puts.length === 1);
    for (const count of [2, 3, 4]) {
      upstream.end();
      await until('another put', () => puts.length === count);
    }
    const told = lines.filter((line) => line.includes('invalid and'));
    expect(told).toHaveLength(11);
    expect(told.at(-1)).toBe(
      'More items are invalid and were ignored; /status lists the first of them {"items":990,"runbook":"operations.md#unreadable-items"}',
    );
    expect(lines.filter((line) => line.startsWith('Received the full flag set'))).toHaveLength(4);
  });

  test('with everything over and over leaves few lines, and another one after a reconnect', async () => {
    const upstream = await startUpstream({ flags: { a: flagData('a', 1) } });
    const { puts, lines } = listen(upstream);
    await upstream.connected(1);
    for (let round = 0; round < 200; round += 1) await upstream.put(upstream.data);
    await until('all puts', () => puts.length === 201);
    const received = () => lines.filter((line) => line.startsWith('Received the full flag set'));
    expect(received()).toHaveLength(4);
    upstream.cut();
    await until('the put after the reconnect', () => puts.length === 202);
    expect(received()).toHaveLength(5);
  });

  test('with an endless reason or path is cut in the status', async () => {
    const upstream = await startUpstream();
    const { statuses } = listen(upstream);
    await upstream.connected(1);
    await upstream.event('patch', { path: `/flags/${'k'.repeat(100_000)}` });
    await until('a failure', () => statuses.some(({ lastError }) => lastError));
    expect(statuses.at(-1)?.lastError?.message.length).toBeLessThan(1_100);
  });

  test.each([
    ['a put that is not JSON', 'put', '{"path":"/","data":{"flags":{}'],
    ['a put without flags', 'put', '{"path":"/","data":{"segments":{}}}'],
    ['a put with a list of flags', 'put', '{"path":"/","data":{"flags":[]}}'],
    ['a put with a list of segments', 'put', '{"path":"/","data":{"flags":{},"segments":[]}}'],
    ['a put of null', 'put', 'null'],
    ['a patch that is not JSON', 'patch', '{'],
    ['a patch without a path', 'patch', '{"data":{}}'],
    ['a patch without data', 'patch', '{"path":"/flags/a"}'],
    ['a delete without a version', 'delete', '{"path":"/flags/a"}'],
  ])('with %s reconnects, delivers nothing of it and recovers', async (_what, event, data) => {
    const upstream = await startUpstream({ flags: { a: flagData('a', 1) } });
    const { puts, upserts, statuses, stream } = listen(upstream);
    await until('a put', () => puts.length === 1);
    const after = `event: delete\ndata: {"path":"/flags/a","version":9}\n\n`;
    await upstream.send(`event: ${event}\ndata: ${data}\n\n${after}`);
    await until('another put', () => puts.length === 2);
    await until('recovery', () => stream.status().state === 'VALID');
    expect(upserts).toEqual([]);
    expect(statuses.map(({ state, current }) => [state, current])).toEqual([
      ['VALID', true],
      ['INTERRUPTED', false],
      ['VALID', true],
    ]);
    expect(stream.status().lastError).toMatchObject({ kind: 'INVALID_DATA' });
  });

  test('without an end is cut off at the limit', async () => {
    const upstream = await startUpstream();
    upstream.answerNext('silent');
    const { puts, statuses } = listen(upstream, { maxReceivedBytes: 1_000 });
    await upstream.connected(1);
    await upstream.send(`data: ${'x'.repeat(2_000)}`);
    await until('a put on the next stream', () => puts.length === 1);
    expect(statuses[0]?.lastError).toMatchObject({ kind: 'INVALID_DATA', message: expect.stringContaining('1000') });
  });

  test.each([
    [
      'flags that are small as they come, and large once they are complete',
      { maxReceivedBytes: 20_000 },
      40,
      '{}',
      'the whole set',
    ],
    ['more flags than memory can take', { maxReceivedBytes: 20_000 }, 100, '1', 'more than 312 values'],
  ])('with %s changes nothing, and says so', async (_, options, count, item, problem) => {
    const upstream = await startUpstream({ flags: { a: flagData('a', 1) } });
    upstream.answerNext('silent');
    const { puts, statuses } = listen(upstream, options);
    await upstream.connected(1);
    const flags = Array.from(
      { length: count },
      (_, at) => `"f${at}":${item === '{}' ? `{"key":"f${at}","version":1}` : item}`,
    );
    await upstream.send(`event: put\ndata: {"data":{"flags":{${flags.join(',')}}}}\n\n`);
    await until('a put on the next stream', () => puts.length === 1);
    expect(puts[0]?.items.map(({ key }) => key)).toEqual(['a']);
    expect(statuses[0]?.lastError?.message).toContain(problem);
  });

  test('with values that nest too deep, or that are too many, costs the flag', async () => {
    const deep = `${'['.repeat(2_000)}${']'.repeat(2_000)}`;
    const many = `[${Array(2_000).fill('{}').join(',')}]`;
    const withValue = (value: string) => JSON.stringify(flagData('deep', 2)).replace('[true', `[${value}`);
    const upstream = await startUpstream();
    upstream.greetingFor = () =>
      `event: put\ndata: {"data":{"flags":{"deep":${withValue(deep)},"good":${JSON.stringify(flagData('good', 1))}}}}\n\n`;
    const { puts, upserts, skipped } = listen(upstream, { maxReceivedBytes: 100_000 });
    await until('a put', () => puts.length === 1);
    expect(puts[0]?.items.map(({ key }) => key)).toEqual(['good']);
    const tooDeep = { kind: 'features', key: 'deep', reason: expect.stringContaining('more than 1562 values') };
    expect(puts[0]?.unreadable).toEqual([tooDeep]);
    for (const value of [deep, many])
      await upstream.send(`event: patch\ndata: {"path":"/flags/deep","data":${withValue(value)}}\n\n`);
    await upstream.patch('flags', flagData('good', 2));
    await until('a patch', () => upserts.length === 1);
    expect(skipped).toEqual([tooDeep, { ...tooDeep, reason: expect.stringContaining('more than 1562 values') }]);
    expect(upstream.connections).toBe(1);
  });

  test('of many small events is read over many turns of the event loop @heavy', async () => {
    const upstream = await startUpstream();
    upstream.answerNext('silent');
    const { upserts } = listen(upstream);
    await upstream.connected(1);
    const sliced = countSlicedTurns();
    try {
      await upstream.send('data\n\n'.repeat(5_000));
      await upstream.patch('flags', flagData('a', 1));
      await until('a patch', () => upserts.length === 1);
      expect(sliced.turns).toBeGreaterThan(1_000);
    } finally {
      sliced.stop();
    }
  });
});

test.each(['data\n\n', 'event: x\ndata: y\n\n'])(
  'the system is not asked for its limits for each event %j',
  async (event) => {
    const upstream = await startUpstream();
    const { puts } = listen(upstream);
    await until('a put', () => puts.length === 1);
    const asked = jest.spyOn(process, 'constrainedMemory');
    try {
      await upstream.send(event.repeat(1_000));
      await upstream.put({ flags: { a: flagData('a', 2) }, segments: {} });
      await until('the put behind them', () => puts.length === 2);
      expect(asked).not.toHaveBeenCalled();
    } finally {
      asked.mockRestore();
    }
  },
);

describe('a large set', () => {
  /** Too long to be read in one turn. */
  const many = (from: number, count = 500) =>
    Object.fromEntries(
      Array.from({ length: count }, (_, at) => [`flag-${from + at}`, flagData(`flag-${from + at}`, 1)]),
    );
  const putOf = (flags: object) =>
    `event: put\ndata: ${JSON.stringify({ path: '/', data: { flags, segments: {} } })}\n\n`;
  const patchOf = (key: string, version: number) =>
    `event: patch\ndata: ${JSON.stringify({ path: `/flags/${key}`, data: flagData(key, version) })}\n\n`;

  test('is read over many turns of the event loop, before what follows it and before the end of its stream @heavy', async () => {
    const upstream = await startUpstream();
    upstream.answerNext('silent');
    const arrivals: string[] = [];
    const sliced = countSlicedTurns();
    try {
      const { sink } = createSinkRecorder();
      listen(upstream, {
        sink: {
          ...sink,
          put: (items) => void arrivals.push(`put of ${items.length} after ${sliced.turns - turnsBefore} turns`),
          upsert: ({ key, version }) => void arrivals.push(`${key} ${version}`),
        },
        onStatus: ({ state }) => void arrivals.push(state),
      });
      await upstream.connected(1);
      const turnsBefore = sliced.turns;
      void upstream.send(putOf(many(0)) + patchOf('flag-7', 2) + putOf(many(100)) + patchOf('flag-8', 3));
      upstream.end();
      await until('the stream to be opened again', () => upstream.connections === 2);
      const turns = arrivals.flatMap((line) => (line.startsWith('put') ? Number(/after (\d+)/.exec(line)?.[1]) : []));
      expect(turns.filter((count) => count < 200)).toEqual([]);
    } finally {
      sliced.stop();
    }
    const expected = ['put of 500', 'VALID', 'flag-7 2', 'put of 500', 'flag-8 3', 'INTERRUPTED'];
    expect(arrivals.slice(0, 6).map((line) => line.replace(/ after.*/, ''))).toEqual(expected);
  });

  test('is read alone, however many streams have one at the same time @heavy', async () => {
    const upstream = await startUpstream({ flags: many(0, 1_000) });
    upstream.greetChunkBytes = 50_000;
    const reads: number[] = [];
    const sliced = countSlicedTurns();
    try {
      const streams = [1, 2, 3, 4].map((stream) =>
        listen(upstream, { held: () => void (reads.at(-1) === stream || reads.push(stream)) }),
      );
      for (const { puts } of streams) await until('a put', () => puts.length === 1);
    } finally {
      sliced.stop();
    }
    // Each one from its first item to its last.
    expect([...reads].sort()).toEqual([1, 2, 3, 4]);
  });

  /** Sends one byte after the other. */
  function drip(upstream: FakeUpstream) {
    const timer = setInterval(() => void upstream.send('x'), 5);
    const stop = () => clearInterval(timer);
    behind(stop);
    return { stop };
  }
  /** A put in two parts, and its end is in the second. What drips between them is part of a text. */
  const large = putOf({ x: flagData('x', 1, { description: 'x'.repeat(400_000) }) });
  const halves = [large.slice(0, 300_000), large.slice(300_000)] as const;

  test('that stops midway is given up @heavy', async () => {
    const [stopping, other] = [await startUpstream(), await startUpstream({ flags: many(0, 2_000) })];
    stopping.answerNext('silent');
    const { lines } = listen(stopping, { stallMs: 50, placeMs: 3_600_000 });
    await stopping.connected(1);
    await stopping.send(halves[0]);
    await turnsOfLoop();
    const { puts } = listen(other);
    await until('the other put', () => puts.length === 1);
    await until('the stream to be opened again', () => stopping.connections === 2);
    // Some may have come after the time began.
    expect(lines.join()).toMatch(/only \d+ bytes received within 50 ms, within a large event/);
  });

  test('that continues byte by byte is given up @heavy', async () => {
    const upstream = await startUpstream();
    upstream.answerNext('silent');
    const { lines, puts } = listen(upstream, { stallMs: 100 });
    await upstream.connected(1);
    await upstream.send(halves[0]);
    const dripping = drip(upstream);
    await until('the stream to be opened again', () => upstream.connections === 2);
    dripping.stop();
    expect(lines.join()).toMatch(/only \d+ bytes received within 100 ms, within a large event/);
    await until('a put', () => puts.length > 0);
  });

  test.each([
    ['a put', 'fdv1'],
    ['a large object', 'fdv2-streaming'],
    ['the answer to a poll', 'fdv2-polling'],
  ] as const)(
    'that arrives slowly holds %s of others up only for a while, says so, and keeps what it has',
    async (_, protocol) => {
      const slow = await startUpstream();
      slow.answerNext('silent');
      const { lines, stream, puts } = listen(slow, { placeMs: 50, stallMs: 3_600_000 });
      await slow.connected(1);
      await slow.send(halves[0]);
      await turnsOfLoop();
      const dripping = drip(slow);
      const fake = await startFakeFDv2(flagData('f', 1, { description: 'x'.repeat(400_000) }));
      behind(() => fake.close());
      const other = listen(fake, { protocol, baseUri: fake.uri });
      await until('the other put', () => other.puts.length === 1);
      const reason = 'it arrives slowly, and others no longer wait for it';
      await until('the reason', () => stream.status().delay?.message === reason);
      expect(lines.join()).toContain(`a large event or answer is delayed {"reason":"${reason}",`);
      dripping.stop();
      await slow.send(halves[1]);
      await until('the slow put', () => puts.length === 1);
      expect(slow.connections).toBe(1);
      expect(puts[0]?.items).toMatchObject([{ key: 'x' }]);
      expect(stream.status().delay).toBeUndefined();
    },
  );

  test('that waits for others says so @heavy', async () => {
    const [holder, waiting] = [await startUpstream(), await startUpstream({ flags: many(0, 2_000) })];
    holder.answerNext('silent');
    listen(holder, { placeMs: 3_600_000, stallMs: 3_600_000 });
    await holder.connected(1);
    await holder.send(halves[0]);
    await turnsOfLoop();
    const { lines, stream, puts } = listen(waiting, { delayMs: 50 });
    const reason = 'it has waited for 50 ms for large events and answers of other environments';
    await until('the reason', () => stream.status().delay?.message === reason);
    expect(stream.status().delay?.since).toBeGreaterThan(0);
    expect(lines.join()).toContain(`LaunchDarkly stream: a large event or answer is delayed {"reason":"${reason}",`);
    expect(puts).toEqual([]);
    await holder.send(halves[1]);
    await until('the put', () => puts.length === 1);
    expect(stream.status().delay).toBeUndefined();
  });

  test('is not reported once the upstream is closed @heavy', async () => {
    const upstream = await startUpstream();
    upstream.answerNext('silent');
    const { puts, stream, statuses } = listen(upstream);
    await upstream.connected(1);
    // Less than what is read in one slice follows the close.
    await upstream.send(putOf(many(0)));
    await turnsOfLoop(3);
    await stream.close();
    const seen = [puts.length, statuses.length];
    await turnsOfLoop(1_000);
    expect([puts.length, statuses.length]).toEqual(seen);
  });

  test('that is damaged anywhere changes nothing, and everything is asked for again @heavy', async () => {
    const upstream = await startUpstream({ flags: many(0) });
    upstream.answerNext('silent');
    const { puts, lines } = listen(upstream);
    await upstream.connected(1);
    const text = putOf({ ...many(0), last: '@' }).replace('"@"', '{"key":"last","version":1,}');
    await upstream.send(text);
    await until('another put', () => puts.length > 0);
    expect(upstream.connections).toBe(2);
    expect(puts[0]?.items).toHaveLength(500);
    expect(lines.filter((line) => line.includes('is not JSON'))).toHaveLength(1);
  });
});

test('an event ID is sent after a reconnect, unless it is too long for a header', async () => {
  const upstream = await startUpstream();
  const { puts } = listen(upstream);
  await until('a put', () => puts.length === 1);
  for (const id of ['short', 'x'.repeat(20_000)]) {
    await upstream.send(`id: ${id}\nevent: ping\ndata:\n\n`);
    upstream.end();
    const opened = puts.length + 1;
    await until('another put', () => puts.length === opened);
  }
  expect(upstream.requests.map(({ headers }) => headers['last-event-id'])).toEqual([undefined, 'short', undefined]);
});

test('an event that the receiver fails to handle is a failure, and the stream reconnects', async () => {
  const upstream = await startUpstream();
  const { sink, upserts } = createSinkRecorder();
  let isBroken = true;
  const upsert: typeof sink.upsert = (...args) => {
    if (isBroken) throw new Error('out of order');
    sink.upsert(...args);
  };
  const { statuses } = listen(upstream, { sink: { ...sink, upsert } });
  await upstream.connected(1);
  await upstream.patch('flags', flagData('a', 1));
  await upstream.connected(2);
  isBroken = false;
  await upstream.patch('flags', flagData('a', 2));
  await until('a patch', () => upserts.length === 1);
  expect(statuses.find(({ lastError }) => lastError)?.lastError?.message).toBe('out of order');
});

describe('an upstream failure', () => {
  test('of the connection is retried, and the new put is delivered', async () => {
    const upstream = await startUpstream({ flags: { a: flagData('a', 1) } });
    const { puts, stream, statuses } = listen(upstream);
    await until('a put', () => puts.length === 1);
    upstream.data = { flags: { a: flagData('a', 2) }, segments: {} };
    upstream.cut();
    await until('the second put', () => puts.length === 2);
    upstream.end();
    await until('the third put', () => puts.length === 3);
    expect(puts[1]?.items).toMatchObject([{ key: 'a', version: 2 }]);
    expect(statuses.map(({ state }) => state)).toEqual(['VALID', 'INTERRUPTED', 'VALID', 'INTERRUPTED', 'VALID']);
    expect(stream.status().lastError).toMatchObject({ kind: 'NETWORK_ERROR', time: expect.any(Number) });
  });

  test('to connect leaves the state at INITIALIZING until the first data', async () => {
    const free = createServer();
    await new Promise<void>((resolve) => free.listen(0, '127.0.0.1', resolve));
    const { port } = free.address() as AddressInfo;
    await new Promise((resolve) => free.close(resolve));
    const { statuses, stream } = listen({ uri: `http://127.0.0.1:${port}` });
    await until('two failures', () => statuses.length >= 2);
    expect(stream.status()).toMatchObject({ state: 'INITIALIZING', current: false, checkedAt: 0, refused: false });
    expect(stream.status().lastError).toMatchObject({
      kind: 'NETWORK_ERROR',
      message: expect.stringContaining('ECONNREFUSED'),
    });
  });

  test.each([400, 408, 429, 500, 503])('of status %i is retried soon', async (status) => {
    const upstream = await startUpstream();
    upstream.answerNext({ status }, { status });
    const { puts, statuses, stream } = listen(upstream, { refusedBackoff: { firstMs: 60_000, maxMs: 60_000 } });
    await until('a put', () => puts.length === 1);
    expect(statuses[0]).toMatchObject({ state: 'INITIALIZING', refused: false });
    expect(stream.status().lastError).toMatchObject({ kind: 'ERROR_RESPONSE', statusCode: status });
  });

  test.each([401, 403, 404, 405, 410])(
    'of status %i is shown as rejected, retried slowly and never final',
    async (status) => {
      const upstream = await startUpstream();
      upstream.answer = { status, body: 'no' };
      const soon = { backoff: { firstMs: 60_000, maxMs: 60_000 } };
      const { puts, stream, lines } = listen(upstream, soon);
      await upstream.requested(2);
      await until('a status', () => stream.status().refused);
      expect(stream.status()).toMatchObject({
        state: 'INITIALIZING',
        lastError: { kind: 'ERROR_RESPONSE', statusCode: status },
      });
      const says =
        status === 401 || status === 403
          ? `LaunchDarkly rejected the SDK key (${status}); next attempt in `
          : `LaunchDarkly answered ${status}, as if this were not its address; `;
      expect(lines[0]).toContain(says);
      upstream.answer = 'stream';
      await until('a put', () => puts.length === 1);
      expect(stream.status()).toMatchObject({ state: 'VALID', refused: false, current: true });
    },
  );

  test('after data was received is only INTERRUPTED, even for a rejection', async () => {
    const upstream = await startUpstream({ flags: { a: flagData('a', 1) } });
    const { puts, stream } = listen(upstream);
    await until('a put', () => puts.length === 1);
    upstream.answer = { status: 401 };
    upstream.cut();
    await until('a refusal', () => stream.status().refused);
    expect(stream.status()).toMatchObject({ state: 'INTERRUPTED', current: false });
    expect(puts).toHaveLength(1);
  });

  test('of the connection after a rejection does not clear it, another status does', async () => {
    const upstream = await startUpstream();
    upstream.answerNext({ status: 401 }, 'cut', { status: 503 });
    const { puts, statuses } = listen(upstream);
    await until('a put', () => puts.length === 1);
    expect(statuses.map(({ refused }) => refused)).toEqual([true, true, false, false]);
  });

  test('by silence is noticed by the watchdog, unless there are heartbeats @heavy', async () => {
    const upstream = await startUpstream();
    const readTimeoutMs = roomy(600);
    const { puts, stream } = listen(upstream, { readTimeoutMs });
    await until('a put', () => puts.length === 1);
    const { checkedAt } = stream.status();
    const beats = setInterval(() => void upstream.comment(), 20);
    await until('a later sign of life', () => stream.status().checkedAt >= checkedAt + 2 * readTimeoutMs);
    clearInterval(beats);
    expect(upstream.connections).toBe(1);
    await until('a reconnect', () => puts.length === 2);
    expect(stream.status().lastError).toMatchObject({
      kind: 'NETWORK_ERROR',
      message: `no data received within ${readTimeoutMs} ms`,
    });
  });

  test('to respond is noticed by the watchdog', async () => {
    const upstream = await startUpstream();
    upstream.answerNext('hang', 'cut');
    const { puts, statuses } = listen(upstream, { headTimeoutMs: 400 });
    await until('a put', () => puts.length === 1);
    expect(statuses[0]?.lastError?.message).toMatch(/^127.0.0.1:\d+ did not answer within 400 ms$/);
    // On a slow machine later answers may not come in time either.
    expect(upstream.requests.length).toBeGreaterThanOrEqual(3);
  });

  test('to send data leaves an open stream that is not current', async () => {
    const upstream = await startUpstream({ flags: { a: flagData('a', 1) } });
    const { puts, stream } = listen(upstream);
    await until('a put', () => puts.length === 1);
    upstream.answer = 'silent';
    upstream.cut();
    await upstream.connected(2);
    await upstream.comment();
    expect(stream.status()).toMatchObject({ state: 'INTERRUPTED', current: false });
    await upstream.put({ flags: {}, segments: {} });
    await until('a put', () => puts.length === 2);
    expect(stream.status()).toMatchObject({ state: 'VALID', current: true });
  });

  test('doubles the delay up to the maximum, with jitter of at most half, and a long stream resets it', async () => {
    const upstream = await startUpstream();
    upstream.answer = { status: 503 };
    const delays = (lines: string[]) => lines.flatMap((line) => /"delayMs":(\d+)/.exec(line)?.[1] ?? []).map(Number);
    const { lines, puts } = listen(upstream, {
      backoff: { firstMs: 8, maxMs: 40 },
      resetAfterMs: 0,
      random: () => 0.5,
    });
    await upstream.requested(5);
    upstream.answer = 'stream';
    await until('a put', () => puts.length === 1);
    const before = delays(lines).length;
    expect(delays(lines).slice(0, 5)).toEqual([6, 12, 24, 30, 30]);
    upstream.cut();
    await until('a reconnect', () => puts.length === 2);
    expect(delays(lines)[before]).toBe(6);
  });
});

describe('a redirect', () => {
  test.each([301, 302, 303, 307, 308])('of status %i within the origin is followed with the key', async (status) => {
    const upstream = await startUpstream();
    upstream.answerNext({ status, headers: { Location: '/elsewhere?x=1' } });
    const { puts } = listen(upstream);
    await until('a put', () => puts.length === 1);
    expect(upstream.requests[1]).toMatchObject({ url: '/elsewhere?x=1', headers: { authorization: SDK_KEY } });
  });

  test('to another origin never takes the key along, not even on the way back', async () => {
    const upstream = await startUpstream();
    const other = await startUpstream();
    other.answer = { status: 302, headers: { Location: `${upstream.uri}/back` } };
    upstream.answer = ({ url }) =>
      url === '/all' ? { status: 302, headers: { Location: other.uri } } : { status: 401 };
    const { stream } = listen(upstream);
    await until('a refusal', () => stream.status().refused);
    expect(other.requests[0]?.headers).not.toHaveProperty('authorization');
    expect(upstream.requests[1]).toMatchObject({ url: '/back' });
    expect(upstream.requests[1]?.headers).not.toHaveProperty('authorization');
    expect(stream.status().lastError?.message).toContain('the key is not sent');
  });

  test.each([
    ['whose user name is not decodable', 'http://%@127.0.0.1:1/', false],
    ['whose path a proxy cannot be asked for', 'http://127.0.0.1:1//', true],
  ])('to an address %s fails like any other, and is tried again', async (_, Location, isProxied) => {
    const upstream = await startUpstream();
    upstream.answerNext({ status: 302, headers: { Location } });
    const proxyUrl = isProxied ? upstream.uri : undefined;
    const outbound = createOutbound({ proxyUrl, user: undefined, password: undefined, caCertFiles: [], env: {} });
    const { puts, statuses } = listen(upstream, { outbound });
    await until('a put', () => puts.length === 1);
    expect(statuses[0]?.lastError).toMatchObject({ kind: 'UNKNOWN', message: expect.any(String) });
  });

  test('in a loop is given up', async () => {
    const upstream = await startUpstream();
    upstream.answer = { status: 302, headers: { Location: '/all' } };
    const { statuses, stream } = listen(upstream, { backoff: { firstMs: 60_000, maxMs: 60_000 } });
    await until('a failure', () => statuses.length === 1);
    expect(upstream.requests).toHaveLength(6);
    expect(stream.status().lastError).toMatchObject({ kind: 'ERROR_RESPONSE', statusCode: 302 });
  });
});

test('a closed upstream makes no more requests and reports nothing', async () => {
  const upstream = await startUpstream();
  const { puts, stream, statuses } = listen(upstream);
  await until('a put', () => puts.length === 1);
  await stream.close();
  const seen = statuses.length;
  await until('no stream', () => upstream.openStreams === 0);
  // Another stream, which fails three times, has come back by then: the closed one would have, too.
  const other = await startUpstream();
  other.answerNext('cut', 'cut', 'cut');
  const { puts: otherPuts } = listen(other);
  await until('the other put', () => otherPuts.length === 1);
  expect([upstream.requests.length, statuses.length, stream.status().state]).toEqual([1, seen, 'OFF']);
});

test('the SDK key is never logged or shown in a status', async () => {
  const upstream = await startUpstream();
  upstream.answerNext({ status: 401, body: SDK_KEY }, 'cut', { status: 302, headers: { Location: '//[' } });
  const { puts, lines, statuses } = listen(upstream);
  await until('a put', () => puts.length === 1);
  await upstream.event('put', `{"${SDK_KEY}"`);
  await until('a failure', () => statuses.length >= 5);
  expect(lines.length).toBeGreaterThan(3);
  expect(lines.join()).not.toContain(SDK_KEY);
  expect(JSON.stringify(statuses)).not.toContain(SDK_KEY);
});

test('a key that is not a valid header value fails like any other and is not shown', async () => {
  const upstream = await startUpstream();
  const { statuses, lines } = listen(upstream, { sdkKey: 'sdk-\n-secret' });
  await until('a failure', () => statuses.length >= 1);
  expect(statuses[0]?.lastError?.message).toContain('Authorization');
  expect(lines.join() + JSON.stringify(statuses)).not.toContain('secret');
});
