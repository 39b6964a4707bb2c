import fc from 'fast-check';
import {
  compareRev,
  decodeCounts,
  decodeHead,
  decodeHeadPointer,
  encodeHead,
  formatRev,
  type Head,
  officialItemBytes,
  parseRev,
  SNAPSHOT_FORMAT,
} from '../../../lib/flag-table/index.ts';
import { runs } from './properties.ts';

const rev = fc.record({ epoch: fc.maxSafeNat(), seq: fc.nat(2 ** 31 - 1) });

describe('a revision', () => {
  it('is formatted with a fixed width', () => {
    expect(formatRev({ epoch: 1_760_000_000, seq: 7 })).toBe('000000001760000000.0000000007');
    expect(formatRev({ epoch: 1_760_000_000_000, seq: 7 })).toBe('000001760000000000.0000000007');
  });

  it('sorts in the order of its string, so that DynamoDB can compare it', () => {
    fc.assert(
      fc.property(rev, rev, (a, b) => {
        const texts = [formatRev(a), formatRev(b)] as const;
        expect(Math.sign(compareRev(a, b))).toBe(texts[0] < texts[1] ? -1 : texts[0] > texts[1] ? 1 : 0);
        expect(parseRev(texts[0])).toEqual(a);
      }),
      runs(200, 20_000),
    );
  });

  it('is older than any other if undefined', () => {
    expect(compareRev(undefined, { epoch: 0, seq: 0 })).toBeLessThan(0);
    expect(compareRev({ epoch: 0, seq: 0 }, undefined)).toBeGreaterThan(0);
    expect(compareRev(undefined, undefined)).toBe(0);
  });

  it.each([
    '',
    '1.2',
    '000001760000000000.000000007',
    '999999999999999999.0000000001',
    ' 00001760000000000.0000000007',
    'x',
  ])('is undefined for the text "%s"', (text) => {
    expect(parseRev(text)).toBeUndefined();
  });
});

describe('the head', () => {
  const head: Head = {
    format: SNAPSHOT_FORMAT,
    owner: 'task/0123456789abcdef0123456789abcdef@eu-central-1',
    epoch: 1_760_000_000_000,
    beat: 12_345,
    rev: { epoch: 1_760_000_000_000, seq: 99 },
    base: { epoch: 1_760_000_000_000, seq: 90 },
    counts: { flags: 100_000, segments: 10_000, deleted: 5_000 },
    checkedAt: 1_760_000_123_456,
  };

  it('survives encoding and decoding, and stays below 1 KB with a long prefix', () => {
    const attributes = encodeHead('a'.repeat(200), head);
    expect({ ...decodeHead(attributes), counts: decodeCounts(attributes) }).toEqual(head);
    expect(officialItemBytes(attributes)).toBeLessThan(1024);
    expect(attributes).toMatchObject({ namespace: { S: `${'a'.repeat(200)}:$snapshot` }, key: { S: 'head' } });
  });

  it('has no rev, base and counts before the first publication', () => {
    const { rev: _, base: __, counts: ___, ...bare } = head;
    expect(decodeHead(encodeHead('', bare))).toEqual(bare);
    expect(encodeHead('', bare).namespace).toEqual({ S: '$snapshot' });
  });

  it('tells readers where the revision is and when it was confirmed, whatever the lease says', () => {
    const { rev, base, checkedAt } = head;
    const { owner: _, epoch: __, beat: ___, ...attributes } = encodeHead('', head);
    expect(decodeHeadPointer(attributes)).toEqual({ rev, base, checkedAt });
    for (const name of ['format', 'checkedAt', 'rev', 'base']) {
      const spoilt = { ...attributes, [name]: { BOOL: true } };
      expect(decodeHeadPointer(spoilt)).toEqual({ problem: expect.stringContaining(name) });
    }
  });

  it('is a problem that names the missing or malformed attribute, never an exception', () => {
    for (const name of ['format', 'owner', 'epoch', 'beat', 'checkedAt', 'rev', 'base']) {
      const spoilt = { ...encodeHead('', head), [name]: { BOOL: true } };
      expect(decodeHead(spoilt)).toEqual({ problem: expect.stringContaining(name) });
    }
    expect(decodeHead({ ...encodeHead('', head), counts: { S: 'x' } })).toMatchObject({ beat: 12_345 });
    expect(decodeCounts({ ...encodeHead('', head), counts: { S: 'x' } })).toBeUndefined();
    expect(decodeHead({})).toEqual({ problem: expect.stringContaining('format') });
  });
});
