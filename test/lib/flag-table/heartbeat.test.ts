/** The time in a heartbeat flag. */
import { heartbeatOf } from '../../../lib/flag-table/index.ts';

const at = 1_764_547_200_123;
const flag = (more: object) =>
  JSON.stringify({ key: 'heartbeat', version: 7, variations: [at, { sentAt: at }], ...more });

test.each([
  ['a number', flag({ on: false, offVariation: 0 }), { variation: 0, value: at, sentAt: at }],
  ['JSON', flag({ on: false, offVariation: 1 }), { variation: 1, value: { sentAt: at }, sentAt: at }],
  [
    'the default rule of a flag that is on',
    flag({ on: true, offVariation: 0, fallthrough: { variation: 1 } }),
    { variation: 1, value: { sentAt: at }, sentAt: at },
  ],
])('%s tells it', (_, json, expected) => {
  expect(heartbeatOf(json)).toEqual(expected);
});

test.each([
  ['seconds', at / 1_000],
  ['text', String(at)],
  ['a fraction', at + 0.5],
  ['nothing yet', {}],
  ['null', null],
  ['a boolean', true],
])('%s is no time, and a heartbeat may replace it', (_, value) => {
  const json = flag({ on: false, offVariation: 0, variations: [value] });
  expect(heartbeatOf(json)).toEqual({ variation: 0, value, sentAt: undefined });
});

test.each([
  ['a rollout', flag({ on: true, fallthrough: { rollout: { variations: [{ variation: 0, weight: 100_000 }] } } })],
  ['a flag that is off without a variation', flag({ on: false, offVariation: null })],
  ['an index beyond the variations', flag({ on: false, offVariation: 2 })],
  ['the name of something every list has', flag({ on: false, offVariation: 'length' })],
  ['no JSON', '{'],
  ['null', 'null'],
  ['variations that are no list', flag({ on: false, offVariation: 0, variations: { 0: at } })],
])('%s serves no variation to everyone', (_, json) => {
  expect(heartbeatOf(json)).toBeUndefined();
});
