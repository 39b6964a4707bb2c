import { type Clock, createRegistry, type Vanished } from '../../../relay-task/environments/registry.ts';
import type { Credential } from '../../../relay-task/ports.ts';

const SDK_KEY = 'sdk-11111111-2222-3333-4444-555555566666';
const MOBILE_KEY = 'mob-11111111-2222-3333-4444-555555577777';

function createManualClock(start = 1_000) {
  let now = start;
  const waiting = new Set<{ at: number; run: () => void }>();
  const clock: Clock = {
    now: () => now,
    after(ms, run) {
      if (ms > 2 ** 31 - 1) throw new Error(`Node would run a timer of ${ms} ms at once`);
      const entry = { at: now + ms, run };
      waiting.add(entry);
      return () => void waiting.delete(entry);
    },
  };
  return {
    clock,
    advance(ms: number) {
      now += ms;
      for (const entry of [...waiting]) {
        if (entry.at > now) continue;
        waiting.delete(entry);
        entry.run();
      }
    },
  };
}

function start() {
  const time = createManualClock();
  const registry = createRegistry<string>({ clock: time.clock });
  const vanished: Vanished<string>[] = [];
  registry.onVanished((gone) => vanished.push(...gone));
  return { registry, vanished, ...time };
}

const sdkKey = (value: string, expiresAt?: number) => ({
  kind: 'sdkKey' as const,
  value,
  ...(expiresAt !== undefined && { expiresAt }),
});

describe('a credential', () => {
  test('is never reported unknown before the source of keys has been read once', () => {
    const { registry } = start();
    expect(registry.find('sdkKey', SDK_KEY)).toBe('not-yet');
    registry.apply({ type: 'add-environment', name: 'production', environment: 'P', credentials: [sdkKey(SDK_KEY)] });
    expect(registry.find('sdkKey', SDK_KEY)).toEqual({ name: 'production', filter: '', environment: 'P' });
    expect(registry.find('sdkKey', SDK_KEY, 'later')).toBe('not-yet');
    expect(registry.find('sdkKey', 'sdk-other')).toBe('not-yet');
    registry.apply({ type: 'source-complete' });
    expect(registry.find('sdkKey', SDK_KEY, 'never')).toBe('unknown-filter');
    expect(registry.find('sdkKey', 'sdk-other')).toBe('unknown-credential');
  });

  test('of one kind is unknown as another kind', () => {
    const { registry } = start();
    registry.apply({ type: 'source-complete' });
    registry.apply({ type: 'add-environment', name: 'a', environment: 'A', credentials: [sdkKey(SDK_KEY)] });
    expect(registry.find('mobileKey', SDK_KEY)).toBe('unknown-credential');
    expect(registry.find('environmentId', SDK_KEY)).toBe('unknown-credential');
  });

  test('opens a different view for each filter', () => {
    const { registry } = start();
    registry.apply({ type: 'add-environment', name: 'a', environment: 'all', credentials: [sdkKey(SDK_KEY)] });
    registry.apply({ type: 'add-environment', name: 'a', filter: 'small', environment: 'some' });
    expect(registry.find('sdkKey', SDK_KEY)).toMatchObject({ environment: 'all' });
    expect(registry.find('sdkKey', SDK_KEY, 'small')).toMatchObject({ environment: 'some' });
  });

  test('is not unknown while its environment is still being built', () => {
    const { registry } = start();
    registry.apply({ type: 'source-complete' });
    registry.apply({ type: 'set-credentials', name: 'a', credentials: [sdkKey(SDK_KEY)] });
    expect(registry.find('sdkKey', SDK_KEY)).toBe('not-yet');
  });

  test('of two environments belongs to the first, and the problem names both but not the key', () => {
    const { registry } = start();
    registry.apply({ type: 'source-complete' });
    registry.apply({ type: 'add-environment', name: 'first', environment: '1', credentials: [sdkKey(SDK_KEY)] });
    const problems = registry.apply({
      type: 'add-environment',
      name: 'second',
      environment: '2',
      credentials: [sdkKey(SDK_KEY), { kind: 'mobileKey', value: MOBILE_KEY }],
    });
    expect(problems).toEqual([
      'the sdkKey of environment "second" already belongs to environment "first"; give each its own',
    ]);
    expect(registry.find('sdkKey', SDK_KEY)).toMatchObject({ environment: '1' });
    expect(registry.find('mobileKey', MOBILE_KEY)).toMatchObject({ environment: '2' });
  });

  test('that is empty is rejected and opens nothing', () => {
    const { registry } = start();
    registry.apply({ type: 'source-complete' });
    const problems = registry.apply({
      type: 'add-environment',
      name: 'a',
      environment: 'A',
      credentials: [sdkKey(''), sdkKey('sdk-good')],
    });
    expect(problems).toEqual([expect.stringContaining('"a" has an empty sdkKey')]);
    expect(registry.find('sdkKey', '')).toBe('unknown-credential');
    expect(registry.find('sdkKey', 'sdk-good')).toMatchObject({ environment: 'A' });
  });
});

describe('a removed or expiring credential', () => {
  test('is reported once for each view, and other credentials keep working', () => {
    const { registry, vanished } = start();
    registry.apply({ type: 'source-complete' });
    const kept = { kind: 'mobileKey' as const, value: MOBILE_KEY };
    registry.apply({ type: 'add-environment', name: 'a', environment: 'all', credentials: [sdkKey('sdk-old'), kept] });
    registry.apply({ type: 'add-environment', name: 'a', filter: 'f', environment: 'some' });
    registry.apply({ type: 'set-credentials', name: 'a', credentials: [sdkKey('sdk-new'), kept] });
    expect(vanished.map(({ credential, filter, reason }) => [credential, filter, reason])).toEqual([
      ['sdk-old', '', 'revoked'],
      ['sdk-old', 'f', 'revoked'],
    ]);
    expect(registry.find('sdkKey', 'sdk-old')).toBe('unknown-credential');
    expect(registry.find('sdkKey', 'sdk-new')).toMatchObject({ environment: 'all' });
    expect(registry.find('mobileKey', MOBILE_KEY, 'f')).toMatchObject({ environment: 'some' });
  });

  test('works until its expiry, then its streams are closed', () => {
    const { registry, vanished, advance } = start();
    registry.apply({ type: 'source-complete' });
    registry.apply({
      type: 'add-environment',
      name: 'a',
      environment: 'A',
      credentials: [sdkKey('new'), sdkKey('old', 2_000)],
    });
    advance(1_000);
    expect(registry.find('sdkKey', 'old')).toMatchObject({ environment: 'A' });
    expect(registry.credentials('a')).toHaveLength(2);
    advance(1);
    expect(registry.find('sdkKey', 'old')).toBe('unknown-credential');
    expect(vanished).toEqual([
      { name: 'a', filter: '', environment: 'A', kind: 'sdkKey', credential: 'old', reason: 'expired' },
    ]);
    expect(registry.credentials('a')).toEqual([{ kind: 'sdkKey', value: 'new' }]);
  });

  test('does not expire if it becomes the primary key again', () => {
    const { registry, vanished, advance } = start();
    registry.apply({
      type: 'add-environment',
      name: 'a',
      environment: 'A',
      credentials: [sdkKey('new'), sdkKey('old', 2_000)],
    });
    registry.apply({ type: 'set-credentials', name: 'a', credentials: [sdkKey('old')] });
    expect(vanished.map(({ credential }) => credential)).toEqual(['new']);
    advance(100_000_000_000);
    expect(registry.find('sdkKey', 'old')).toMatchObject({ environment: 'A' });
  });

  test('does not expire early if its expiry is beyond the range of a timer', () => {
    const { registry, vanished, advance } = start();
    const farAway = 60 * 86_400_000;
    registry.apply({ type: 'add-environment', name: 'a', environment: 'A', credentials: [sdkKey('k', farAway)] });
    advance(2 ** 31);
    expect(vanished).toEqual([]);
    advance(farAway);
    expect(vanished).toHaveLength(1);
  });

  test('can be used by another environment once its own is removed', () => {
    const { registry, vanished } = start();
    registry.apply({ type: 'source-complete' });
    registry.apply({ type: 'add-environment', name: 'a', environment: 'A', credentials: [sdkKey(SDK_KEY)] });
    registry.apply({ type: 'add-environment', name: 'a', filter: 'f', environment: 'F' });
    registry.apply({ type: 'remove-environment', name: 'a', filter: 'f' });
    expect(vanished.map(({ filter, reason }) => [filter, reason])).toEqual([['f', 'removed']]);
    expect(registry.find('sdkKey', SDK_KEY, 'f')).toBe('unknown-filter');
    registry.apply({ type: 'remove-environment', name: 'a' });
    expect(vanished).toHaveLength(2);
    expect(registry.find('sdkKey', SDK_KEY)).toBe('unknown-credential');
    expect(
      registry.apply({ type: 'add-environment', name: 'b', environment: 'B', credentials: [sdkKey(SDK_KEY)] }),
    ).toEqual([]);
    expect(registry.find('sdkKey', SDK_KEY)).toMatchObject({ name: 'b' });
  });
});

test('a change of one environment costs the same however many others there are, and sets no timer of theirs again', () => {
  const time = createManualClock();
  let timers = 0;
  const registry = createRegistry<string>({
    clock: {
      now: time.clock.now,
      after(ms, run) {
        timers += 1;
        return time.clock.after(ms, run);
      },
    },
  });
  let looks = 0;
  const watched = (value: string, expiresAt: number | undefined): Credential =>
    ({
      kind: 'sdkKey',
      value,
      get expiresAt() {
        looks += 1;
        return expiresAt;
      },
    }) as Credential;
  for (let i = 0; i < 3_000; i++) {
    const credentials = [watched(`new-${i}`, undefined), watched(`old-${i}`, 5_000 + i)];
    registry.apply({ type: 'add-environment', name: `e${i}`, environment: `E${i}`, credentials });
  }
  expect(timers).toBe(1);
  looks = 0;
  registry.apply({ type: 'set-credentials', name: 'e7', credentials: [sdkKey('new-7'), sdkKey('newer', 9_999)] });
  // Only the credentials that the environment had, each a few times.
  expect(looks).toBeLessThan(20);
  expect(timers).toBe(1);
});

test('credentials that expire one after the other end at their own time, whatever changes in between', () => {
  const { registry, vanished, advance } = start();
  const add = (name: string, expiresAt: number) =>
    registry.apply({ type: 'add-environment', name, environment: name, credentials: [sdkKey(name, expiresAt)] });
  add('third', 4_000);
  add('first', 2_000);
  add('second', 3_000);
  add('prolonged', 2_500);
  add('removed', 1_500);
  registry.apply({ type: 'set-credentials', name: 'prolonged', credentials: [sdkKey('prolonged', 5_000)] });
  registry.apply({ type: 'remove-environment', name: 'removed' });
  vanished.length = 0;
  const gone: string[][] = [];
  for (const ms of [1_001, 1_000, 1_000, 1_000]) {
    advance(ms);
    gone.push(vanished.splice(0).map(({ credential }) => credential));
  }
  expect(gone).toEqual([['first'], ['second'], ['third'], ['prolonged']]);
});
