import { type KeyStatement, NO_KEYS, rotateKeys } from '../../../relay-task/environments/key-rotation.ts';
import { createRegistry } from '../../../relay-task/environments/registry.ts';

const NOW = 1_760_000_000_000;
const PAST = NOW - 1;
const LATER = NOW + 3_600_000;
const MUCH_LATER = NOW + 7_200_000;

const none = { sdkKeys: [], mobileKey: undefined, mobileKeys: [] };
const key = (value: string, expiresAt?: number) => ({ value, ...(expiresAt !== undefined && { expiresAt }) });
/** `sdkKey` with a grace period for another key, as in LaunchDarkly's auto-configuration. */
const sdk = (sdkKey: string, expiring?: { value: string; expiresAt?: number }): KeyStatement => ({
  ...none,
  sdkKey,
  expiring,
});

/** Applies the statements in order, all at NOW, and shows the resulting keys as `primary, other until time`. */
function after(...statements: KeyStatement[]): string[] {
  const held = statements.reduce((keys, statement) => rotateKeys(keys, statement, NOW), NO_KEYS);
  const names = new Map([
    [LATER, 'later'],
    [MUCH_LATER, 'much later'],
  ]);
  const shown = held.credentials.map(({ kind, value, expiresAt }) => {
    const until = expiresAt === undefined ? '' : ` until ${names.get(expiresAt) ?? expiresAt}`;
    return `${kind} ${value}${until}`;
  });
  expect(held.credentials.find(({ kind }) => kind === 'sdkKey')?.value).toBe(held.sdkKey);
  expect(held.credentials.find(({ kind }) => kind === 'mobileKey')?.value).toBe(held.mobileKey);
  return shown;
}

describe('an SDK key rotation', () => {
  // The rows of ld-relay's state machine: P is the current key, V the stated one, K a key with a grace period until T.
  test.each<[string, KeyStatement[], string[]]>([
    ['V = P, no grace: nothing happens', [sdk('P'), sdk('P')], ['sdkKey P']],
    ['V ≠ P, no grace: P ends now', [sdk('P'), sdk('V')], ['sdkKey V']],
    [
      'K already has a grace period: V is in use, P ends now, K keeps its time',
      [sdk('P', key('K', LATER)), sdk('V', key('K', LATER))],
      ['sdkKey V', 'sdkKey K until later'],
    ],
    [
      'K already has a grace period and gets another: the last one counts',
      [sdk('P', key('K', MUCH_LATER)), sdk('P', key('K', LATER))],
      ['sdkKey P', 'sdkKey K until later'],
    ],
    ['T has passed, K = P: P ends now', [sdk('P'), sdk('V', key('P', PAST))], ['sdkKey V']],
    ['T has passed, K ≠ P: P also ends now', [sdk('P'), sdk('V', key('K', PAST))], ['sdkKey V']],
    [
      'T has passed for a K in its grace period: K ends now',
      [sdk('P', key('K', LATER)), sdk('P', key('K', PAST))],
      ['sdkKey P'],
    ],
    ['K = P: P works until T', [sdk('P'), sdk('V', key('P', LATER))], ['sdkKey V', 'sdkKey P until later']],
    ['K ≠ P: K works until T, P ends now', [sdk('P'), sdk('V', key('K', LATER))], ['sdkKey V', 'sdkKey K until later']],
    ['boot during the grace period: both keys work', [sdk('V', key('K', LATER))], ['sdkKey V', 'sdkKey K until later']],
    ['T is now: K still works', [sdk('V', key('K', NOW))], ['sdkKey V', `sdkKey K until ${NOW}`]],
    [
      'K is in use again: its expiry is dropped',
      [sdk('A'), sdk('B', key('A', LATER)), sdk('A', key('B', LATER))],
      ['sdkKey A', 'sdkKey B until later'],
    ],
    ['K = V: the grace period is ignored', [sdk('V', key('V', LATER))], ['sdkKey V']],
    [
      'two rotations in a row: both old keys keep their expiry',
      [sdk('A'), sdk('B', key('A', LATER)), sdk('C', key('B', MUCH_LATER))],
      ['sdkKey C', 'sdkKey A until later', 'sdkKey B until much later'],
    ],
    ['no key is stated: the old one is kept', [sdk('P'), { ...none, sdkKey: undefined }], ['sdkKey P']],
    ['no key was ever stated: there is none', [{ ...none, sdkKey: undefined }], []],
  ])('%s', (_, statements, expected) => {
    expect(after(...statements)).toEqual(expected);
  });

  test('removes an expired key at the next statement', () => {
    const rotated = rotateKeys(rotateKeys(NO_KEYS, sdk('A'), NOW), sdk('B', key('A', LATER)), NOW);
    expect(rotateKeys(rotated, sdk('B'), LATER + 1).credentials).toEqual([{ kind: 'sdkKey', value: 'B' }]);
  });
});

describe('a list of SDK keys', () => {
  const list = (sdkKey: string, ...sdkKeys: KeyStatement['sdkKeys']): KeyStatement => ({ ...none, sdkKey, sdkKeys });

  test.each<[string, KeyStatement[], string[]]>([
    [
      'replaces the previous list',
      [list('A', key('A'), key('B')), list('A', key('A'), key('C'))],
      ['sdkKey A', 'sdkKey C'],
    ],
    ['begins with the key in use', [list('B', key('A'), key('B'))], ['sdkKey B', 'sdkKey A']],
    ['sets the expiry of keys', [list('A', key('A'), key('B', LATER))], ['sdkKey A', 'sdkKey B until later']],
    ['leaves out expired keys', [list('A', key('A'), key('B', PAST))], ['sdkKey A']],
    [
      'can remove an expiry',
      [list('A', key('A'), key('B', LATER)), list('A', key('A'), key('B'))],
      ['sdkKey A', 'sdkKey B'],
    ],
    [
      'changes the key in use without ending the other',
      [list('A', key('A'), key('B')), list('B', key('A'), key('B'))],
      ['sdkKey B', 'sdkKey A'],
    ],
    ['overrides the older form of grace period', [{ ...list('A', key('A')), expiring: key('K', LATER) }], ['sdkKey A']],
    ['ends grace periods of keys that it omits', [sdk('A', key('K', LATER)), list('A', key('A'))], ['sdkKey A']],
    ['that is no longer sent leaves only the key in use', [list('A', key('A'), key('B')), sdk('A')], ['sdkKey A']],
  ])('%s', (_, statements, expected) => {
    expect(after(...statements)).toEqual(expected);
  });
});

describe('a mobile key', () => {
  const mobile = (mobileKey: string | null | undefined, ...mobileKeys: KeyStatement['mobileKeys']): KeyStatement => ({
    ...none,
    ...{ sdkKey: 'S', mobileKey, mobileKeys },
  });

  test.each<[string, KeyStatement[], string[]]>([
    ['is replaced without a grace period', [mobile('M'), mobile('N')], ['mobileKey N']],
    ['is kept if none is stated', [mobile('M'), mobile(undefined)], ['mobileKey M']],
    ['is removed if the statement says that there is none', [mobile('M'), mobile(null)], []],
    [
      'gets its grace period from the list',
      [mobile('M'), mobile('N', key('N'), key('M', LATER))],
      ['mobileKey N', 'mobileKey M until later'],
    ],
    [
      'is removed if the list omits it',
      [mobile('M', key('M'), key('O')), mobile('N', key('N'), key('M'))],
      ['mobileKey N', 'mobileKey M'],
    ],
    ['without a list is the only one', [mobile('M', key('M'), key('O')), mobile('M')], ['mobileKey M']],
  ])('%s', (_, statements, expected) => {
    expect(after(...statements)).toEqual(['sdkKey S', ...expected]);
  });
});

test('a key that comes back into use does not expire at its earlier expiry', () => {
  let now = NOW;
  const timers: (() => void)[] = [];
  const clock = {
    now: () => now,
    after(_ms: number, run: () => void) {
      timers.push(run);
      return () => {};
    },
  };
  const registry = createRegistry<string>({ clock });
  registry.apply({ type: 'source-complete' });
  const states = [sdk('A'), sdk('B', key('A', LATER)), sdk('A', key('B', MUCH_LATER))];
  let held = NO_KEYS;
  for (const statement of states) {
    held = rotateKeys(held, statement, now);
    registry.apply({ type: 'add-environment', name: 'e', environment: 'e', credentials: held.credentials });
  }
  now = LATER + 1;
  for (const run of timers.splice(0)) run();
  expect(registry.find('sdkKey', 'A')).toMatchObject({ environment: 'e' });
  expect(registry.find('sdkKey', 'B')).toMatchObject({ environment: 'e' });
  now = MUCH_LATER + 1;
  for (const run of timers.splice(0)) run();
  expect(registry.find('sdkKey', 'A')).toMatchObject({ environment: 'e' });
  expect(registry.find('sdkKey', 'B')).toBe('unknown-credential');
});
