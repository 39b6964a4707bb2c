import type { Credential, EnvironmentDescription } from '../../../relay-task/ports.ts';
import { createAdmission, createHeard, firstKeyOf, sourceOf } from '../../../relay-task/wiring/admission.ts';

const sdk = (value: string, expiresAt?: number): Credential => ({
  kind: 'sdkKey',
  value,
  ...(expiresAt !== undefined && { expiresAt }),
});
const mobile = (value: string): Credential => ({ kind: 'mobileKey', value });

/** The first credential is the SDK key in use. */
function environment(first: Credential, ...others: Credential[]): EnvironmentDescription {
  return { sdkKey: first.value, credentials: [first, ...others], filters: [] } as unknown as EnvironmentDescription;
}

const A = 'key a';
const B = 'key b';

test('an environment with one key admits all its credentials from the start', () => {
  const admission = createAdmission(environment(sdk('a'), mobile('m')));
  expect([admission.admits('sdkKey', 'a'), admission.admits('mobileKey', 'm')]).toEqual([true, true]);
});

test('a new key and what comes with it are admitted once the key has delivered; what was there before stays admitted', () => {
  const admission = createAdmission(environment(sdk('a'), mobile('m')));
  admission.holds(A);
  admission.update(environment(sdk('b'), sdk('a', 9), mobile('m'), mobile('n')));
  const admitted = () =>
    ['sdkKey a', 'sdkKey b', 'mobileKey m', 'mobileKey n'].filter((one) => {
      const [kind, value] = one.split(' ') as [Credential['kind'], string];
      return admission.admits(kind, value);
    });
  expect(admitted()).toEqual(['sdkKey a', 'mobileKey m']);
  admission.holds(A);
  expect(admitted()).toEqual(['sdkKey a', 'mobileKey m']);
  admission.holds(B);
  expect(admitted()).toEqual(['sdkKey a', 'sdkKey b', 'mobileKey m', 'mobileKey n']);
  // The old key's stream has delivered again.
  admission.holds(A);
  expect(admitted()).toEqual(['sdkKey a', 'mobileKey m']);
});

test('a key without data waits when the first data is that of a key whose grace time was added later, which has it at once', () => {
  const admission = createAdmission(environment(sdk('b'), mobile('m')));
  admission.update(environment(sdk('b'), sdk('a', 9), mobile('m')));
  admission.holds(A);
  expect(['a', 'b'].map((key) => admission.admits('sdkKey', key))).toEqual([true, false]);
  admission.holds(B);
  expect(['a', 'b'].map((key) => admission.admits('sdkKey', key))).toEqual([true, true]);
});

test('a new key that had its data waits again when the earlier key delivers once more, whatever the source said meanwhile', () => {
  const admission = createAdmission(environment(sdk('a'), mobile('m')));
  const rotating = environment(sdk('b'), sdk('a', 9), mobile('m'));
  admission.holds(A);
  admission.update(rotating);
  admission.holds(B);
  admission.update({ ...rotating, credentials: [...rotating.credentials, mobile('n')] });
  const admitted = () => [
    ...['a', 'b'].map((key) => admission.admits('sdkKey', key)),
    ...['m', 'n'].map((key) => admission.admits('mobileKey', key)),
  ];
  expect(admitted()).toEqual([true, true, true, true]);
  admission.holds(A);
  expect(admitted()).toEqual([true, false, true, false]);
  admission.holds(B);
  admission.update(environment(sdk('c'), sdk('b', 9), mobile('m'), mobile('n')));
  expect(admission.admits('sdkKey', 'b')).toBe(true);
  expect(['m', 'n'].map((key) => admission.admits('mobileKey', key))).toEqual([true, true]);
  expect(admission.admits('sdkKey', 'c')).toBe(false);
});

test('a credential that is repeated before the key has delivered keeps waiting', () => {
  const admission = createAdmission(environment(sdk('a')));
  admission.update(environment(sdk('b')));
  admission.update(environment(sdk('b'), mobile('m')));
  expect([admission.admits('sdkKey', 'b'), admission.admits('mobileKey', 'm')]).toEqual([false, false]);
});

test.each([
  ['nobody says that both are of one environment', undefined, 'production', [false, false]],
  ['LaunchDarkly says that they are of two', 'staging', 'production', [false, false]],
  ['LaunchDarkly says that they are of one', 'production', 'production', [true, true]],
])(
  'what is no longer named keeps its data until another key has delivered, and afterwards only as one environment: %s',
  (_, old, present, after) => {
    const [gone, goneMobile] = [sdk('a'), mobile('m')].map((one): Credential => ({ ...one, unconfirmed: true }));
    const admission = createAdmission(environment(sdk('a'), mobile('m')));
    if (old !== undefined) admission.belongs('a', old);
    admission.holds(A);
    admission.update(environment(sdk('b'), mobile('n'), gone!, goneMobile!));
    const admitted = () => [admission.admits('sdkKey', 'a'), admission.admits('mobileKey', 'm')];
    expect(admitted()).toEqual([true, true]);
    admission.belongs('b', present);
    admission.holds(B);
    expect(admitted()).toEqual(after);
    expect([admission.admits('sdkKey', 'b'), admission.admits('mobileKey', 'n')]).toEqual([true, true]);
  },
);

test('a credential that the source does not confirm belongs to the key that it came with', () => {
  const unconfirmed = (one: Credential): Credential => ({ ...one, unconfirmed: true });
  const admission = createAdmission(withId('one', sdk('a'), mobile('m')));
  admission.holds(A);
  // The SDK key and the client-side ID of another environment, while the mobile key is missing.
  admission.update(withId('two', sdk('b'), unconfirmed(mobile('m')), unconfirmed(mobile('n'))));
  admission.belongs('b', 'two');
  expect([admission.admits('mobileKey', 'm'), admission.admits('mobileKey', 'n')]).toEqual([true, false]);
  admission.holds(B);
  expect([admission.admits('mobileKey', 'm'), admission.admits('mobileKey', 'n')]).toEqual([false, true]);
  admission.update(withId('two', sdk('b'), mobile('m'), mobile('n')));
  expect(admission.admits('mobileKey', 'm')).toBe(true);
});

test('what came with a wrong SDK key does not get the data of the right one when that is put back, or of a third one', () => {
  const unconfirmed = (one: Credential): Credential => ({ ...one, unconfirmed: true });
  const admission = createAdmission(withId('one', sdk('a')));
  admission.holds(A);
  admission.update(withId('one', sdk('b'), mobile('n')));
  // Put back before it delivered; the former values stay until the source has been read again.
  admission.update(withId('one', sdk('a'), unconfirmed(sdk('b')), unconfirmed(mobile('n'))));
  const admitted = () => [admission.admits('sdkKey', 'b'), admission.admits('mobileKey', 'n')];
  expect([admission.admits('sdkKey', 'a'), ...admitted()]).toEqual([true, false, false]);
  admission.update(withId('one', sdk('c'), unconfirmed(sdk('b')), unconfirmed(mobile('n'))));
  admission.holds(sourceOf(withId('one', sdk('c'))));
  expect([admission.admits('sdkKey', 'c'), ...admitted()]).toEqual([true, false, false]);
});

test('another view of the environment that begins later knows what the credentials came with', () => {
  const unconfirmed = { ...mobile('m'), unconfirmed: true as const };
  const heard = createHeard();
  const first = createAdmission(environment(sdk('a'), mobile('m')), undefined, heard);
  first.holds(A);
  const corrected = environment(sdk('b'), sdk('a', 9), unconfirmed, mobile('n'));
  first.update(corrected);
  for (const deliver of ['nothing', 'the new key'] as const) {
    if (deliver === 'the new key') first.holds(B);
    const later = createAdmission(corrected, undefined, heard, first.history());
    later.holds(A);
    expect(['m', 'n'].map((value) => later.admits('mobileKey', value))).toEqual([true, false]);
    later.holds(B);
    expect(['m', 'n'].map((value) => later.admits('mobileKey', value))).toEqual([false, true]);
  }
});

test('a key that is not confirmed has its own data, whatever was held when that was noticed', () => {
  const admission = createAdmission(environment(sdk('a')));
  admission.holds(A);
  admission.update(environment(sdk('b'), sdk('a', 9)));
  admission.update(environment({ ...sdk('b'), unconfirmed: true }, sdk('a', 9)));
  expect(admission.admits('sdkKey', 'b')).toBe(false);
  admission.holds(B);
  expect(admission.admits('sdkKey', 'b')).toBe(true);
});

test('the client-side ID is that of the data: as LaunchDarkly said, else as the source says with the same SDK key', () => {
  const admission = createAdmission(withId('one', sdk('a')));
  admission.holds(A);
  expect(admission.environmentId()).toBe('one');
  admission.update(withId('two', sdk('b'), sdk('a', 9)));
  expect(admission.environmentId()).toBeUndefined();
  admission.holds(B);
  expect(admission.environmentId()).toBe('two');
  admission.belongs('b', 'three');
  expect(admission.environmentId()).toBe('three');
});

test('what LaunchDarkly says of a key does not count for a flags file', () => {
  const heard = createHeard();
  const withFile = (id: string, key: string) => ({ ...withId(id, sdk(key)), flagsFile: '/flags.json' });
  createAdmission(withFile('one', 'a'), undefined, heard).belongs('a', 'one');
  const other = createAdmission(withFile('two', 'b'), undefined, heard);
  other.holds('file /flags.json');
  expect(other.admits('environmentId', 'two')).toBe(true);
});

test('unmarked data of a store is data, so that the next source’s may be another environment’s', () => {
  const admission = createAdmission(environment(sdk('a')));
  expect(admission.takes(undefined)).toBe(true);
  admission.update(environment(sdk('b')));
  expect(admission.holds(B)).toBe(true);
});

test('the data before another source’s may be another environment’s, unless LaunchDarkly says that it is not', () => {
  const admission = createAdmission(environment(sdk('a'), sdk('b', 9)));
  expect([admission.holds(A), admission.holds(A), admission.holds(B)]).toEqual([false, false, true]);
  admission.belongs('a', 'production');
  expect(admission.holds(A)).toBe(true);
  admission.belongs('b', 'production');
  expect(admission.holds(B)).toBe(false);
  admission.belongs('a', 'staging');
  expect(admission.holds(A)).toBe(true);
});

test('the key before is admitted when it comes back, since the data is its own', () => {
  const admission = createAdmission(environment(sdk('a')));
  admission.holds(A);
  admission.update(environment(sdk('b')));
  admission.update(environment(sdk('a'), mobile('m')));
  expect([admission.admits('sdkKey', 'a'), admission.admits('mobileKey', 'm')]).toEqual([true, true]);
});

test('credentials that come without another SDK key are admitted at once', () => {
  const admission = createAdmission(environment(sdk('a')));
  admission.update(environment(sdk('a'), mobile('m'), sdk('old', 9)));
  expect([admission.admits('mobileKey', 'm'), admission.admits('sdkKey', 'old')]).toEqual([true, true]);
});

test('a task that starts during a rotation begins with the earlier key, and admits the new one once it has delivered', () => {
  const description = environment(sdk('b'), sdk('a', 9), sdk('older', 5), mobile('m'));
  expect(firstKeyOf('b', description.credentials)).toBe('a');
  const admission = createAdmission(description);
  const admitted = () => ['a', 'b'].map((key) => admission.admits('sdkKey', key));
  expect(admitted()).toEqual([true, false]);
  admission.holds(A);
  expect(admitted()).toEqual([true, false]);
  admission.holds(B);
  expect(admitted()).toEqual([true, true]);
});

test('data names its source: a file, an archive, or the stream of a key', () => {
  const described = environment(sdk('a'));
  expect(sourceOf(described)).toBe('key a');
  expect(sourceOf(described, 'b')).toBe('key b');
  expect(sourceOf({ ...described, flagsFile: 'f.json' }, 'b')).toBe('file f.json');
  expect(sourceOf({ ...described, data: { id: '7', items: [] } }, 'b')).toBe('data 7');
});

test('a key that changes beside a flags file opens the file as before', () => {
  const file = { ...environment(sdk('a')), flagsFile: 'f.json' };
  const admission = createAdmission(file);
  admission.update({ ...environment(sdk('b')), flagsFile: 'f.json' });
  expect(admission.admits('sdkKey', 'b')).toBe(true);
});

const browser = (value: string): Credential => ({ kind: 'environmentId', value });
const withId = (id: string, ...credentials: [Credential, ...Credential[]]): EnvironmentDescription => ({
  ...environment(...credentials, browser(id)),
  environmentId: id,
});

test('a store is followed if its data comes from where the data in memory does, or is of the same environment', () => {
  const markOf = (key: string) => createAdmission(environment(sdk(key))).mark();
  const admission = createAdmission(environment(sdk('a')));
  admission.holds(A);
  const owned = () => [markOf('a'), markOf('b'), '', undefined].map(admission.owns);
  expect(owned()).toEqual([true, false, false, true]);
  admission.update(environment(sdk('b'), sdk('a', 9)));
  expect(owned()).toEqual([true, false, false, true]);
  // What says nothing may be the former key's.
  admission.holds(B);
  expect(owned()).toEqual([false, true, false, false]);
  for (const key of ['a', 'b']) admission.belongs(key, 'one');
  expect(owned()).toEqual([true, true, false, true]);
  // A rotation that this task has not heard of.
  const markedAs = (environmentId: string) => {
    const writer = createAdmission(environment(sdk('c')));
    writer.belongs('c', environmentId);
    return writer.mark();
  };
  expect(['one', 'two'].map((id) => admission.owns(markedAs(id)))).toEqual([true, false]);
  expect(admission.source()).toBe(B);
});

test('a stored set is taken if one of the SDK keys wrote it, or if its source is unknown', () => {
  const marks = ['a', 'b', 'c'].map((key) => createAdmission(environment(sdk(key))).mark());
  expect(new Set(marks).size).toBe(3);
  const [a, b, c] = marks;
  const start = () => createAdmission(environment(sdk('b'), sdk('a', 9)));
  expect([a, b, c, '', undefined].map((mark) => start().takes(mark))).toEqual([true, true, false, false, true]);
});

test.each([
  ['the earlier key', 'a', [true, false]],
  ['the new key', 'b', [true, true]],
])('in a rotation a stored set of %s opens what it may', (_, writer, admitted) => {
  const admission = createAdmission(environment(sdk('b'), sdk('a', 9)));
  expect(admission.takes(createAdmission(environment(sdk(writer))).mark())).toBe(true);
  expect(['a', 'b'].map((key) => admission.admits('sdkKey', key))).toEqual(admitted);
  expect(admission.mark()).toBe(createAdmission(environment(sdk(writer))).mark());
});

test('a mark tells a new task to which environment the data belongs, as LaunchDarkly said', () => {
  const description = withId('production', sdk('a'), mobile('m'));
  const writer = createAdmission(description);
  writer.belongs('a', 'staging');
  const admission = createAdmission(description);
  expect(admission.takes(writer.mark())).toBe(true);
  expect(admission.admits('sdkKey', 'a')).toBe(true);
  expect([admission.admits('mobileKey', 'm'), admission.admits('environmentId', 'production')]).toEqual([false, false]);
  expect(admission.mark()).toBe(writer.mark());
});

test('a mark does not contain the key', () => {
  const key = 'sdk-00000000-0000-0000-0000-00000000000a';
  const mark = createAdmission(environment(sdk(key))).mark();
  expect(mark).toMatch(/^[\w-]{22}$/);
  expect(key).not.toContain(mark);
});

test('while LaunchDarkly says that the SDK key is of another environment than the client-side ID, only SDK keys are admitted', () => {
  let changes = 0;
  const admission = createAdmission(withId('production', sdk('a'), mobile('m')), () => {
    changes += 1;
  });
  const admitted = () => [
    admission.admits('sdkKey', 'a'),
    admission.admits('mobileKey', 'm'),
    admission.admits('environmentId', 'production'),
  ];
  expect(admission.problem()).toBeUndefined();
  admission.belongs('a', 'production');
  expect(admitted()).toEqual([true, true, true]);
  expect(admission.problem()).toBeUndefined();
  admission.belongs('a', 'staging');
  expect(admitted()).toEqual([true, false, false]);
  expect(admission.problem()?.message).toMatch(
    /belongs to the environment staging, but the client-side ID is production/,
  );
  expect(changes).toBe(2);
  admission.update(withId('staging', sdk('a'), mobile('m')));
  expect(admission.admits('environmentId', 'staging')).toBe(true);
  expect(admission.admits('mobileKey', 'm')).toBe(true);
  expect(admission.problem()).toBeUndefined();
});

test('a mobile key that was replaced while the SDK key and the client-side ID disagreed stays out when the ID is corrected', () => {
  const unconfirmed = (one: Credential): Credential => ({ ...one, unconfirmed: true });
  const id = (value: string): Credential => ({ kind: 'environmentId', value });
  const heard = createHeard();
  const admission = createAdmission(withId('two', sdk('a'), mobile('m'), id('two')), undefined, heard);
  admission.belongs('a', 'one');
  admission.holds(A);
  const admitted = ({ admits } = admission) => ['m', 'n'].map((value) => admits('mobileKey', value));
  expect(admitted()).toEqual([false, false]);
  const corrected = withId('one', sdk('a'), mobile('n'), id('one'), unconfirmed(mobile('m')), unconfirmed(id('two')));
  // At once, or the mobile key first.
  for (const isFirst of [false, true]) {
    if (isFirst) admission.update(withId('two', sdk('a'), mobile('n'), id('two'), unconfirmed(mobile('m'))));
    admission.update(corrected);
    expect(admitted()).toEqual([false, true]);
    const started = createAdmission(corrected, undefined, heard);
    started.holds(A);
    expect(admitted(started)).toEqual([false, true]);
    admission.update(withId('two', sdk('a'), mobile('m'), id('two')));
  }
  admission.update(withId('one', sdk('a'), mobile('m'), id('one'), unconfirmed(id('two'))));
  expect(admission.admits('mobileKey', 'm')).toBe(true);
});

test('a client-side ID that was deleted and given to another environment still says whose the mobile keys are', () => {
  const admission = createAdmission(withId('production', sdk('a'), mobile('m')));
  admission.belongs('a', 'staging');
  admission.update({ ...environment(sdk('a'), mobile('m')), formerEnvironmentId: 'production' });
  expect([admission.admits('sdkKey', 'a'), admission.admits('mobileKey', 'm')]).toEqual([true, false]);
  expect(admission.problem()?.message).toMatch(/the client-side ID is production/);
  admission.update(environment(sdk('a'), mobile('m')));
  expect(admission.admits('mobileKey', 'm')).toBe(true);
});

test('the ID of a payload filter’s stream is that of its environment', () => {
  const admission = createAdmission(withId('production', sdk('a')));
  admission.belongs('a', 'production.filter');
  expect(admission.admits('environmentId', 'production')).toBe(true);
});

test('a key in its grace time that LaunchDarkly says is of another environment loses the data of the new key', () => {
  const admission = createAdmission(environment(sdk('a'), mobile('m')));
  admission.belongs('a', 'staging');
  admission.holds(A);
  admission.update(withId('production', sdk('b'), sdk('a', 9), mobile('m')));
  // Nothing is said of the key in grace time but that the data is its own.
  expect(admission.admits('sdkKey', 'a')).toBe(true);
  admission.belongs('b', 'production');
  admission.holds(B);
  expect(['a', 'b'].map((key) => admission.admits('sdkKey', key))).toEqual([false, true]);
  expect(admission.admits('mobileKey', 'm')).toBe(true);
});

test('what LaunchDarkly said of a key in one environment counts in the next one that has it', () => {
  const heard = createHeard();
  createAdmission(environment(sdk('a')), undefined, heard).belongs('a', 'staging');
  const next = createAdmission(environment(sdk('b'), sdk('a', 9)), undefined, heard);
  next.belongs('b', 'production');
  next.holds(B);
  expect(['a', 'b'].map((key) => next.admits('sdkKey', key))).toEqual([false, true]);
});

test('of too many keys, those that LaunchDarkly named first are forgotten', () => {
  const heard = createHeard(2);
  for (const source of ['a', 'b', 'a', 'c']) heard.set(source, 'production');
  expect(['a', 'b', 'c'].map(heard.get)).toEqual(['production', undefined, 'production']);
});

test('a key in its grace time of the same environment keeps the data of the new key', () => {
  const admission = createAdmission(environment(sdk('a')));
  admission.belongs('a', 'production');
  admission.holds(A);
  admission.update(environment(sdk('b'), sdk('a', 9)));
  admission.belongs('b', 'production');
  admission.holds(B);
  expect(['a', 'b'].map((key) => admission.admits('sdkKey', key))).toEqual([true, true]);
});

describe('the key to send events with that came with an SDK key', () => {
  const both = environment(sdk('b'), sdk('a', 9));
  const successors = (admission: ReturnType<typeof createAdmission>) => ['a', 'b'].map(admission.successorOf);

  test('is itself until LaunchDarkly has said that it is of the same environment as the present key', () => {
    const admission = createAdmission(both);
    expect(successors(admission)).toEqual(['a', 'b']);
    admission.belongs('a', 'x');
    expect(successors(admission)).toEqual(['a', 'b']);
    admission.belongs('b', 'x');
    expect(successors(admission)).toEqual(['b', 'b']);
  });

  test('is itself where the present key is of another environment, in both directions', () => {
    const admission = createAdmission(both);
    admission.belongs('a', 'x');
    admission.belongs('b', 'y');
    expect(successors(admission)).toEqual(['a', 'b']);
    admission.update(environment(sdk('a'), sdk('b', 9)));
    expect(successors(admission)).toEqual(['a', 'b']);
  });

  test('is itself while flags come from one file for both', () => {
    const admission = createAdmission({ ...both, flagsFile: 'flags.json' });
    expect(successors(admission)).toEqual(['a', 'b']);
  });
});
