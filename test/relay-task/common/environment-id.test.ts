import { environmentIdHeader } from '../../../relay-task/common/environment-id.ts';

test.each([
  ['an ID', '64a0c0ffee', { 'X-LD-EnvID': '64a0c0ffee' }],
  ['the longest that is passed on', 'x'.repeat(256), { 'X-LD-EnvID': 'x'.repeat(256) }],
  ["one that fills a client's limit of all headers", 'x'.repeat(257), undefined],
  ['a line break', 'a\r\nX-Evil: 1', undefined],
  ['other than ASCII', '日本語', undefined],
  ['an SDK key', 'sdk-00000000-1111-2222-3333-444455556666', undefined],
  ['none', undefined, undefined],
])('the header with %s', (_what, environmentId, expected) => {
  expect(environmentIdHeader(environmentId)).toEqual(expected);
});
