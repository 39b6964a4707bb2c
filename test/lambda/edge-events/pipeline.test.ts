/** From a reader through the log, both functions and a real relay to LaunchDarkly. Oracle: the events of LaunchDarkly's Node SDK. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import { createCollector } from '../../../lambda/edge-events/collector.ts';
import type { Delivery, Receipt } from '../../../lambda/edge-events/delivery.ts';
import { createSender } from '../../../lambda/edge-events/sender.ts';
import { type EventsRecorder, startEventsRecorder } from '../../interop/events-recorder.ts';
import { eventually } from '../../support/eventually.ts';
import { exampleFile } from '../../support/example-environment.ts';
import { everyNth } from '../../support/long.ts';
import { randomFrom } from '../../support/random.ts';
import { startSsmServer } from '../../support/ssm-server.ts';
import { startTestRelay, type TestRelay } from '../../support/start-relay.ts';
import {
  behind,
  comparable,
  type Event,
  officialEvents,
  opened,
  openReader,
  randomAsks,
} from '../edge-reader/exposure-oracle.ts';
import { randomExposures } from '../edge-reader/random-exposures.ts';

const KEY = 'sdk-exposures-0123456789';
const PARAMETERS = '/edge-flag-relay/test/environments/shop';
const SENDER = 'the-sender';

/** A relay, the events that LaunchDarkly gets from it, and both functions, with SSM and Lambda in one server. */
async function start() {
  const launchDarkly = opened(await startEventsRecorder());
  const relay = await startRelay(launchDarkly);
  const ssm = opened(await startSsmServer());
  ssm.put(`${PARAMETERS}/sdk-key`, KEY);
  const place = {
    sender: createSender({ url: relay.uri, timeoutMs: 60_000 }),
    failsWith: undefined as string | undefined,
  };
  const endpoint = await startAws(ssm.endpoint, async (body) => {
    if (place.failsWith !== undefined) return { error: place.failsWith };
    return place.sender(JSON.parse(body) as Delivery);
  });
  const said: string[] = [];
  const open = () =>
    createCollector({
      ...{ region: 'eu-west-1', parameters: PARAMETERS, senderName: SENDER, endpoint },
      env: { AWS_ACCESS_KEY_ID: 'a', AWS_SECRET_ACCESS_KEY: 'b' },
      write: (line) => said.push(line),
    });
  behind(() => expect(said.join('\n')).not.toContain(KEY));
  return { launchDarkly, ssm, place, said, open, collect: open() };
}

async function startRelay(launchDarkly: EventsRecorder): Promise<TestRelay> {
  const events = {
    ...{ USE_EVENTS: 'true', EVENTS_HOST: launchDarkly.uri, EVENTS_FLUSH_INTERVAL: '50ms' },
    // As much as the Node SDK queues.
    EVENTS_CAPACITY: '10000',
  };
  return opened(await startTestRelay({ LD_ENV_shop: KEY, LD_FLAGS_FILE_shop: exampleFile, ...events }));
}

/** Lambda's Invoke, and everything else to SSM. */
async function startAws(ssm: string, invoke: (body: string) => Promise<Receipt | { error: string }>): Promise<string> {
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', async () => {
      const body = Buffer.concat(chunks).toString();
      if (request.url === `/2015-03-31/functions/${SENDER}/invocations`) {
        const answer = await invoke(body);
        if ('error' in answer) response.setHeader('x-amz-function-error', 'Unhandled');
        return void response.end(JSON.stringify('error' in answer ? { errorType: answer.error } : answer));
      }
      const headers = Object.fromEntries(
        Object.entries(request.headers).filter(([name]) => !['host', 'connection', 'content-length'].includes(name)),
      ) as Record<string, string>;
      const answer = await fetch(ssm, { method: 'POST', headers, body });
      response.writeHead(answer.status).end(await answer.text());
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  behind(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** A load balancer without relays. */
async function startBusy(): Promise<string> {
  const server = createServer((_, response) => void response.writeHead(503).end('<html>'));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  behind(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const GROUP = '/aws/lambda/us-east-1.edge-flag-relay-test-viewer-request';
let ids = 0;

/** What CloudWatch Logs hands to a subscription. */
function subscription(messages: readonly string[], more: object = {}) {
  const logEvents = messages.map((message) => ({ id: `3850000000${++ids}`, timestamp: 1_700_000_000_000, message }));
  const batch = {
    messageType: 'DATA_MESSAGE',
    owner: '111122223333',
    logGroup: GROUP,
    logStream: 's',
    logEvents,
    ...more,
  };
  return { awslogs: { data: gzipSync(JSON.stringify(batch)).toString('base64') } };
}

/** As Lambda writes it in its text format. */
const logged = (line: string) => `2026-11-30T12:00:00.000Z\t4f7e6f2a-0000-4000-8000-000000000000\tINFO\t${line}\n`;

const analytics = ({ requests }: EventsRecorder): Event[] =>
  requests.flatMap(({ path, events }) => (path === '/bulk' ? events : []));

const count = (events: readonly Event[]) =>
  Object.values(comparable(events).counts).reduce((sum: number, one) => sum + one, 0);

const at = 1_700_000_000_000;
const summary = (times: number, value = 'new', fallback = 'old') => ({
  ...{ kind: 'summary', startDate: at, endDate: at + times },
  features: {
    checkout: {
      default: fallback,
      contextKinds: ['user'],
      counters: [{ value, variation: 1, version: 7, count: times }],
    },
  },
});
const line = (...events: readonly object[]) => JSON.stringify({ edgeFlagExposures: 1, events });

const SEEDS = Array.from({ length: 20 }, (_, index) => index);

test.each(everyNth(7, SEEDS))('LaunchDarkly gets what the Node SDK would send: seed %s @heavy', async (seed) => {
  const random = randomFrom(`pipeline:${seed}`);
  const data = randomExposures(random);
  const asks = randomAsks(data, random, 300);
  const drawn = jest.spyOn(Math, 'random').mockReturnValue(0.4);
  const theirs = await officialEvents(data, asks, {});
  drawn.mockRestore();
  // Within five minutes, so that each context is described once.
  const { reader, exposures, lines, sleep } = await openReader(data, {}, () => 0.4);
  for (const [index, ask] of asks.entries()) {
    if (index % 40 === 0) sleep(30_000);
    await ask(reader);
  }
  exposures.flush();
  expect(lines.length).toBeGreaterThan(5);
  const { collect, launchDarkly } = await start();
  const half = Math.ceil(lines.length / 2);
  await collect(subscription(['START RequestId: 1', ...lines.slice(0, half).map(logged), 'END RequestId: 1']));
  await collect(subscription(lines.slice(half).map(logged)));
  const expected = comparable(theirs, true);
  await eventually(() => expect(comparable(analytics(launchDarkly), true)).toEqual(expected));
  const { headers } = launchDarkly.requests.find(({ path }) => path === '/bulk') ?? {};
  expect(headers).toMatchObject({ authorization: KEY, 'x-launchdarkly-event-schema': '4' });
});

test('an invocation that is repeated counts once, in another container too', async () => {
  const { collect, open, launchDarkly } = await start();
  const event = subscription([logged(line(summary(3))), logged(line(summary(4)))]);
  await collect(event);
  await collect(event);
  await open()(event);
  await collect(subscription([logged(line(summary(100)))]));
  await eventually(() => expect(count(analytics(launchDarkly))).toBe(107));
});

test('summaries of several lines are added up, those with another fallback apart', async () => {
  const { collect, launchDarkly } = await start();
  await collect(subscription([line(summary(3)), line(summary(2, 'new', 'other')), line(summary(4), summary(5))]));
  await eventually(() => expect(analytics(launchDarkly)).toHaveLength(2));
  expect(analytics(launchDarkly)).toEqual([{ ...summary(12), endDate: at + 5 }, summary(2, 'new', 'other')]);
});

test('a hundred fallbacks of a flag are distinguished, and the log says how many evaluations had another one', async () => {
  const { collect, launchDarkly, said } = await start();
  const summaries = Array.from({ length: 102 }, (_, index) => summary(3, 'new', `fallback ${index}`));
  await collect(subscription([line(...summaries)]));
  await eventually(() => expect(count(analytics(launchDarkly))).toBe(306));
  expect(analytics(launchDarkly)).toHaveLength(100);
  expect(said.map((text) => JSON.parse(text))).toContainEqual({
    ...{ level: 'WARN', logGroup: GROUP, count: 6 },
    message: 'Evaluations with more than 100 fallbacks for one flag are counted with the last of these',
  });
});

test('a line in the JSON format of Lambda is read, too, and no object there, which is what somebody else logged', async () => {
  const { collect, launchDarkly, said } = await start();
  const message = line(summary(3));
  const as = (inner: unknown) =>
    JSON.stringify({ timestamp: '2026-11-30T12:00:00.000Z', level: 'INFO', message: inner });
  await collect(subscription([as(message), as(JSON.parse(message))]));
  await eventually(() => expect(count(analytics(launchDarkly))).toBe(3));
  expect(said.map((text) => JSON.parse(text))).toContainEqual(expect.objectContaining({ level: 'WARN', count: 1 }));
});

test('lines that cannot be used are counted and named, and cost the others nothing', async () => {
  const { collect, launchDarkly, said } = await start();
  const whole = line(summary(3));
  const bad = [
    whole.slice(0, 60),
    '{"edgeFlagExposures":2,"events":[]}',
    '{"edgeFlagExposures":1}',
    'a word about edgeFlagExposures',
    line({ kind: 'custom', key: 'x' }, summary(4)),
    line({ kind: 'index', creationDate: 'today', context: {} }),
    line({
      kind: 'summary',
      startDate: 1,
      endDate: 1,
      features: { f: { contextKinds: [], counters: [{ count: -1 }] } },
    }),
    '{"edgeFlagExposures":1,"events":[7,null]}',
  ];
  await collect(subscription([...bad, whole]));
  await eventually(() => expect(count(analytics(launchDarkly))).toBe(7));
  const [warning] = said.map((text) => JSON.parse(text)).filter(({ level }) => level === 'WARN');
  expect(warning).toMatchObject({ count: 9, logGroup: GROUP });
  expect(warning.named).toHaveLength(5);
  expect(warning.named[0]).toEqual({
    logEvent: expect.stringMatching(/^385/),
    reason: expect.stringContaining('cut off'),
  });
});

test('text that a viewer makes a function log is not taken for a line of the reader', async () => {
  const { collect, launchDarkly, said } = await start();
  const forged = line(summary(1_000));
  const inJson = (message: unknown, more: object = {}) =>
    JSON.stringify({ timestamp: '2026-11-30T12:00:00.000Z', level: 'INFO', message, ...more });
  const logs = [
    // At the end of a text, after a line feed in it, and before more of it.
    ...['user agent: ', 'user agent:\n', 'user agent: x\r\n', 'a\tb\tINFO\t', '2026-11-30 INFO ', ' ', '\n'].map(
      (before) => `${before}${forged}`,
    ),
    ...[' is no browser', '\nis no browser', forged, `\n${forged}`].map((after) => `${forged}${after}`),
  ];
  const prefix = logged('').trimEnd();
  await collect(
    subscription([
      ...logs,
      ...logs.map(logged),
      ...logs.map((text) => inJson(text)),
      // With prefixes that the reader's lines do not have.
      logged(logged(forged)),
      `${prefix}\nx\t${logged(forged)}`,
      logged(forged).replace('INFO', 'WARN'),
      inJson(forged, { level: 'ERROR' }),
      // A structured log, and a text in one.
      inJson(forged, { service: 'shop' }),
      inJson({ path: '/', agent: forged }),
      inJson({ agent: 'x', ...JSON.parse(forged) }),
      JSON.stringify({ agent: forged }),
      JSON.stringify({ agent: 'x', ...JSON.parse(forged) }),
      JSON.stringify([forged]),
    ]),
  );
  await collect(subscription([logged(line(summary(3)))]));
  await eventually(() => expect(count(analytics(launchDarkly))).toBe(3));
  const [warning] = said.map((text) => JSON.parse(text)).filter(({ level }) => level === 'WARN');
  expect(warning.count).toBe(3 * logs.length + 10);
  expect(warning.named[0].reason).toMatch(/^it is no message that the reader wrote as a whole/);
});

test.each([
  ['a member more', { agent: 'x' }],
  ['numbers of lost ones that are none', { lost: { evaluations: '1', events: 0 } }],
  ['negative numbers of lost ones', { lost: { evaluations: -5, events: 0 } }],
  ['other things lost', { lost: { evaluations: 1, events: 0, viewers: 2 } }],
  ['a long format', { edgeFlagExposures: 'x'.repeat(100_000) }],
])('a line with %s is not used, and the reason is short', async (_, more) => {
  const { collect, said } = await start();
  await collect(subscription([logged(JSON.stringify({ edgeFlagExposures: 1, events: [summary(1)], ...more }))]));
  expect(said.map((text) => JSON.parse(text))).toEqual([
    expect.objectContaining({ level: 'WARN', count: 1, named: [expect.objectContaining({})] }),
  ]);
  expect(said[0]?.length).toBeLessThan(400);
});

test('a line is read that was written while the module was loaded, without a request', async () => {
  const { collect, launchDarkly } = await start();
  const id = '4f7e6f2a-0000-4000-8000-000000000000';
  await collect(
    subscription([logged(line(summary(3))).replace(id, 'undefined'), logged(line(summary(4))).replace(id, '')]),
  );
  await eventually(() => expect(count(analytics(launchDarkly))).toBe(7));
});

test('the log says how much the functions could not write', async () => {
  const { collect, said } = await start();
  const lost = { evaluations: 2, events: 3 };
  await collect(subscription([JSON.stringify({ edgeFlagExposures: 1, events: [], lost })]));
  expect(said.map((text) => JSON.parse(text))).toEqual([expect.objectContaining({ level: 'WARN', count: 5 })]);
});

test.each([
  ['not from a log', { Records: [] }],
  ['not compressed', { awslogs: { data: 'bm90IGd6aXA=' } }],
  ['not JSON', { awslogs: { data: gzipSync('<html>').toString('base64') } }],
  ['larger than what a log sends', { awslogs: { data: gzipSync(Buffer.alloc(70_000_000)).toString('base64') } }],
  ['without log events', subscription([], { logEvents: undefined })],
  ['with log events of another form', subscription([], { logEvents: [{ id: 1 }] })],
])(
  'an invocation that is %s is ignored with a reason, since another try would find the same @heavy',
  async (_, event) => {
    const { collect, said } = await start();
    await collect(event);
    expect(said.map((text) => JSON.parse(text))).toEqual([
      expect.objectContaining({ level: 'ERROR', reason: expect.stringMatching(/./) }),
    ]);
  },
);

test('the message by which CloudWatch Logs tests a subscription is ignored', async () => {
  const { collect, said } = await start();
  const logEvents = [{ id: '', timestamp: 1, message: 'CWL CONTROL MESSAGE: Checking health of destination Lambda.' }];
  await collect(subscription([], { messageType: 'CONTROL_MESSAGE', logEvents }));
  expect(said).toEqual([]);
});

test('while the relay cannot be reached, the invocation fails with the reason, and the next try delivers', async () => {
  const { collect, place, launchDarkly, said } = await start();
  const event = subscription([line(summary(3))]);
  const working = place.sender;
  for (const [broken, reason] of [
    [createSender({ url: 'http://127.0.0.1:1' }), /the relay cannot be reached: .*ECONNREFUSED/],
    [createSender({ url: await startBusy() }), /the relay answered 503/],
  ] as const) {
    place.sender = broken;
    await expect(collect(event)).rejects.toThrow(reason);
  }
  place.failsWith = 'Sandbox.Timedout';
  await expect(collect(event)).rejects.toThrow('the-sender failed: Sandbox.Timedout');
  place.failsWith = undefined;
  const errors = said.map((text) => JSON.parse(text)).filter(({ level }) => level === 'ERROR');
  expect(errors).toHaveLength(3);
  place.sender = working;
  await collect(event);
  await eventually(() => expect(count(analytics(launchDarkly))).toBe(3));
});

test('a key that was replaced is read again after it was rejected', async () => {
  const { collect, ssm, launchDarkly } = await start();
  ssm.put(`${PARAMETERS}/sdk-key`, 'sdk-exposures-wrong-one');
  const event = subscription([line(summary(3))]);
  await expect(collect(event)).rejects.toThrow('the relay answered 401');
  ssm.put(`${PARAMETERS}/sdk-key`, KEY);
  await collect(event);
  await eventually(() => expect(count(analytics(launchDarkly))).toBe(3));
});

test('without a key in SSM, the reason says how to put one there', async () => {
  const { collect, ssm } = await start();
  ssm.delete(`${PARAMETERS}/sdk-key`);
  await expect(collect(subscription([line(summary(3))]))).rejects.toThrow(
    `SSM parameter ${PARAMETERS}/sdk-key does not exist: create it with npm run keys -- put`,
  );
});
