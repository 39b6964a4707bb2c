/** Several flags of one request, from a table that changes all the time. */
import { createExposures, startReader } from '../../../lambda/edge-reader/index.ts';
import { createShownExposures, createViewerRequestHandler } from '../../../lambda/edge-router/index.ts';
import { hashOf } from '../../../relay-task/store/big-segments.ts';
import { startTable, type TestTable } from '../../support/dynalite.ts';
import { closeAfterEach } from '../../support/opened.ts';
import { told } from '../edge-reader/exposure-oracle.ts';
import { startReplica } from '../edge-reader/replica.ts';
import { item, putMembership, putSnapshot, putSynchronizedOn } from '../edge-reader/table-writer.ts';
import { requestEvent } from './events.ts';

const { opened } = closeAfterEach();
const env = { AWS_REGION: 'eu-west-1', AWS_ACCESS_KEY_ID: 'a', AWS_SECRET_ACCESS_KEY: 'b' };

let table: TestTable;
beforeAll(async () => {
  table = await startTable();
});
afterAll(() => table.close());

test('all flags of a request are of one revision, while every call reads the table @heavy', async () => {
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

describe('beside Big Segments', () => {
  let prefixes = 0;

  /** A router for the flags one and two, of which `later` has the newer version, and how to publish that. */
  async function start({
    uses,
    later,
    passes = 0,
  }: {
    readonly uses: (seq: number) => readonly string[];
    readonly later: boolean;
    /** After each evaluation, in ms. */
    readonly passes?: number;
  }) {
    const prefix = `segments${++prefixes}`;
    const member = [{ id: 'r', variation: 1, clauses: [{ attribute: '', op: 'segmentMatch', values: ['vip'] }] }];
    const publish = (seq: number) =>
      putSnapshot(
        table,
        prefix,
        [
          item('segments', { key: 'vip', unbounded: true, generation: 1, salt: '' }),
          ...['one', 'two'].map((key) =>
            item('features', {
              ...{
                key,
                version: seq,
                on: true,
                salt: '',
                fallthrough: { variation: 0 },
                variations: [`v${seq}`, 'member'],
              },
              rules: uses(seq).includes(key) ? member : [],
            }),
          ),
        ],
        { epoch: 1, seq },
      );
    await publish(1);
    await putMembership(table, prefix, hashOf('alice'), { included: ['vip.g1'] });
    await putSynchronizedOn(table, prefix, Date.now());
    const replica = opened(await startReplica(table.endpoint));
    const config = {
      reader: {
        ...{ tableName: table.tableName, prefix, endpoint: replica.endpoint, replicas: { default: ['eu-west-1'] } },
        ...{ refreshMs: 3_600_000, maxWaitMs: 10_000, coldDeadlineMs: 10_000, bigSegments: true },
      },
      ...{ variants: ['stable'], defaultVariant: 'stable' },
      viewer: { ids: [{ header: 'x-user' }], without: 'default-variant' } as const,
      rules: ['one', 'two'].map((flagKey) => ({ flagKey, variations: { v1: {}, v2: {}, member: {} } })),
    };
    const lines: string[] = [];
    const exposures = createExposures({ indexEvents: false }, { write: (line) => lines.push(line) });
    const clock = { ms: 0 };
    const started = startReader(config.reader, { env, now: () => Date.now() + clock.ms });
    await started.ready();
    const shown = createShownExposures(exposures.evaluated);
    const observed = started.observed(shown.observe);
    const reader: typeof observed = {
      ...observed,
      async variationDetail(flagKey, context, fallback) {
        // Between the first flag and the second.
        if (later && flagKey === 'two' && started.status().rev?.endsWith('1')) {
          await publish(2);
          await started.refresh();
        }
        const detail = await observed.variationDetail(flagKey, context, fallback);
        clock.ms += passes;
        return detail;
      },
    };
    const handler = createViewerRequestHandler(config, reader, undefined, { exposures: shown });
    return {
      replica,
      async decide() {
        const { headers } = await handler(requestEvent('viewer-request', { 'X-User': 'alice' }));
        exposures.flush();
        const counts = told(lines).flatMap(({ features }) =>
          Object.entries(Object(features) as Record<string, { counters: { value: unknown; count: number }[] }>).flatMap(
            ([flagKey, { counters }]) => counters.map(({ value, count }) => `${flagKey} ${value} ${count}`),
          ),
        );
        return [headers?.['x-flag-decision']?.[0]?.value, ...counts.sort()];
      },
    };
  }
  const unreadable: Parameters<Awaited<ReturnType<typeof startReplica>>['behave']>[0] = ({ body }) =>
    JSON.stringify(body).includes('big_segments') ? 'throttle' : 'pass';

  // As in the Node SDK, which takes the user for no member then.
  test('that cannot be read, flags that are evaluated again for a newer revision keep their answers @heavy', async () => {
    const { replica, decide } = await start({ uses: () => ['two'], later: true });
    replica.behave(unreadable);
    expect(await decide()).toEqual([
      'one=v2; reason=FALLTHROUGH, two=v2; reason=FALLTHROUGH',
      ...['one v2 1', 'two v2 1'],
    ]);
  });

  test('that cannot be read, evaluations are counted', async () => {
    const { replica, decide } = await start({ uses: () => ['one', 'two'], later: false });
    replica.behave(unreadable);
    expect(await decide()).toEqual([
      'one=v1; reason=FALLTHROUGH, two=v1; reason=FALLTHROUGH',
      ...['one v1 1', 'two v1 1'],
    ]);
  });

  test('that are remembered for no longer than the decision takes, evaluations are counted as decided', async () => {
    const { decide } = await start({ uses: () => ['one', 'two'], later: false, passes: 5_001 });
    expect(await decide()).toEqual([
      'one=member; reason=RULE_MATCH, two=member; reason=RULE_MATCH',
      ...['one member 1', 'two member 1'],
    ]);
  });

  test('that only the newer revision uses, they are read', async () => {
    const { decide } = await start({ uses: (seq) => (seq === 2 ? ['one'] : []), later: true });
    expect(await decide()).toEqual([
      'one=member; reason=RULE_MATCH, two=v2; reason=FALLTHROUGH',
      ...['one member 1', 'two v2 1'],
    ]);
  });
});
