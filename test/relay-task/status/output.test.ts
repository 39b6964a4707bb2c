/** Stdout that is a file; pipes and terminals are in test/relay-task/output.test.ts, with whole processes. */
import fs, { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createOutput } from '../../../relay-task/status/output.ts';
import { closeAfterEach } from '../../support/opened.ts';

const { behind } = closeAfterEach();
const lineOf = (n: number) => `${JSON.stringify({ n, text: 'x'.repeat(100) })}\n`;

/** A disk that takes so many bytes, and then none until there is room again. */
function startFile() {
  const directory = mkdtempSync(join(tmpdir(), 'output-'));
  const path = join(directory, 'log');
  const fd = openSync(path, 'w');
  const write = fs.writeSync.bind(fs) as (fd: number, bytes: Uint8Array, from: number, length: number) => number;
  const disk = { room: Number.POSITIVE_INFINITY };
  const spy = jest.spyOn(fs, 'writeSync').mockImplementation(((to: number, bytes: Uint8Array, from: number) => {
    const length = Math.min(disk.room, bytes.length - from);
    if (length === 0) throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
    disk.room -= length;
    return write(to, bytes, from, length);
  }) as never);
  behind(() => {
    spy.mockRestore();
    closeSync(fd);
    rmSync(directory, { recursive: true });
  });
  const recovered: unknown[][] = [];
  const output = createOutput({
    stream: { fd, isTTY: false, on() {} } as never,
    onRecovered: (...all) => void recovered.push(all),
  });
  return { disk, output, recovered, text: () => readFileSync(path, 'utf8') };
}

test.each([1, 50, 117])('a disk that is full after %i bytes of a line spoils no line that follows', (bytes) => {
  const { disk, output, recovered, text } = startFile();
  output.write(lineOf(1));
  disk.room = bytes;
  for (const n of [2, 3]) output.write(lineOf(n));
  disk.room = Number.POSITIVE_INFINITY;
  for (const n of [4, 5]) output.write(lineOf(n));
  const [first, torn, ...rest] = text().trimEnd().split('\n');
  expect([first, ...rest].map((line) => JSON.parse(line!).n)).toEqual([1, 4, 5]);
  expect(torn).toBe(lineOf(2).slice(0, bytes));
  expect(recovered).toEqual([[2, expect.stringContaining('ENOSPC')]]);
  expect(output.lost()).toBe(2);
});

test('a disk that is full between two lines leaves none empty', () => {
  const { disk, output, text } = startFile();
  output.write(lineOf(1));
  disk.room = 0;
  output.write(lineOf(2));
  disk.room = Number.POSITIVE_INFINITY;
  output.write(lineOf(3));
  expect(text()).toBe(lineOf(1) + lineOf(3));
});
