import { once } from 'node:events';
import { connect } from 'node:net';
import { errorText } from '../../../relay-task/common/error-text.ts';

test('an error without an accepted connection names what every address of the host said', async () => {
  const socket = connect({
    host: 'flags.example',
    port: 1,
    autoSelectFamily: true,
    lookup: (_, __, answer) =>
      answer(
        null,
        ['127.0.0.1', '127.0.0.2'].map((address) => ({ address, family: 4 })),
      ),
  });
  const [error] = await once(socket, 'error');
  expect(errorText(error)).toBe('connect ECONNREFUSED 127.0.0.1:1; connect ECONNREFUSED 127.0.0.2:1');
});

test.each<[string, unknown, string]>([
  ['its message', Object.assign(new Error('no route'), { code: 'EHOSTUNREACH' }), 'no route'],
  ['its own message before those inside', new AggregateError([new Error('a')], 'both failed'), 'both failed'],
  ['the codes of errors inside', new AggregateError([Object.assign(new Error(), { code: 'EPIPE' })]), 'EPIPE'],
  ['its code', Object.assign(new Error(), { code: 'ECONNRESET' }), 'ECONNRESET'],
  ['its name', new TypeError(), 'TypeError'],
  ['what was thrown instead of an error', 'no', 'no'],
  ['that nothing was thrown', undefined, 'undefined'],
])('the text of an error is %s', (_, error, text) => {
  expect(errorText(error)).toBe(text);
});
