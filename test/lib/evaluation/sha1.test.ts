import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { sha1Bucket } from '../../../lib/evaluation/index.ts';

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

test('any two strings get the bucket of the SHA-1 of their UTF-8, lone surrogates included', () => {
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
