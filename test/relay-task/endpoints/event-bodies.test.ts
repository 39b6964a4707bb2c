/** Memory of event bodies while they arrive and are read. */
import { connect } from 'node:net';
import { gzipSync } from 'node:zlib';
import { createBudget } from '../../../relay-task/common/budget.ts';
import { eventually } from '../../support/eventually.ts';
import { flag } from '../../support/items.ts';
import { createMemory } from '../../support/memory.ts';
import { closeAfterEach } from '../../support/opened.ts';
import { ask } from './ask.ts';
import { startServer } from './start-server.ts';

const { behind: closeLater } = closeAfterEach();
const MIB = 1024 * 1024;
const large = `["${'x'.repeat(MIB)}"]`;

/** Bodies are read until `readAll` is called. */
async function start(budgetBytes: number) {
  const eventBodies = createBudget(budgetBytes);
  const server = await startServer({
    view: createMemory(flag('banner', 1)),
    server: {
      maxInboundPayloadBytes: 2 * MIB,
      memory: { connections: createBudget(Infinity), bodies: eventBodies, answers: createBudget(Infinity) },
    },
  });
  closeLater(() => server.close());
  const reading: (() => void)[] = [];
  let reads = true;
  server.environment.events = {
    closed: false,
    analytics: () => (reads ? new Promise<void>((resolve) => reading.push(resolve)) : Promise.resolve()),
    diagnostic() {},
  };
  const post = (path: string, key: string, text: string, encoding: 'gzip' | 'identity' = 'gzip') =>
    ask(server.port, 'POST', path, {
      headers: { authorization: key, 'content-encoding': encoding },
      body: encoding === 'gzip' ? gzipSync(text) : text,
    });
  return {
    ...{ port: server.port, eventBodies, reading, post },
    readAll() {
      reads = false;
      for (const resolve of reading) resolve();
    },
  };
}

test.each(['gzip', 'identity'] as const)(
  'a flood of large bodies (%s) with one key gets 503 at its share, and small ones and other keys are served @heavy',
  async (encoding) => {
    // Of which bodies of client-side SDKs get three quarters.
    const { eventBodies, reading, post, readAll } = await start(8 * MIB);
    const flood = Array.from({ length: 8 }, () => post('/mobile', 'mob-key', large, encoding));
    const refused: number[] = [];
    for (const answer of flood) void answer.then(({ status }) => status === 503 && refused.push(status));
    await eventually(() => expect(refused.length + reading.length).toBe(8));
    expect(reading.length).toBeGreaterThan(0);
    expect(refused.length).toBeGreaterThanOrEqual(6);
    expect(eventBodies.usedBytes).toBeLessThan(3 * MIB);
    const others = [post('/bulk', 'sdk-key', large, encoding), post('/mobile', 'mob-key', '[{"kind":"x"}]', encoding)];
    await eventually(() => expect(reading.length).toBe(8 - refused.length + others.length));
    readAll();
    expect((await Promise.all(others)).map(({ status }) => status)).toEqual([202, 202]);
    for (const { status, headers } of await Promise.all(flood)) {
      expect([202, 503]).toContain(status);
      if (status === 503) expect(Number(headers['retry-after'])).toBeGreaterThan(0);
    }
    expect(eventBodies.usedBytes).toBe(0);
    expect((await post('/mobile', 'mob-key', large, encoding)).status).toBe(202);
  },
);

test('memory is given back after a body that is too large, corrupt, invalid or cut short', async () => {
  const { port, eventBodies, post, readAll } = await start(12 * MIB);
  readAll();
  expect((await post('/bulk', 'sdk-key', `["${'x'.repeat(3 * MIB)}"]`)).status).toBe(413);
  expect((await post('/bulk', 'sdk-key', large.slice(1))).status).toBe(400);
  const corrupt = gzipSync(large).subarray(0, -200);
  const headers = { authorization: 'sdk-key', 'content-encoding': 'gzip' };
  expect((await ask(port, 'POST', '/bulk', { headers, body: corrupt })).status).toBe(400);
  const socket = connect(port, '127.0.0.1');
  socket.write('POST /bulk HTTP/1.1\r\nHost: x\r\nAuthorization: sdk-key\r\nContent-Length: 1000000\r\n\r\n');
  socket.write('['.padEnd(100_000));
  await eventually(() => expect(eventBodies.usedBytes).toBeGreaterThan(0));
  socket.destroy();
  await eventually(() => expect(eventBodies.usedBytes).toBe(0));
});
