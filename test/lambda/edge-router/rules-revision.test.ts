/** Several flags of one request, from a table that changes all the time. */
import { startReader } from '../../../lambda/edge-reader/index.ts';
import { createViewerRequestHandler } from '../../../lambda/edge-router/index.ts';
import { startTable, type TestTable } from '../../support/dynalite.ts';
import { item, putSnapshot } from '../edge-reader/table-writer.ts';
import { requestEvent } from './events.ts';

let table: TestTable;
beforeAll(async () => {
  table = await startTable();
});
afterAll(() => table.close());

test('all flags of a request are of one revision, while every call reads the table', async () => {
  const keys = ['one', 'two', 'three'];
  const publish = (seq: number) => {
    const flags = keys.map((key) =>
      item('features', { key, version: seq, on: true, fallthrough: { variation: 0 }, variations: [`v${seq}`] }),
    );
    return putSnapshot(table, 'p', flags, { epoch: 1, seq });
  };
  await publish(1);
  const last = 40;
  const config = {
    reader: {
      tableName: table.tableName,
      prefix: 'p',
      endpoint: table.endpoint,
      replicas: { default: ['eu-west-1'] },
      // Older data than that is read again before each answer.
      refreshMs: 1,
      maxWaitMs: 10_000,
      coldDeadlineMs: 10_000,
      bigSegments: false,
    },
    variants: ['stable'],
    defaultVariant: 'stable',
    rules: keys.map((flagKey) => ({
      flagKey,
      variations: Object.fromEntries(Array.from({ length: last }, (_, index) => [`v${index + 1}`, {}])),
    })),
  };
  const env = { AWS_REGION: 'eu-west-1', AWS_ACCESS_KEY_ID: 'a', AWS_SECRET_ACCESS_KEY: 'b' };
  const handler = createViewerRequestHandler(config, startReader(config.reader, { env }));

  const seen = new Set<string>();
  const mixed: string[] = [];
  let finished = false;
  const asking = async () => {
    while (!finished) {
      const { headers } = await handler(requestEvent('viewer-request'));
      const decision = headers?.['x-flag-decision']?.[0]?.value ?? '';
      const values = new Set([...decision.matchAll(/=(v\d+);/g)].map(([, value]) => value!));
      if (values.size !== 1 || decision.includes('none')) mixed.push(decision);
      for (const value of values) seen.add(value);
    }
  };
  const askers = [asking(), asking(), asking()];
  for (let seq = 2; seq <= last; seq += 1) await publish(seq);
  finished = true;
  await Promise.all(askers);
  expect(mixed).toEqual([]);
  expect(seen.size).toBeGreaterThan(2);
});
