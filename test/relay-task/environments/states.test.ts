import type { Item } from '../../../lib/flag-table/index.ts';
import { createEnvironment } from '../../../relay-task/environments/environment.ts';
import { createHistory } from '../../../relay-task/environments/history.ts';
import { flag, segment, tombstone } from '../../support/items.ts';
import { silentLog } from '../../support/logs.ts';

function start(...items: Item[]) {
  const environment = createEnvironment({
    name: 'test',
    log: silentLog,
    onChange() {},
  });
  if (items.length > 0) environment.put(items, [], 0);
  /** Undefined for an unknown state; otherwise the changes, as `a2 b1x`: x marks a deletion. */
  const since = (state: string) =>
    environment.fdv2.since(state)?.flatMap(({ event, json }) => {
      const { key, version } = JSON.parse(json);
      return event === 'put-object' ? [`${key}${version}`] : event === 'delete-object' ? [`${key}${version}x`] : [];
    });
  return { environment, since };
}

describe('the state of an environment', () => {
  test('is empty before there is data and never afterwards', () => {
    const { environment } = start();
    expect(environment.state()).toBe('');
    expect(environment.fdv2.since('')).toBeUndefined();
    environment.put([], [], 0);
    expect(environment.state()).not.toBe('');
  });

  test('is the same for the same live items, and returns with them', () => {
    const one = start(flag('a', 1), segment('s', 1)).environment;
    const other = start(segment('s', 1), flag('a', 1), flag('b', 1)).environment;
    const before = other.state();
    expect(before).not.toBe(one.state());
    other.upsert(tombstone('features', 'b', 2), 0);
    expect(other.state()).toBe(one.state());
    one.upsert(flag('a', 2), 0);
    expect(one.state()).not.toBe(other.state());
  });
});

describe('the changes since a state', () => {
  test('are what differs, each item once in its current version: segments, flags, then deletions', () => {
    const { environment, since } = start(flag('a', 1), flag('b', 1), segment('s', 1));
    const first = environment.state();
    expect(since(first)).toEqual([]);
    environment.upsert(flag('a', 2), 0);
    environment.upsert(tombstone('features', 'b', 2), 0);
    environment.upsert(segment('s', 2), 0);
    const second = environment.state();
    environment.upsert(flag('a', 3), 0);
    expect(since(first)).toEqual(['s2', 'a3', 'b2x']);
    expect(since(second)).toEqual(['a3']);
  });

  test('are unknown for a state of another relay', () => {
    const { since } = start(flag('a', 1));
    expect(since('0123456789abcdef0123456789abcdef')).toBeUndefined();
    expect(since('')).toBeUndefined();
  });

  test('are unknown across a change that needs a put', () => {
    const { environment, since } = start(flag('a', 5));
    const before = environment.state();
    environment.put([flag('a', 4)], [], 0);
    expect(since(before)).toBeUndefined();
    expect(since(environment.state())).toEqual([]);
  });

  test('are unknown for a state that was left and came back, since a client may hold higher versions', () => {
    const { environment, since } = start(flag('a', 5));
    const before = environment.state();
    environment.upsert(flag('a', 6), 0);
    environment.put([flag('a', 5)], [], 0);
    expect(environment.state()).toBe(before);
    expect(since(before)).toBeUndefined();
  });

  test('are empty if only an unknown field changed, which no SDK reads', () => {
    const { environment, since } = start(flag('a', 1, { later: 1 }));
    const before = environment.state();
    environment.put([flag('a', 1, { later: 2 })], [], 0);
    expect(environment.state()).not.toBe(before);
    expect(since(before)).toEqual([]);
  });
});

describe('the history of states', () => {
  const named = (...keys: string[]) => keys.map((key) => flag(key, 1));

  test('is bounded by steps and always keeps the newest', () => {
    const history = createHistory({ steps: 10 });
    for (let i = 0; i < 100; i++) history.record(`s${i}`, 'patch', named(`k${i}`));
    expect(history.latest).toBe('s99');
    expect(history.since('s0')).toBeUndefined();
    expect(history.since('s97')).toEqual([
      { kind: 'features', key: 'k98' },
      { kind: 'features', key: 'k99' },
    ]);
  });

  test('is bounded by the number of changes, but always keeps the newest', () => {
    const history = createHistory({ names: 10 });
    history.record('a', 'patch', named('x'));
    history.record('b', 'patch', named(...Array.from({ length: 50 }, (_, i) => `k${i}`)));
    expect(history.since('a')).toBeUndefined();
    expect(history.since('b')).toEqual([]);
  });
});

describe('the events of FDv2', () => {
  const events = (list: readonly { event: string; json: string }[] | undefined) =>
    list?.map(({ event, json }) => [event, JSON.parse(json)]);
  const intent = (intentCode: string, reason: string) => [
    'server-intent',
    { payloads: [{ id: 'default', target: 1, intentCode, reason }] },
  ];
  const object = (item: Item) => [
    'put-object',
    {
      version: item.version,
      kind: item.kind === 'features' ? 'flag' : 'segment',
      key: item.key,
      object: JSON.parse(item.json),
    },
  ];

  test('are a full transfer for a client without a state or with an unknown one', () => {
    const { environment } = start(flag('a', 1), segment('s', 2), tombstone('features', 'gone', 9));
    const transferred = ['payload-transferred', { state: environment.state(), id: 'default', version: 1 }];
    const objects = [object(segment('s', 2)), object(flag('a', 1))];
    expect(events(environment.fdv2.full(false))).toEqual([
      intent('xfer-full', 'payload-missing'),
      ...objects,
      transferred,
    ]);
    expect(environment.fdv2.since('elsewhere')).toBeUndefined();
    expect(events(environment.fdv2.full(true))![0]).toEqual(intent('xfer-full', 'cant-catchup'));
  });

  test('are the changes for a client with a known state, and none if it is current', () => {
    const { environment } = start(flag('a', 1), flag('b', 1));
    const basis = environment.state();
    expect(events(environment.fdv2.since(basis))).toEqual([intent('none', 'up-to-date')]);
    environment.upsert(flag('a', 2), 0);
    environment.upsert(tombstone('features', 'b', 3), 0);
    expect(events(environment.fdv2.since(basis))).toEqual([
      intent('xfer-changes', 'stale'),
      object(flag('a', 2)),
      ['delete-object', { version: 3, kind: 'flag', key: 'b' }],
      ['payload-transferred', { state: environment.state(), id: 'default', version: 1 }],
    ]);
  });

  test('contain items byte for byte', () => {
    const strange = { ...flag('a', 1), json: flag('a', 1).json.replace('{', '{"new field": 1e2, ') };
    const { environment } = start(strange);
    expect(environment.fdv2.full(false)[1]!.json).toBe(
      `{"version":1,"kind":"flag","key":"a","object":${strange.json}}`,
    );
  });
});

test('changes and whole sets are sent with prerequisites before the flags that need them', () => {
  const needs = (key: string) => ({ prerequisites: [{ key, variation: 0 }] });
  const changes: string[] = [];
  const environment = createEnvironment({
    name: 'test',
    log: silentLog,
    onChange: ({ items }) => changes.push(items.map(({ key, version }) => `${key}${version}`).join(' ')),
  });
  environment.put([flag('a', 1, needs('b')), flag('b', 1, needs('c')), flag('c', 1), segment('s', 1)], [], 0);
  const basis = environment.state();
  environment.put([flag('a', 2, needs('b')), flag('b', 1, needs('c')), flag('c', 2), segment('s', 2)], [], 0);
  expect(changes).toEqual(['s1 c1 b1 a1', 's2 c2 a2']);
  const keysSince = (state: string) =>
    environment.fdv2.since(state)?.flatMap(({ event, json }) => (event === 'put-object' ? [JSON.parse(json).key] : []));
  expect(keysSince(basis)).toEqual(['s', 'c', 'a']);
});
