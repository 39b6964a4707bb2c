import { initialize, type LDClient, type LDOptions } from 'launchdarkly-node-client-sdk';
import { resultOf } from '../../../relay-task/common/slices.ts';
import { eventually } from '../../support/eventually.ts';
import { flag } from '../../support/items.ts';
import { silentLog } from '../../support/logs.ts';
import { createMemory } from '../../support/memory.ts';
import { startServer, type TestServer } from './start-server.ts';

let server: TestServer;
let client: LDClient | undefined;
beforeEach(async () => {
  server = await startServer({
    view: createMemory(flag('banner', 7, { targets: [{ values: ['bob'], variation: 1 }] })),
  });
});
afterEach(async () => {
  await client?.close();
  client = undefined;
  await server.close();
});
const connect = (options: LDOptions) => {
  const uri = `http://127.0.0.1:${server.port}`;
  client = initialize(
    '64a0',
    { kind: 'user', key: 'alice' },
    {
      baseUrl: uri,
      streamUrl: uri,
      eventsUrl: uri,
      logger: silentLog,
      ...options,
    },
  );
  return client;
};

test.each([
  ['GET', {}],
  ['REPORT', { useReport: true }],
])(
  'the official Node client-side SDK starts with %s, follows identify, and posts its events',
  async (method, options) => {
    const sdk = connect({ ...options, streaming: false, evaluationReasons: true });
    await sdk.waitForInitialization(60);
    expect(sdk.variationDetail('banner', 'none')).toMatchObject({ value: true, reason: { kind: 'FALLTHROUGH' } });
    await sdk.identify({ kind: 'user', key: 'bob' });
    expect(sdk.variationDetail('banner', 'none')).toMatchObject({ value: false, reason: { kind: 'TARGET_MATCH' } });
    const evalx = server.answers.filter(({ route }) => route.startsWith('/sdk/evalx/{envId}/context'));
    expect(evalx.map((answer) => [answer.method, answer.status])).toEqual([
      [method, 200],
      [method, 200],
    ]);
    sdk.track('bought');
    await sdk.flush();
    await eventually(() => {
      const analytics = server.environment.delivered.filter(({ to }) => to === 'analytics');
      const events: { kind: string }[] = analytics.flatMap(({ body }) => JSON.parse(body.toString()));
      const kinds = events.map(({ kind }) => kind);
      expect(kinds).toEqual(expect.arrayContaining(['identify', 'custom', 'summary']));
    });
  },
);

test.each([
  ['GET', {}],
  ['REPORT', { useReport: true }],
])('the official Node client-side SDK opens its stream with %s and its context', async (method, options) => {
  const sdk = connect({ ...options, streaming: true, sendEvents: false });
  await sdk.waitForInitialization(60);
  await eventually(() => expect(server.opened.length).toBeGreaterThan(0));
  const { opening } = server.opened[0]!;
  if (opening.kind !== 'eval') throw new Error(`opened as ${opening.kind}`);
  expect(opening).toMatchObject({ credential: '64a0', withReasons: false });
  const wanted = { audience: 'environmentId', withReasons: false } as const;
  const flags = resultOf(server.environment.clientView.evaluateInSteps(opening.context.read(), wanted));
  expect(flags.map(({ json }) => JSON.parse(json).value)).toEqual([true]);
  expect(server.answers.some((answer) => answer.method === method && answer.route.startsWith('/eval/'))).toBe(true);
});
