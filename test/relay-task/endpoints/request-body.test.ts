import { createBudget } from '../../../relay-task/common/budget.ts';
import { createHoldings } from '../../../relay-task/endpoints/holdings.ts';
import { createCollector } from '../../../relay-task/endpoints/request-body.ts';
import { heapBytes } from '../../support/heap.ts';
import { closeAfterEach } from '../../support/opened.ts';
import { say } from './ask.ts';
import { startServer } from './start-server.ts';

const { opened } = closeAfterEach();

const unlimited = createHoldings(createBudget(Infinity)).open(['anyone', 'anywhere']);

test('a body in pieces of one byte takes hardly more memory than its bytes @heavy', () => {
  const slab = Buffer.alloc(64 * 1024, 'x');
  const collector = createCollector(2_000_000, unlimited);
  const before = heapBytes();
  for (let i = 0; i < 1_000_000; i++) collector.add(slab.subarray(i % 65_536, (i % 65_536) + 1));
  expect(heapBytes() - before).toBeLessThan(8 * 1024 * 1024);
  expect(collector.finish().equals(Buffer.alloc(1_000_000, 'x'))).toBe(true);
});

test('nothing is kept of the buffer that a piece belongs to', () => {
  const collector = createCollector(2_000_000, unlimited);
  for (const sizeBytes of [1, 250, 1, 5_000, 64 * 1024, 1]) {
    const slab = Buffer.alloc(64 * 1024, 'x');
    collector.add(slab.subarray(0, sizeBytes));
    slab.fill('y');
  }
  expect(collector.finish().indexOf('y')).toBe(-1);
});

test('pieces of every size are joined in their order', () => {
  const sent: Buffer[] = [];
  for (let i = 0; i < 2_000; i++) sent.push(Buffer.alloc(i % 300 === 0 ? 70_000 : i % 7, i % 251));
  const whole = Buffer.concat(sent);
  for (const [limit, right] of [
    [whole.length, whole],
    [whole.length - 1, undefined],
  ] as const) {
    const collector = createCollector(limit, unlimited);
    for (const piece of sent) collector.add(piece);
    if (right) expect(collector.finish().equals(right)).toBe(true);
    else expect(() => collector.finish()).toThrow(String(limit));
  }
});

test.each([
  [16 * 1024, '200'],
  [16 * 1024 + 1, '400'],
])('a stream whose body has %d bytes of chunk extensions is answered with %s', async (extensionsBytes, status) => {
  const { port } = opened(await startServer());
  const body = '{"kind":"user","key":"a"}';
  let left = extensionsBytes;
  const chunks = [...body].map((character) => {
    const extension = left > 1 ? `;${'x'.repeat(Math.min(1_000, left - 1))}` : '';
    left -= extension.length;
    return `1${extension}\r\n${character}\r\n`;
  });
  expect(left).toBe(0);
  const head =
    'POST /eval/64a0 HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n';
  const heard = await say(port, `${head}${chunks.join('')}0\r\n\r\n`, (text) => text.includes('\r\n\r\n'));
  expect(heard).toContain(`HTTP/1.1 ${status} `);
});
