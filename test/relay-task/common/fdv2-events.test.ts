import { intentEvent, itemEvent, objectEvent, transferredEvent } from '../../../relay-task/common/fdv2-events.ts';
import { createTombstone } from '../../../relay-task/common/tombstone.ts';

// Shapes of the protocol handler in @launchdarkly/js-sdk-common 2.26.
test.each([
  [
    intentEvent({ code: 'xfer-full', reason: 'payload-missing' }),
    'server-intent',
    { payloads: [{ id: 'default', target: 1, intentCode: 'xfer-full', reason: 'payload-missing' }] },
  ],
  [
    itemEvent({ kind: 'features', key: 'a"b', version: 3, deleted: false, json: '{"key":"a\\"b","version":3}' }),
    'put-object',
    { version: 3, kind: 'flag', key: 'a"b', object: { key: 'a"b', version: 3 } },
  ],
  [itemEvent(createTombstone('segments', 's', 4)), 'delete-object', { version: 4, kind: 'segment', key: 's' }],
  [
    objectEvent('flag-eval', 'a', 5, '{"value":true}'),
    'put-object',
    { version: 5, kind: 'flag-eval', key: 'a', object: { value: true } },
  ],
  [transferredEvent('"s"'), 'payload-transferred', { state: '"s"', id: 'default', version: 1 }],
])('%j is a valid %s event', ({ event, json }, name, data) => {
  expect([event, JSON.parse(json)]).toEqual([name, data]);
});
