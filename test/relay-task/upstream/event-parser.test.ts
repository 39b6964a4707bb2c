/** Bytes of a stream of events, cut anywhere, against the parser that LaunchDarkly's own SDKs for JavaScript are built on. */
import { createParser } from 'eventsource-parser';
import fc from 'fast-check';
import { createEventParser, type EventParserOptions } from '../../../relay-task/upstream/event-parser.ts';

const seed = process.env.SEED === undefined ? {} : { seed: Number(process.env.SEED) };
const runs = { numRuns: process.env.LONG ? 20_000 : 200, ...seed };

function read(chunks: readonly Buffer[], options: Partial<EventParserOptions> = {}) {
  const ignored: string[] = [];
  const parser = createEventParser({
    maxBytes: 1_000_000,
    onIgnored: (reason) => void ignored.push(reason),
    ...options,
  });
  const found: unknown[] = [];
  for (const chunk of chunks) {
    parser.feed(chunk);
    for (let next = parser.next(); next; next = parser.next()) {
      found.push(next);
      if ('problem' in next) return { found, ignored };
    }
  }
  return { found, ignored };
}
const readText = (text: string, options?: Partial<EventParserOptions>) => read([Buffer.from(text)], options);

function readOfficially(bytes: Buffer) {
  const found: unknown[] = [];
  const ignored: string[] = [];
  const parser = createParser({
    onEvent: ({ event, data, id }) => void found.push({ event, data, id }),
    // Ours shows the first twenty characters of either.
    onError: ({ message }) => void ignored.push(message.replace(/^(Invalid `retry` value: ".{20}).+"$/su, '$1…"')),
  });
  parser.feed(new TextDecoder().decode(bytes));
  return { found, ignored };
}

const pieces = fc.constantFrom(
  ...[
    'data',
    'data:',
    'data: ',
    'event:',
    'event: put',
    'id:',
    'id: 7',
    'id:a\0b',
    'retry:x',
    'retry: 10',
    ':',
    ': c',
    'x',
    'foo: bar',
  ],
  ...['\n', '\r', '\r\n', '\n\n', '\r\r', '€', 'é', ' ', '{"a":1}', 'a field of more than twenty characters', '\ufeff'],
);

test('the same events and ignored lines come out, wherever the bytes are cut', () => {
  fc.assert(
    fc.property(fc.array(pieces, { maxLength: 40 }), fc.array(fc.nat({ max: 9 }), { minLength: 1 }), (texts, sizes) => {
      // What has no end yet is read differently at the very end only by a parser that has all of it.
      const bytes = Buffer.from(`${texts.join('')}\n\n`);
      const chunks: Buffer[] = [];
      for (let at = 0, n = 0; at < bytes.length; n += 1) {
        const size = 1 + (sizes[n % sizes.length] ?? 0);
        chunks.push(bytes.subarray(at, at + size));
        at += size;
      }
      expect(read(chunks)).toEqual(readOfficially(bytes));
    }),
    runs,
  );
});

describe('the limit of one event', () => {
  const tooLarge = [{ problem: expect.stringMatching(/^an event takes more than 1000 bytes, .*give it more memory/) }];

  test('counts its lines together, and characters by their size in memory', () => {
    expect(readText(`data:${'x'.repeat(990)}\n\n`, { maxBytes: 1_000 }).found).toHaveLength(1);
    expect(readText(`data:${'x'.repeat(1_000)}`, { maxBytes: 1_000 }).found).toEqual(tooLarge);
    expect(readText('data:x\n'.repeat(501), { maxBytes: 1_000 }).found).toEqual(tooLarge);
    expect(readText(`data:€${'x'.repeat(600)}\n\n`, { maxBytes: 1_000 }).found).toEqual(tooLarge);
    expect(readText(`:${'x'.repeat(1_000)}`, { maxBytes: 1_000 }).found).toEqual(tooLarge);
  });

  test('is counted for each event, and never ends a stream of heartbeats', () => {
    const text = `${':\n'.repeat(2_000)}\n\n${'data:x\n\n'.repeat(500)}${': heartbeat\n\n'.repeat(500)}`;
    expect(readText(text, { maxBytes: 1_000 }).found).toHaveLength(500);
  });
});

test('a thousand lines that are not part of an event end the stream, unless there are events between them', () => {
  const { found, ignored } = readText('x\n'.repeat(100_000));
  expect(found).toEqual([{ problem: expect.stringContaining('more than 1000 lines that are not part of an event') }]);
  expect(ignored).toHaveLength(1_000);
  expect(readText(`${'retry:x\n'.repeat(900)}data:1\n\n`.repeat(3)).found).toHaveLength(3);
});

test('a name or an ID of any length costs as much as its first part', () => {
  const { found } = readText(`event:${'e'.repeat(5_000)}\nid:${'i'.repeat(5_000)}\ndata:1\n\n`);
  expect(found).toEqual([{ event: 'e'.repeat(1_000), id: '', data: '1' }]);
});
