import { looksLikeKey, obscureKey, redactKeys, redactSecrets } from '../../../relay-task/common/secrets.ts';

const uuid = '4cf4ef0b-9a4d-4a1f-8a7c-0123456789ab';

test.each(['sdk', 'mob', 'rel', 'api'])('a key that starts with %s- is masked in text', (prefix) => {
  expect(redactKeys(`refused: "${prefix}-${uuid}", twice ${prefix}-${uuid.toUpperCase()}`)).toBe(
    `refused: "${prefix}-…", twice ${prefix}-…`,
  );
  expect(looksLikeKey(`${prefix}-${uuid}`)).toBe(true);
});

test('a client-side ID is not secret and is not masked', () => {
  expect(looksLikeKey('5e9f1a2b3c4d5e6f7a8b9c0d')).toBe(false);
  expect(redactKeys('5e9f1a2b3c4d5e6f7a8b9c0d')).toBe('5e9f1a2b3c4d5e6f7a8b9c0d');
});

test('the names of parameters are not masked', () => {
  const names = '/prod/sdk-key, previous-sdk-key, "previous-sdk-key-until"';
  expect(redactKeys(names)).toBe(names);
  expect(redactKeys('sdk-keys sdk-key1 sdk-key-unti sdk-key_')).toBe('sdk-… sdk-… sdk-… sdk-…');
});

test('the user and password of a URL are masked, its host and path are not', () => {
  expect(redactSecrets('rediss://user:pass@cache:6379/1')).toBe('rediss://…@cache:6379/1');
  expect(redactSecrets(`https://relay/${`sdk-${uuid}`}`)).toBe('https://relay/sdk-…');
});

test.each([
  // As ld-relay shows a key of LaunchDarkly's form.
  [`sdk-${uuid}`, 'sdk-********-****-****-****-*******789ab'],
  [`mob-${uuid}`, 'mob-********-****-****-****-*******789ab'],
  ['sdk-short', 'sdk-*****'],
  ['sdk-UPPERCASE-and-longer-than-20', 'sdk-*********-***-******-**an-20'],
  ['', ''],
])('%j is shown as %j', (key, shown) => {
  expect(obscureKey(key)).toBe(shown);
});
