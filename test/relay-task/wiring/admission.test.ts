import type { Credential, EnvironmentDescription } from '../../../relay-task/ports.ts';
import { createAdmission, firstKeyOf, sourceOf } from '../../../relay-task/wiring/admission.ts';

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

test('a credential that is repeated before the key has delivered goes on waiting', () => {
  const admission = createAdmission(environment(sdk('a')));
  admission.update(environment(sdk('b')));
  admission.update(environment(sdk('b'), mobile('m')));
  expect([admission.admits('sdkKey', 'b'), admission.admits('mobileKey', 'm')]).toEqual([false, false]);
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
