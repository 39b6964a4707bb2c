/**
 * What the spool costs on the path of an event: bodies with and without it, in turns within one run.
 *
 *     npx tsx test/bench/event-spool.ts [--json] [--bodies 2000] [--rounds 7]
 *
 * Method: the real event forwarding in this process, which takes bodies of ten events of about 300 bytes, 32 at a time, and sends them to a
 * server of this process that accepts everything. A round takes all bodies without a spool and all with one, in an order that changes each
 * time, and measures processor time and time per body until everything was forwarded. The result is the median of the rounds' ratios.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { createMeasures } from '../../relay-task/common/measures.ts';
import { nextTurn } from '../../relay-task/common/slices.ts';
import { createEventForwarding } from '../../relay-task/events/forwarding.ts';
import { silentLog } from '../support/logs.ts';
import { median } from '../support/percentile.ts';

const { values } = parseArgs({
  options: {
    json: { type: 'boolean' },
    bodies: { type: 'string', default: '2000' },
    rounds: { type: 'string', default: '7' },
  },
});
const bodies = Number(values.bodies);
const AT_ONCE = 32;

const body = Buffer.from(
  JSON.stringify(
    Array.from({ length: 10 }, (_, index) => ({
      kind: 'custom',
      key: `event-${index}`,
      creationDate: 1_760_000_000_000,
      context: { kind: 'user', key: `user-${index}`, name: 'x'.repeat(150) },
    })),
  ),
);
const server = createServer((request, response) => {
  request.resume().on('end', () => response.writeHead(202).end());
});
await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
const eventsUri = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

/** Microseconds for one body. */
async function run(directory: string | undefined): Promise<{ readonly cpu: number; readonly wall: number }> {
  const forwarding = createEventForwarding({
    eventsUri,
    flushIntervalMs: 50,
    capacity: 1_000_000,
    userAgent: 'bench',
    log: silentLog,
    measures: createMeasures(),
    ...(directory !== undefined && { spool: { directory, maxBytes: 256 * 1024 ** 2 } }),
  });
  const intake = forwarding.environment({
    name: 'bench',
    senderOf: (_kind, credential) => credential,
    flag: () => undefined,
  });
  const delivery = { kind: 'sdkKey', credential: 'sdk-bench', address: '192.0.2.1', pause: nextTurn } as const;
  const headers = { 'x-launchdarkly-event-schema': '4' };
  const from = performance.now();
  const cpu = process.cpuUsage();
  for (let sent = 0; sent < bodies; sent += AT_ONCE) {
    await Promise.all(Array.from({ length: AT_ONCE }, () => intake.analytics({ ...delivery, headers, body })));
  }
  await forwarding.close(60_000);
  const { user, system } = process.cpuUsage(cpu);
  return { cpu: (user + system) / bodies, wall: ((performance.now() - from) * 1_000) / bodies };
}

const results = {
  without: { cpu: [] as number[], wall: [] as number[] },
  with: { cpu: [] as number[], wall: [] as number[] },
};
const directory = mkdtempSync(join(tmpdir(), 'spool-bench-'));
try {
  await run(undefined);
  await run(directory);
  for (let round = 0; round < Number(values.rounds); round++) {
    const order = round % 2 === 0 ? (['without', 'with'] as const) : (['with', 'without'] as const);
    for (const which of order) {
      const { cpu, wall } = await run(which === 'with' ? directory : undefined);
      results[which].cpu.push(cpu);
      results[which].wall.push(wall);
    }
  }
} finally {
  rmSync(directory, { recursive: true, force: true });
  server.close();
  server.closeAllConnections();
}

const ratio = (of: 'cpu' | 'wall') => median(results.with[of].map((time, round) => time / results.without[of][round]!));
const result = {
  bodies,
  events: bodies * 10,
  cpuMicroseconds: { without: median(results.without.cpu), with: median(results.with.cpu), ratio: ratio('cpu') },
  wallMicroseconds: { without: median(results.without.wall), with: median(results.with.wall), ratio: ratio('wall') },
};
if (values.json) console.log(JSON.stringify(result));
else {
  for (const [name, { without, with: spooled, ratio: times }] of Object.entries({
    'processor time per body': result.cpuMicroseconds,
    'time per body': result.wallMicroseconds,
  }))
    console.log(
      `${name}: ${without.toFixed(0)} µs without, ${spooled.toFixed(0)} µs with a spool: ${times.toFixed(2)} times`,
    );
}
