import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { sha1Bucket, sha1BucketFloat32 } from '../../../lib/evaluation/index.ts';

/** From Node's SHA-1, computed exactly up to the final rounding to a double. */
function expected(text: string): number {
  const first60Bits = createHash('sha1').update(text).digest('hex').slice(0, 15);
  return Number(BigInt(`0x${first60Bits}`)) / 2 ** 60;
}

test('strings of every length around block boundaries get the bucket of their SHA-1', () => {
  for (let length = 0; length < 200; length++) {
    const text = 'x'.repeat(length);
    expect([length, sha1Bucket('', text)]).toEqual([length, expected(text)]);
    expect([length, sha1Bucket(text, 'é')]).toEqual([length, expected(`${text}é`)]);
  }
});

test('any two strings get the bucket of the SHA-1 of their UTF-8, lone surrogates included @heavy', () => {
  const text = fc.oneof(
    fc.string(),
    fc.string({ unit: 'binary' }),
    fc.array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 40 }).map((codes) => String.fromCharCode(...codes)),
  );
  fc.assert(
    fc.property(text, text, (prefix, value) => {
      // Each text is encoded by itself, so a surrogate pair must not be split between them. Real keys and salts never are.
      fc.pre(!/[\ud800-\udbff]$/.test(prefix));
      expect(sha1Bucket(prefix, value)).toBe(expected(prefix + value));
    }),
    { numRuns: process.env.LONG ? 100_000 : 200, seed: Number(process.env.SEED ?? 7) },
  );
});

test('in 32 bits of floating point, the bucket is rounded once, as by Go', () => {
  // Go: float32(first 60 bits) / float32(1 << 60). By way of 64 bits it would be 0.2046402096748352.
  expect(sha1BucketFloat32('f.s.', 'k70215975')).toBe(0.204640194773674);
  expect(Math.fround(sha1Bucket('f.s.', 'k70215975'))).toBe(0.2046402096748352);
});

test('in 32 bits of floating point, a bucket is the nearest number to the exact one @heavy', () => {
  const wrong: unknown[] = [];
  for (let i = 0; i < 20_000; i++) {
    const bucket = sha1BucketFloat32('f.s.', `k${i}`);
    const exact = expected(`f.s.k${i}`);
    // Half a unit in the last of 24 places, and a double's error.
    const bound = 2 ** (Math.floor(Math.log2(exact)) - 24) + 2 ** -50;
    if (!(Math.abs(bucket - exact) <= bound && Math.fround(bucket) === bucket)) wrong.push([i, bucket, exact]);
  }
  expect(wrong).toEqual([]);
});
