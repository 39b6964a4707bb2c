/**
 * LaunchDarkly's PHP SDK behind the relay: in daemon mode on Redis and DynamoDB, and by polling. It decodes every field of an
 * item, tombstones included, so it fails on incomplete ones; the driver turns its warnings about missing fields into failures.
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Variables } from '../../relay-task/config/config.ts';
import { startTable } from '../support/dynalite.ts';
import { eventually } from '../support/eventually.ts';
import { type FlagData, startFakeUpstream } from '../support/fake-upstream.ts';
import { flagData, segmentData, shortTombstone } from '../support/items.ts';
import { closeAfterEach } from '../support/opened.ts';
import { hasRedis, startRedis } from '../support/redis.ts';
import { startDriver } from './sdk-driver.ts';
import { sdkKey, startSite } from './site.ts';

const vendor = join(import.meta.dirname, '../../.cache/interop/php/vendor/autoload.php');
const hasPhp = existsSync(vendor) && spawnSync('php', ['-r', 'exit(extension_loaded("redis") ? 0 : 1);']).status === 0;

const alice = { kind: 'user', key: 'alice' };
const { opened, behind } = closeAfterEach();

const usesSegment = [
  {
    variation: 1,
    id: 'r',
    clauses: [{ attribute: '', op: 'segmentMatch', values: ['friends'], negate: false }],
    trackEvents: false,
  },
];
/** `dependent` needs `gone`; `guarded` serves friends variation 1. The last flag and segment have almost no fields. */
const data = (): FlagData => ({
  flags: {
    gone: flagData('gone', 1, { fallthrough: { variation: 0 } }),
    dependent: flagData('dependent', 1, { prerequisites: [{ key: 'gone', variation: 0 }] }),
    guarded: flagData('guarded', 1, { rules: usesSegment }),
    sparse: {
      ...{ key: 'sparse', version: 1, on: true, variations: ['a', 'b'], fallthrough: { variation: 1 } },
      rules: [{ variation: 0, clauses: [{ attribute: '', op: 'segmentMatch', values: ['few'] }] }],
    },
  },
  segments: {
    friends: segmentData('friends', 1, { included: ['alice'] }),
    few: { key: 'few', version: 1, included: ['alice'] },
  },
});

interface Place {
  /** What an earlier version left in the store. */
  readonly plant?: ((kind: 'features' | 'segments', key: string, version: number) => Promise<void>) | undefined;
  /** Of the relay. */
  readonly variables: Variables;
  readonly driver: (relay: string) => object;
}

const prefix = 'interop';

async function redisPlace(): Promise<Place> {
  const server = opened(await startRedis());
  return {
    plant: async (kind, key, version) => {
      await server.client.hset(`${prefix}:${kind}`, key, shortTombstone(kind, key, version).json);
      await server.client.set(`${prefix}:$inited`, '');
    },
    variables: {
      USE_REDIS: 'true',
      REDIS_HOST: '127.0.0.1',
      REDIS_PORT: String(server.port),
      LD_PREFIX_interop: prefix,
    },
    driver: () => ({ mode: 'redis', port: server.port, prefix }),
  };
}

async function dynamoPlace(): Promise<Place> {
  const table = opened(await startTable());
  return {
    variables: {
      ...{ USE_DYNAMODB: 'true', DYNAMODB_TABLE: table.tableName, DYNAMODB_URL: table.endpoint },
      LD_PREFIX_interop: prefix,
    },
    driver: () => ({ mode: 'daemon', endpoint: table.endpoint, table: table.tableName, prefix }),
  };
}

const pollingPlace = async (): Promise<Place> => ({ variables: {}, driver: (relay) => ({ mode: 'polling', relay }) });

const places = [
  { name: 'in daemon mode on Redis', start: redisPlace, canRun: hasRedis },
  { name: 'in daemon mode on DynamoDB', start: dynamoPlace, canRun: true },
  { name: 'in proxy mode', start: pollingPlace, canRun: true },
];

describe.each(places)("LaunchDarkly's PHP SDK $name", ({ name, start: startPlace, canRun }) => {
  const missing = !hasPhp ? 'needs PHP and test/interop/install.sh' : !canRun ? 'needs redis-server' : '';
  const testIf = missing === '' ? test : test.skip;
  const title = (claim: string) => (missing === '' ? claim : `${claim} (${missing})`);

  async function start(prepare: (place: Place) => Promise<void> = async () => {}) {
    const place = await startPlace();
    await prepare(place);
    const upstream = await startFakeUpstream(data());
    const site = await startSite(data(), place.variables, upstream);
    behind(() => site.close());
    const php = opened(
      await startDriver(['php', join(import.meta.dirname, 'php/driver.php')], { sdkKey, ...place.driver(site.uri) }),
    );
    const ask = (flag: string) => php.evaluate(flag, alice, 'FALLBACK');
    return { upstream, php, ask, all: () => php.ask({ context: alice }) };
  }

  const found = (value: unknown, variationIndex: number, kind: string) =>
    expect.objectContaining({ value, variationIndex, reason: expect.objectContaining({ kind }) });

  testIf(title('gets right answers from items that came without default fields'), async () => {
    const { ask, all } = await start();
    await eventually(async () => expect(await ask('sparse')).toEqual(found('a', 0, 'RULE_MATCH')));
    expect(await ask('dependent')).toEqual(found(true, 0, 'FALLTHROUGH'));
    expect(await ask('guarded')).toEqual(found(false, 1, 'RULE_MATCH'));
    expect(await all()).toEqual({ valid: true, values: { gone: true, dependent: true, guarded: false, sparse: 'a' } });
  });

  testIf.each(['a delete', 'a put without them'])(
    title('takes a deleted flag and a deleted segment (by %s) for absent, and what depends on them as the rules say'),
    async (how) => {
      const { upstream, ask, all } = await start();
      await eventually(async () => expect(await ask('gone')).toEqual(found(true, 0, 'FALLTHROUGH')));
      if (how === 'a delete') {
        await upstream.delete('flags', 'gone', 2);
        await upstream.delete('segments', 'friends', 2);
      } else {
        const { flags, segments } = data();
        const { gone: _, ...flagsLeft } = flags;
        const { friends: __, ...segmentsLeft } = segments;
        await upstream.put({ flags: flagsLeft, segments: segmentsLeft });
      }
      await eventually(async () => expect(await ask('guarded')).toEqual(found(true, 0, 'FALLTHROUGH')));
      await eventually(async () => expect(await ask('dependent')).toEqual(found(false, 1, 'PREREQUISITE_FAILED')));
      expect(await ask('gone')).toEqual({
        ...{ value: 'FALLBACK', variationIndex: null, reason: { kind: 'ERROR', errorKind: 'FLAG_NOT_FOUND' } },
      });
      expect(await all()).toEqual({ valid: true, values: { dependent: false, guarded: true, sparse: 'a' } });
    },
  );

  if (name.endsWith('Redis')) {
    testIf(
      title('can read all flags again once the relay has replaced short tombstones of an earlier version'),
      async () => {
        const { all } = await start(async ({ plant }) => {
          await plant!('features', 'old', 7);
          await plant!('segments', 'old', 8);
        });
        const values = { gone: true, dependent: true, guarded: false, sparse: 'a' };
        await eventually(async () => expect(await all()).toEqual({ valid: true, values }));
      },
    );
  }
});
