/** What takes long to be read is read in slices, in either protocol. */

import { inSendingOrder } from '../../../relay-task/common/prerequisites.ts';
import { inSlices, resultOf } from '../../../relay-task/common/slices.ts';
import { createEnvironment } from '../../../relay-task/environments/environment.ts';
import type { Change, UpstreamSink } from '../../../relay-task/ports.ts';
import { createFDv2Reader } from '../../../relay-task/upstream/fdv2-reader.ts';
import { startStreaming } from '../../../relay-task/upstream/streaming.ts';
import { until } from '../../support/eventually.ts';
import { type FDv2Event, intent, putObject, startFakeFDv2, textOf, transferred } from '../../support/fake-fdv2.ts';
import { startFakeUpstream } from '../../support/fake-upstream.ts';
import { createLogRecorder } from '../../support/logs.ts';
import { closeAfterEach } from '../../support/opened.ts';
import { countSlicedTurns } from '../../support/sliced-turns.ts';
import { createSinkRecorder, flagData, segmentData } from './support.ts';

const { behind } = closeAfterEach();

const numbered = (count: number) => Array.from({ length: count }, (_, at) => at);
const clauseFor = (value: string) => ({ attribute: 'key', op: 'in', values: [value] });

/** Each with the turns of the event loop that it takes at least to be read. */
const large: readonly [string, object, number][] = [
  [
    'thousands of rules',
    { rules: numbered(3_000).map((at) => ({ id: `${at}`, clauses: [clauseFor(`k${at}`)] })) },
    300,
  ],
  ['a long list of keys', { targets: [{ variation: 0, values: numbered(50_000).map((at) => `user-${at}`) }] }, 30],
  [
    'a value of objects with names of their own',
    { variations: [numbered(30_000).map((at) => ({ [`name-${at}`]: 1 })), false] },
    30,
  ],
  ['a value with many names', { variations: [Object.fromEntries(numbered(40_000).map((at) => [`k${at}`, 1])), 1] }, 30],
];

const patchOf = (data: { key: string }) =>
  `event: patch\ndata: ${JSON.stringify({ path: `/flags/${data.key}`, data })}\n\n`;
/** One object, as a transfer. */
const transferOf = (data: { key: string; version: number }) =>
  [putObject('flag', data), transferred(`state ${data.key} ${data.version}`)].map(textOf).join('');

/** The longest text that `JSON.parse` gets until `stop`. */
function watchParsing() {
  let longest = 0;
  const parse = JSON.parse;
  const parsing = jest.spyOn(JSON, 'parse').mockImplementation((text: string, reviver) => {
    longest = Math.max(longest, text.length);
    return parse(text, reviver) as unknown;
  });
  return {
    stop() {
      parsing.mockRestore();
      return longest;
    },
  };
}

describe.each(['fdv1', 'fdv2-streaming'] as const)('a changed flag that comes by %s', (protocol) => {
  const eventsOf = protocol === 'fdv1' ? patchOf : transferOf;

  test.each(large)(
    'with %s is read over many turns of the event loop, before what follows it @heavy',
    async (_, more, turns) => {
      const upstream = await startFakeUpstream({ flags: {}, segments: {} });
      behind(() => upstream.close());
      if (protocol !== 'fdv1')
        upstream.greetingFor = () => [intent('xfer-full'), transferred('first')].map(textOf).join('');
      const recorder = createSinkRecorder();
      const arrivals: string[] = [];
      const stream = startStreaming({
        ...{
          streamUri: upstream.uri,
          baseUri: upstream.uri,
          protocol,
          pollIntervalMs: 30_000,
          sdkKey: 'sdk-key',
          userAgent: 'EdgeFlagRelay/1.2.3',
        },
        log: createLogRecorder().log,
        generation: () => 1,
        sink: {
          ...recorder.sink,
          upsert: ({ key, version }) =>
            void arrivals.push(`${key} ${version} after ${sliced.turns - turnsBefore} turns`),
        },
      });
      behind(() => stream.close());
      await until('everything', () => recorder.puts.length === 1);
      const sliced = countSlicedTurns();
      const turnsBefore = sliced.turns;
      const parsing = watchParsing();
      try {
        const text = [{ ...flagData('f', 2), ...more }, flagData('f', 3), flagData('g', 1)].map(eventsOf).join('');
        await upstream.send(text);
        await until('all of them', () => arrivals.length === 3);
      } finally {
        sliced.stop();
      }
      const longest = parsing.stop();
      expect(arrivals.map((line) => line.replace(/ after.*/, ''))).toEqual(['f 2', 'f 3', 'g 1']);
      expect(Number(/after (\d+)/.exec(arrivals[0] ?? '')?.[1])).toBeGreaterThan(turns);
      expect(longest).toBeLessThan(20_000);
    },
  );
});

test('a large object that is still being read when its connection ends belongs to no transfer', async () => {
  const reader = createFDv2Reader({});
  const read = (event: FDv2Event) => reader.read(event.event, JSON.stringify(event.data));
  resultOf(read(intent('xfer-full')));
  const reading = read(putObject('flag', { ...flagData('stale', 1), ...large[0]?.[1] }));
  reading.next();
  reader.reset();
  resultOf(read(intent('xfer-full')));
  expect(await inSlices(reading)).toEqual({ kind: 'pending' });
  resultOf(read(putObject('flag', flagData('f', 1))));
  expect(resultOf(read(transferred('now')))).toMatchObject({ kind: 'full', items: [{ key: 'f' }] });
});

test('the prerequisites of a large flag that was read are known without parsing it again @heavy', () => {
  const reader = createFDv2Reader({});
  const read = (event: FDv2Event) => resultOf(reader.read(event.event, JSON.stringify(event.data)));
  read(intent('xfer-full'));
  const first = { ...flagData('first', 1), ...large[0]?.[1], prerequisites: [{ key: 'last', variation: 0 }] };
  read(putObject('flag', first));
  read(putObject('flag', flagData('last', 1)));
  read(putObject('segment', segmentData('s', 1)));
  const step = read(transferred('now'));
  const items = step.kind === 'full' ? step.items : [];
  const parsing = watchParsing();
  const sorted = inSendingOrder(items, () => undefined).map(({ key }) => key);
  expect([sorted, parsing.stop()]).toEqual([['s', 'last', 'first'], 0]);
});

describe.each(['fdv1', 'fdv2-streaming'] as const)('a whole set that comes by %s', (protocol) => {
  const setOf = (flags: readonly { readonly key: string; readonly version: number }[]) =>
    protocol === 'fdv1'
      ? `event: put\ndata: ${JSON.stringify({ path: '/', data: { flags: Object.fromEntries(flags.map((data) => [data.key, data])) } })}\n\n`
      : [intent('xfer-full'), ...flags.map((data) => putObject('flag', data)), transferred('s')].map(textOf).join('');

  test.each<[string, readonly ReturnType<typeof flagData>[]]>([
    ['many flags', numbered(200).map((at) => flagData(`f${at}`, 1, { prerequisites: [{ key: 'f', variation: 0 }] }))],
    ['a flag with a value of many names', [flagData('f', 1, large.at(-1)?.[1] as Record<string, unknown>)]],
  ])(
    'with the versions that memory holds, in other bytes, is not compared in the turn that applies it: %s @heavy',
    async (_, flags) => {
      const upstream = await startFakeUpstream({ flags: {}, segments: {} });
      behind(() => upstream.close());
      upstream.greetingFor = () => setOf(flags);
      const changes: Change[] = [];
      const { log } = createLogRecorder();
      const memory = createEnvironment({ name: 'test', log, onChange: (change) => void changes.push(change) });
      const parsed: number[] = [];
      const sink: UpstreamSink = {
        ...memory,
        put(...set) {
          const parsing = watchParsing();
          memory.put(...set);
          parsed.push(parsing.stop());
        },
      };
      const stream = startStreaming({
        ...{
          streamUri: upstream.uri,
          baseUri: upstream.uri,
          protocol,
          pollIntervalMs: 30_000,
          sdkKey: 'sdk-key',
          userAgent: 'EdgeFlagRelay/1.2.3',
        },
        ...{ log, sink, held: memory.get, generation: () => memory.generation },
      });
      behind(() => stream.close());
      await until('everything', () => parsed.length === 1);
      await upstream.send(setOf(flags.map((data) => ({ ...data, more: 'of no meaning' }))));
      await until('everything again', () => parsed.length === 2);
      expect(changes.map(({ kind }) => kind)).toEqual(['put']);
      expect(JSON.parse(memory.get('features', flags[0]?.key ?? '')?.json ?? '')).toMatchObject({
        more: 'of no meaning',
      });

      // Without a new version, but with another meaning.
      await upstream.send(setOf(flags.map((data) => ({ ...data, on: false }))));
      await until('another meaning', () => parsed.length === 3);
      expect(changes.map(({ kind }) => kind)).toEqual(['put', 'put']);
      expect(parsed).toEqual([0, 0, 0]);
    },
  );
});

test('the answer to a poll is decoded in pieces', async () => {
  const fake = await startFakeFDv2(flagData('f', 1, { description: '字'.repeat(300_000) }));
  behind(() => fake.close());
  const toText = jest.spyOn(Buffer.prototype, 'toString');
  behind(() => toText.mockRestore());
  const recorder = createSinkRecorder();
  const polling = startStreaming({
    ...{ streamUri: fake.uri, baseUri: fake.uri, protocol: 'fdv2-polling', sdkKey: 'sdk-key' },
    pollIntervalMs: 30_000,
    ...{ userAgent: 'EdgeFlagRelay/1.2.3', log: createLogRecorder().log, sink: recorder.sink },
  });
  behind(() => polling.close());
  await until('everything', () => recorder.puts.length > 0);
  const longest = Math.max(...toText.mock.results.map(({ value }) => String(value).length));
  expect(recorder.puts[0]?.items[0]?.json).toContain('字'.repeat(300_000));
  expect(longest).toBeLessThan(100_000);
});
