import fc from 'fast-check';
import { createEventLog } from '../../../relay-task/streams/event-log.ts';
import { PIECE_BYTES } from '../../../relay-task/streams/framing.ts';

/** Everything from a position on, piece by piece, as a reader would get it. */
function readFrom(log: ReturnType<typeof createEventLog>, from: number): string {
  let text = '';
  for (let next = from; next < log.head; ) {
    const piece = log.piece(next);
    if (piece.next <= next) throw new Error('a piece that leads nowhere');
    text += piece.bytes.toString();
    next = piece.next;
  }
  return text;
}

test('from any retained position the event log leads to its head with every event once and in order @heavy', () => {
  const command = fc.oneof(
    { weight: 10, arbitrary: fc.record({ size: fc.integer({ min: 1, max: 40 }) }) },
    { weight: 1, arbitrary: fc.constant('reset' as const) },
  );
  fc.assert(
    fc.property(
      fc.array(command, { maxLength: 120 }),
      fc.integer({ min: 1, max: 20 }),
      fc.integer({ min: 1, max: 400 }),
      (commands, messages, bytes) => {
        const log = createEventLog({ messages, bytes });
        const all: (string | undefined)[] = [];
        for (const [index, step] of commands.entries()) {
          if (step === 'reset') {
            log.reset();
            all.push(undefined);
          } else {
            all.push(`${index}`.padStart(step.size, '.'));
            log.append(Buffer.from(all.at(-1)!));
          }
          expect(log.head).toBe(all.length);
          const held = all.slice(log.base);
          expect(held).not.toContain(undefined);
          expect(held.length).toBeLessThanOrEqual(messages);
          expect(held.join('').length).toBeLessThanOrEqual(bytes);
          for (let from = log.base; from <= log.head; from++) {
            expect(readFrom(log, from)).toBe(all.slice(from).join(''));
          }
        }
      },
    ),
    { numRuns: process.env.LONG === '1' ? 2_000 : 60, seed: Number(process.env.SEED ?? 11) },
  );
});

test('readers at the same position of the event log share one buffer, and events are never copied', () => {
  const log = createEventLog({ messages: 10, bytes: 1_000 });
  const event = Buffer.from('one');
  log.append(event);
  expect(log.piece(0).bytes).toBe(event);
  log.append(Buffer.from('two'));
  expect(log.piece(0).bytes).toBe(log.piece(0).bytes);
  expect(log.piece(0).bytes.toString()).toBe('onetwo');
});

test('a piece of the event log is bounded, and so is what a socket holds', () => {
  const log = createEventLog({ messages: 100, bytes: 100 * PIECE_BYTES });
  for (let i = 0; i < 10; i++) log.append(Buffer.alloc(PIECE_BYTES / 4, i));
  expect(log.piece(0)).toEqual({ bytes: expect.any(Buffer), next: 4 });
  expect(log.piece(0).bytes.length).toBe(PIECE_BYTES);
  log.append(Buffer.alloc(2 * PIECE_BYTES));
  expect(log.piece(10).bytes.length).toBe(2 * PIECE_BYTES);
});
