/** Events of FDv2, one connection each. */
import { internal } from '@launchdarkly/js-sdk-common';
import { resultOf } from '../../../relay-task/common/slices.ts';
import { createFDv2Reader } from '../../../relay-task/upstream/fdv2-reader.ts';
import type { ReadOptions } from '../../../relay-task/upstream/messages.ts';
import type { Step } from '../../../relay-task/upstream/synchronizer.ts';
import {
  deleteObject,
  type FDv2Event,
  intent,
  type OfficialPayload,
  putObject,
  transferred,
} from '../../support/fake-fdv2.ts';
import { flag, tombstone } from '../../support/items.ts';
import { seededRandom } from '../store/seeded-random.ts';
import { flagData, segmentData } from './support.ts';

const full = intent('xfer-full');
const changes = intent('xfer-changes');
const put = (version: number, key = 'a') => putObject('flag', flagData(key, version));
const event = (name: string, data: unknown): FDv2Event => ({ event: name, data });

function read(events: readonly FDv2Event[], options: ReadOptions = {}): Step[] {
  const reader = createFDv2Reader(options);
  return events.map(({ event: name, data }) =>
    resultOf(reader.read(name, typeof data === 'string' ? data : JSON.stringify(data))),
  );
}
const last = (events: readonly FDv2Event[], options?: ReadOptions) => read(events, options).at(-1);
const versions = (step: Step | undefined) => {
  if (step?.kind === 'full') return step.items.map(({ key, version, deleted }) => [key, version, deleted]);
  if (step?.kind !== 'changes') return step;
  return step.changes.map((one) => ('reason' in one ? one : [one.key, one.version, one.deleted]));
};

test('a full transfer has everything, with the text of each object as it was sent', () => {
  const text = '{"version":3,"key":"b",  "on":true,"salt":"1e2","big":12345678901234567890}';
  const step = last([
    full,
    put(1),
    event('put-object', `{"kind":"segment","key":"b","version":3,"object":${text}}`),
    transferred('s'),
  ]);
  expect(step).toMatchObject({ kind: 'full', state: 's', unreadable: [] });
  expect(step?.kind === 'full' && step.items.map(({ kind, key, version }) => [kind, key, version])).toEqual([
    ['features', 'a', 1],
    ['segments', 'b', 3],
  ]);
  expect(step?.kind === 'full' && step.items[1]?.json).toContain('"big":12345678901234567890');
});

test('nothing is delivered before its payload has been transferred', () => {
  expect(read([full, put(1), deleteObject('flag', 'b', 2)])).toEqual(Array(3).fill({ kind: 'pending' }));
});

test('after a transfer, changes follow without another intent', () => {
  const steps = read([full, transferred('1'), put(2), deleteObject('flag', 'b', 4), transferred('2')]);
  expect(steps.at(-1)).toMatchObject({ kind: 'changes', state: '2' });
  expect(versions(steps.at(-1))).toEqual([
    ['a', 2, false],
    ['b', 4, true],
  ]);
  expect(steps.at(-1)).toMatchObject({ changes: [{}, tombstone('features', 'b', 4)] });
});

test('the intent "none" says that the named state is current, and changes may follow', () => {
  const steps = read([intent('none'), put(2), transferred('2')]);
  expect(steps.map(({ kind }) => kind)).toEqual(['current', 'pending', 'changes']);
});

test('if an object comes twice in a transfer, the last one counts', () => {
  expect(versions(last([changes, put(1), put(3), put(2), transferred('1')]))).toEqual([['a', 2, false]]);
  expect(versions(last([changes, put(1), deleteObject('flag', 'a', 2), transferred('1')]))).toEqual([['a', 2, true]]);
});

test('another intent or an error discards what was not transferred; after an error the intent still holds', () => {
  expect(versions(last([full, put(1), changes, put(2, 'b'), transferred('1')]))).toEqual([['b', 2, false]]);
  const step = last([full, put(1), event('error', { payload_id: 'p', reason: 'oops' }), put(2, 'b'), transferred('1')]);
  expect(step?.kind).toBe('full');
  expect(versions(step)).toEqual([['b', 2, false]]);
});

test('after an error, an empty transfer of everything is refused', () => {
  const error = event('error', { reason: 'oops' });
  expect(last([full, put(1), error, transferred('1')])).toMatchObject({ kind: 'invalid' });
  expect(last([full, put(1), error, full, transferred('1')])).toMatchObject({ kind: 'full', items: [] });
  expect(last([changes, put(1), error, transferred('1')])).toMatchObject({ kind: 'changes', changes: [] });
});

test('a heart-beat is valid, whatever its data is', () => {
  expect(read([full, event('heart-beat', ''), event('heart-beat', 'x'), put(1), transferred('1')]).at(-1)?.kind).toBe(
    'full',
  );
});

test('an object has its own key and version; what it lacks is taken from its envelope', () => {
  const { version: _, key: __, ...bare } = flagData('a', 9);
  const step = (object: unknown) =>
    last([changes, event('put-object', { kind: 'flag', key: 'a', version: 5, object }), transferred('1')]);
  expect(versions(step(flagData('a', 9)))).toEqual([['a', 9, false]]);
  const item = step(bare);
  expect(versions(item)).toEqual([['a', 5, false]]);
  expect(item?.kind === 'changes' && JSON.parse((item.changes[0] as { json: string }).json)).toMatchObject({
    key: 'a',
    version: 5,
    ...bare,
  });
});

test('an invalid object costs only itself', () => {
  const bad = event('put-object', {
    kind: 'flag',
    key: 'bad',
    version: 1,
    object: { key: 'bad', version: 1, rules: 'none' },
  });
  const worse = event('put-object', { kind: 'flag', key: 'worse', version: 1, object: null });
  const gone = event('delete-object', { kind: 'flag', key: 'gone', version: 'x' });
  const step = last([full, bad, worse, gone, put(1), transferred('1')]);
  expect(versions(step)).toEqual([['a', 1, false]]);
  expect(step?.kind === 'full' && step.unreadable.map(({ key }) => key)).toEqual(['bad', 'worse', 'gone']);
});

test('an item that memory has is taken as it is', () => {
  const held = flag('a', 1);
  const object = JSON.parse(held.json);
  const step = last([full, putObject('flag', object), transferred('1')], {
    held: (_, key) => (key === 'a' ? held : undefined),
  });
  expect(step?.kind === 'full' && step.items[0]).toBe(held);
});

test.each<[string, FDv2Event[], string]>([
  ['JSON that is cut off', [full, event('put-object', '{"kind":"flag"')], 'put-object of 14 characters is not JSON'],
  ['a list', [event('server-intent', [])], 'a server-intent is [], not an object'],
  ['an intent without a payload', [event('server-intent', { payloads: [] })], 'names no payload'],
  ['an intent without payloads', [event('server-intent', {})], 'names no payload'],
  [
    'an object without a key',
    [full, event('put-object', { kind: 'flag', version: 1, object: {} })],
    'has no kind or no key',
  ],
  [
    'an object without a kind',
    [full, event('put-object', { key: 'a', version: 1, object: {} })],
    'has no kind or no key',
  ],
  ['a transfer without an intent', [transferred('1')], 'before any server-intent'],
  ['a transfer without a state', [full, event('payload-transferred', { version: 1 })], 'has no state'],
  [
    'a transfer after a goodbye',
    [full, event('goodbye', { reason: 'x' }), transferred('1')],
    'before any server-intent',
  ],
])('%s is invalid', (_, events, problem) => {
  expect(last(events)).toEqual({ kind: 'invalid', problem: expect.stringContaining(problem) });
});

test('an object with values that nest too deep, or with too many, costs only itself', () => {
  const deep = `${'['.repeat(2_000)}${']'.repeat(2_000)}`;
  const many = `[${Array(2_000).fill('{}').join(',')}]`;
  for (const [value, reason] of [
    [deep, 'more than 1562 values'],
    [many, 'more than 1562 values'],
  ] as const) {
    const body = JSON.stringify(put(2).data).replace('[true', `[${value}`);
    expect(last([full, event('put-object', body), put(1, 'b'), transferred('1')], { maxBytes: 100_000 })).toMatchObject(
      {
        items: [{ key: 'b' }],
        unreadable: [{ kind: 'features', key: 'a', reason: expect.stringContaining(reason) }],
      },
    );
    expect(last([event('goodbye', `{"reason":${value}}`)], { maxBytes: 100_000 })).toMatchObject({ kind: 'invalid' });
  }
});

test('an event that carries no object and has too many values is invalid, and is not parsed', () => {
  const parse = jest.spyOn(JSON, 'parse');
  const text = `{"reason":[${Array(2_000).fill('{}').join(',')}]}`;
  for (const name of ['error', 'goodbye', 'server-intent', 'payload-transferred'])
    expect(last([event(name, text)])).toMatchObject({ problem: expect.stringContaining('more than 1000 values') });
  expect(parse.mock.calls.filter(([parsed]) => parsed.length > 1_000)).toEqual([]);
  parse.mockRestore();
});

test.each<[string, string, string, object]>([
  ['names of its own', 'put-object', '"kind":"flag","key":"a"', { kind: 'pending' }],
  ['names of its own and an unknown kind', 'put-object', '"kind":"x","key":"a"', { kind: 'ignored' }],
  ['a long list for its key', 'put-object', `"kind":"flag","key":[${'{},'.repeat(20_000)}0]`, { kind: 'invalid' }],
  ['a long key', 'put-object', `"kind":"flag","key":"${'k'.repeat(20_000)}"`, { kind: 'invalid' }],
  ['names of its own', 'delete-object', '"kind":"flag","key":"a"', { kind: 'invalid' }],
  ['names of its own', 'server-intent', '"payloads":[]', { kind: 'invalid' }],
])('an event with too many values, %s, is not kept and hardly parsed: %s', (_, name, members, outcome) => {
  const text = `{${Array.from({ length: 5_000 }, (__, at) => `"n${at}":1`).join(',')},${members}}`;
  const parse = jest.spyOn(JSON, 'parse');
  const sets = jest.spyOn(Map.prototype, 'set');
  try {
    expect(last([full, event(name, text)], { maxBytes: 100_000 })).toMatchObject(outcome);
    expect(parse.mock.calls.filter(([parsed]) => parsed.length > 1_000)).toEqual([]);
    expect(sets.mock.calls.length).toBeLessThan(20);
  } finally {
    parse.mockRestore();
    sets.mockRestore();
  }
});

test('the size of one transfer has a limit, whatever its objects are', () => {
  const many = Array.from({ length: 100 }, (_, index) => deleteObject('flag', `f${index}`, 1));
  expect(last([full, ...many], { maxBytes: 14_000 })).toMatchObject({
    problem: expect.stringMatching(/^what is transferred takes more than 14000 bytes, .*more memory/),
  });
  expect(
    last([full, ...many.slice(0, 20), transferred('1'), ...many.slice(0, 20), transferred('2')], { maxBytes: 14_000 }),
  ).toMatchObject({ kind: 'changes' });
});

test.each<[string, FDv2Event[], string]>([
  ['event', [event('surprise', {})], 'an event of the unknown kind "surprise"'],
  [
    'kind of object',
    [full, event('put-object', { kind: 'toString', key: 'a', version: 1, object: {} })],
    'a put-object of the kind "toString"',
  ],
  ['intent', [intent('xfer-none')], 'a server-intent with the code "xfer-none"'],
  ['object before an intent', [put(1)], 'a put-object before any server-intent'],
])('an unknown %s is ignored, with a reason', (_, events, why) => {
  expect(last(events)).toEqual({ kind: 'ignored', why });
});

test('a goodbye has its reason, and may ask for FDv1', () => {
  expect(last([event('goodbye', { reason: 'deploy' })])).toEqual({ kind: 'goodbye', reason: 'deploy' });
  expect(last([event('goodbye', { reason: 'x', protocolFallbackTTL: 60 })])).toMatchObject({ fallbackMs: 60_000 });
  expect(last([event('goodbye', { reason: 'x', protocolFallbackTTL: -5 })])).toMatchObject({ fallbackMs: 0 });
  expect(last([event('goodbye', { protocolFallbackTTL: '60' })])).toEqual({ kind: 'goodbye', reason: 'none given' });
});

/** Expected values come from the handler of LaunchDarkly's SDKs, which sees the same events. */
test('random events give the payloads that the official handler gives @heavy', () => {
  for (let seed = 1; seed <= (process.env.LONG ? 3_000 : 100); seed++) {
    const random = seededRandom(seed);
    const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!;
    const key = () => pick(['a', 'b', 'c', 'd']);
    const version = () => 1 + Math.floor(random() * 50);
    const makers: readonly (() => FDv2Event)[] = [
      () => put(version(), key()),
      () => put(version(), key()),
      () => putObject('segment', segmentData(key(), version())),
      () => putObject('unknown', segmentData(key(), version())),
      () => deleteObject(pick(['flag', 'segment']), key(), version()),
      () => transferred(`s${version()}`),
      () => transferred(`s${version()}`),
      () => intent(pick(['xfer-full', 'xfer-changes', 'none', 'other'])),
      () => event('heart-beat', {}),
      () => event('surprise', {}),
      () => event('error', { reason: 'x' }),
    ];
    const events = [intent(pick(['xfer-full', 'xfer-changes'])), ...Array.from({ length: 60 }, () => pick(makers)())];
    const wanted: unknown[] = [];
    const processor = new internal.PayloadProcessor({ flag: (one: unknown) => one, segment: (one: unknown) => one });
    processor.addPayloadListener(({ type, state, updates }: OfficialPayload) => {
      const latest = new Map(
        updates.map((one) => [`${one.kind} ${one.key}`, [one.kind, one.key, one.version, one.deleted ?? false]]),
      );
      wanted.push(type === 'none' ? ['current'] : [type, state, [...latest.values()].sort()]);
    });
    const steps = read(events);
    // Where the handler would remove every flag, the reader asks for everything again.
    const end = steps.findIndex(({ kind }) => kind === 'invalid');
    if (end >= 0) expect(steps[end]).toMatchObject({ problem: 'an empty transfer of everything after an error' });
    const compared = end < 0 ? events.length : end;
    processor.processEvents(events.slice(0, compared) as never);
    const got = steps.slice(0, compared).flatMap((step): unknown[] => {
      if (step.kind === 'current') return [['current']];
      if (step.kind !== 'full' && step.kind !== 'changes') return [];
      const all = step.kind === 'full' ? step.items : step.changes;
      const named = all.map((one) => {
        expect(one).not.toHaveProperty('reason');
        const { kind, key: itsKey, version: its, deleted } = one as ReturnType<typeof flag>;
        return [kind === 'features' ? 'flag' : 'segment', itsKey, its, deleted];
      });
      return [[step.kind === 'full' ? 'full' : 'partial', step.state, named.sort()]];
    });
    expect({ seed, got }).toEqual({ seed, got: wanted });
  }
});

test.each(['version', 'key'])('the names of an object without a %s are not listed, as a copy would do', (missing) => {
  const reader = createFDv2Reader({});
  resultOf(reader.read('server-intent', JSON.stringify(changes.data)));
  const { [missing]: _, ...object } = { ...flagData('a', 9) } as Record<string, unknown>;
  const text = JSON.stringify({ kind: 'flag', key: 'a', version: 9, object });
  let listed = 0;
  const parse = JSON.parse;
  const parsing = jest.spyOn(JSON, 'parse').mockImplementation((parsed: string) => {
    const body = parse(parsed) as { object?: object };
    if (parsed !== text) return body;
    const ownKeys = (target: object) => {
      listed += 1;
      return Reflect.ownKeys(target);
    };
    return { ...body, object: new Proxy(body.object ?? {}, { ownKeys }) };
  });
  const step = resultOf(reader.read('put-object', text));
  parsing.mockRestore();
  expect([step, listed]).toEqual([{ kind: 'pending' }, 0]);
  expect(versions(resultOf(reader.read('payload-transferred', '{"state":"s"}')))).toEqual([['a', 9, false]]);
});

test.each(['{}', '{ }', '{"on":true}', '{ "on" : true }'])(
  'what an object lacks is put before what it has: %s',
  (text) => {
    const body = `{"kind":"segment","key":"s","version":7,"object":${text}}`;
    const step = last([changes, event('put-object', body), transferred('1')]);
    const [item] = step?.kind === 'changes' ? step.changes : [];
    expect(item).toMatchObject({ key: 's', version: 7 });
    expect(JSON.parse((item as { json: string }).json)).toMatchObject({ ...(JSON.parse(text) as object), key: 's' });
  },
);

test('a version that is a long list costs only its object, and is not written', () => {
  const stringify = jest.spyOn(JSON, 'stringify');
  const body = `{"kind":"flag","key":"a","version":[${'1,'.repeat(5_000)}1],"object":{"on":true}}`;
  const step = last([changes, event('put-object', body), transferred('1')]);
  const longest = Math.max(...stringify.mock.results.map(({ value }) => String(value).length));
  stringify.mockRestore();
  expect(versions(step)).toEqual([expect.objectContaining({ key: 'a', reason: expect.stringContaining('version') })]);
  expect(longest).toBeLessThan(1_000);
});
