import { parcelOf } from '../../../relay-task/events/parcel.ts';
import { type Attempts, fateOf } from '../../../relay-task/events/splitting.ts';

/** A payload of bodies with this many events each; senders are named by letters. */
const payloadOf = (...bodies: readonly (readonly [sender: string, events: number])[]) =>
  parcelOf(bodies.map(([sender, events]) => ({ bytes: Buffer.from(Array(events).fill('{}').join()), events, sender })));

const attempts = (of: string, more: Partial<Attempts> = {}): Attempts => ({
  rejections: 1,
  hasProgress: false,
  senders: new Set(of),
  isTrial: false,
  ...more,
});

describe('A payload that was not delivered', () => {
  test('is split if it is too large, however often, but not below one event', () => {
    expect(fateOf('too-large', payloadOf(['a', 2]), attempts('a', { rejections: 1_000 }), 100)).toBe('split');
    expect(fateOf('too-large', payloadOf(['a', 1]), attempts('a'), 0)).toBe('drop');
  });

  test.each(['refused', 'expired', 'closed'] as const)('is dropped whole if it was %s', (verdict) => {
    expect(fateOf(verdict, payloadOf(['a', 2], ['b', 2]), attempts('ab'), 0)).toBe('drop');
  });

  test('is split if it was rejected, until too many parts were', () => {
    const mixed = payloadOf(['a', 2], ['b', 2]);
    expect(fateOf('rejected', mixed, attempts('ab', { rejections: 15 }), 5)).toBe('split');
    expect(fateOf('rejected', mixed, attempts('ab', { rejections: 16 }), 5)).toBe('put-aside');
    const bodies = payloadOf(['a', 2], ['a', 2]);
    expect(fateOf('rejected', bodies, attempts('a', { rejections: 63 }), 5)).toBe('split');
    expect(fateOf('rejected', bodies, attempts('a', { rejections: 64 }), 5)).toBe('drop');
    const body = payloadOf(['a', 4]);
    expect(fateOf('rejected', body, attempts('a', { rejections: 15 }), 3)).toBe('split');
    expect(fateOf('rejected', body, attempts('a', { rejections: 16 }), 2)).toBe('split');
    expect(fateOf('rejected', body, attempts('a', { rejections: 16 }), 3)).toBe('drop');
  });

  test('is put aside if it shows whose events are bad', () => {
    expect(fateOf('rejected', payloadOf(['a', 2]), attempts('ab'), 1)).toBe('put-aside');
    expect(fateOf('rejected', payloadOf(['a', 2]), attempts('a', { isTrial: true }), 0)).toBe('put-aside');
    expect(fateOf('rejected', payloadOf(['a', 1]), attempts('ab'), 1)).toBe('drop');
  });

  test('is put aside because it takes long only once some of it was settled', () => {
    const bodies = payloadOf(['a', 2], ['a', 2]);
    expect(fateOf('rejected', bodies, attempts('a', { rejections: 16 }), 5)).toBe('split');
    expect(fateOf('rejected', bodies, attempts('a', { rejections: 16, hasProgress: true }), 5)).toBe('put-aside');
  });

  test("is never put aside if it has the relay's own events alone", () => {
    expect(fateOf('rejected', payloadOf(['', 2]), attempts('ab'), 1)).toBe('split');
  });
});
