/** Tenants whose description changes at awkward moments: before, while and after their upstream starts. */
import { createRegistry } from '../../../relay-task/environments/registry.ts';
import type { EnvironmentDescription, UpstreamSink } from '../../../relay-task/ports.ts';
import type { Tenant } from '../../../relay-task/wiring/tenant.ts';
import type { TenantUpstream } from '../../../relay-task/wiring/tenant-upstream.ts';
import { createTenants } from '../../../relay-task/wiring/tenants.ts';
import { eventually } from '../../support/eventually.ts';
import { silentLog } from '../../support/logs.ts';
import { flag } from '../store/items.ts';

const describeShop = (more: Partial<EnvironmentDescription>): EnvironmentDescription => ({
  ...{ id: 'shop', name: 'shop', credentials: [], filters: [], secureMode: false, ttlMs: 0, prefix: 'first' },
  ...{ allowedOrigins: [], allowedHeaders: [] },
  ...more,
});

/** Modules that only record their calls. */
function open(startUpstream: (description: EnvironmentDescription) => Promise<void> = async () => {}) {
  const said: string[] = [];
  /** The sinks of the upstreams that were started, by name. */
  const sinks: Record<string, UpstreamSink> = {};
  const silent = () => {};
  const registry = createRegistry<Tenant>();
  const tenants = createTenants({
    registry,
    log: silentLog,
    placeOf: ({ prefix, tableName }) => ({ prefix, tableName }),
    parts: {
      streams: () => ({
        ...{ open: () => false, publish: silent, refresh: silent, closeCredential: silent, remove: silent },
        connections: 0,
      }),
      stores({ prefix }) {
        said.push(`stores below ${prefix}`);
        return [];
      },
      bigSegments: () => undefined,
      async upstream({ description }, sinkOf) {
        const { sdkKey, flagsFile } = description;
        const name = sdkKey ?? flagsFile;
        said.push(`try ${name}`);
        await startUpstream(description);
        if (name === undefined) return undefined;
        said.push(`start ${name}`);
        sinks[name] = sinkOf(`source ${name}`);
        const upstream: TenantUpstream = {
          status: () => ({ state: 'VALID', stateSince: 0, refused: false, current: true, checkedAt: 0 }),
          setKey: (key) => void said.push(`key ${key}`),
          close: async () => void said.push(`close ${name}`),
        };
        return upstream;
      },
    },
  });
  const say = (more: Partial<EnvironmentDescription>) => tenants.replace([describeShop(more)]);
  const shop = () => tenants.all[0]!;
  /** The version of the flag in memory. */
  const version = () => shop().memory.get('features', 'a')?.version;
  const put = (name: string, version: number) => sinks[name]?.put([flag('a', version)], [], 0);
  return { tenants, say, said, sinks, shop, version, put };
}

test('a key that arrives later starts the upstream, and another one is passed to it', async () => {
  const { tenants, say, said } = open();
  say({});
  await tenants.started();
  expect(said).toEqual(['stores below first', 'try undefined']);
  say({ sdkKey: 'one' });
  await eventually(() => expect(said).toContain('start one'));
  say({ sdkKey: 'two' });
  expect(said.at(-1)).toBe('key two');
  await tenants.close();
  expect(said.at(-1)).toBe('close one');
});

test('changes during the start of an upstream are applied afterwards', async () => {
  let proceed = () => {};
  const { tenants, say, said } = open(() => new Promise((resolve) => (proceed = resolve)));
  say({ sdkKey: 'one' });
  await eventually(() => expect(said).toContain('try one'));
  say({ sdkKey: 'two', prefix: 'second' });
  expect(said.at(-1)).toBe('stores below second');
  proceed();
  await tenants.started();
  expect(said.slice(-2)).toEqual(['start one', 'key two']);
  await tenants.close();
});

test('a failed start is replaced by another source at once', async () => {
  const { tenants, say, said } = open(async ({ flagsFile }) => {
    if (flagsFile === 'broken.json') throw new Error('broken');
  });
  say({ flagsFile: 'broken.json' });
  await expect(tenants.started()).rejects.toThrow('broken');
  say({ flagsFile: 'good.json', prefix: 'second' });
  await eventually(() => expect(said).toContain('start good.json'));
  expect(said).toEqual([
    'stores below first',
    'try broken.json',
    'stores below second',
    'try good.json',
    'start good.json',
  ]);
  await tenants.close();
});

test('an environment that is removed while its upstream starts leaves no upstream behind', async () => {
  let proceed = () => {};
  const { tenants, say, said } = open(() => new Promise((resolve) => (proceed = resolve)));
  say({ sdkKey: 'one' });
  await eventually(() => expect(said).toContain('try one'));
  tenants.replace([]);
  proceed();
  await eventually(() => expect(said.slice(-2)).toEqual(['start one', 'close one']));
  await tenants.close();
});

test('another source replaces the present one once it has delivered', async () => {
  const { say, said, shop, version, put, sinks, tenants } = open();
  say({ sdkKey: 'one' });
  await tenants.started();
  put('one', 1);
  say({ flagsFile: 'other.json' });
  await eventually(() => expect(said).toContain('start other.json'));
  expect(said).not.toContain('close one');
  sinks.one?.upsert(flag('a', 2), 0);
  // Single items of a source that has not sent its whole set belong to nothing.
  sinks['other.json']?.upsert(flag('a', 7), 0);
  expect(version()).toBe(2);
  expect(shop().sourceProblem?.message).toContain('the new source has delivered no flags yet');
  put('other.json', 1);
  expect(said.at(-1)).toBe('close one');
  expect(shop().sourceProblem).toBeUndefined();
  put('one', 3);
  sinks.one?.upsert(flag('a', 4), 0);
  expect(version()).toBe(1);
  sinks['other.json']?.upsert(flag('a', 8), 0);
  expect(version()).toBe(8);
  await tenants.close();
});

test('a source that cannot be started leaves the present one in use, and the reason is known', async () => {
  let trouble: string | undefined = 'other.json: file not found';
  const { say, said, shop, version, sinks, put, tenants } = open(async ({ flagsFile }) => {
    if (flagsFile !== undefined && trouble !== undefined) throw new Error(trouble);
  });
  say({ sdkKey: 'one' });
  await tenants.started();
  put('one', 1);
  say({ flagsFile: 'other.json' });
  await eventually(() =>
    expect(shop().sourceProblem?.message).toBe('other.json: file not found; the source before it stays in use'),
  );
  sinks.one?.upsert(flag('a', 2), 0);
  expect(version()).toBe(2);
  trouble = undefined;
  // Any change tries again at once.
  say({ flagsFile: 'other.json', ttlMs: 1 });
  await eventually(() => expect(said.at(-1)).toBe('start other.json'));
  put('other.json', 3);
  expect(said.at(-1)).toBe('close one');
  expect(shop().sourceProblem).toBeUndefined();
  await tenants.close();
});

test('a new source that has not delivered, or cannot be started, is forgotten if the present one is named again', async () => {
  const { say, said, shop, version, put, sinks, tenants } = open(async ({ flagsFile }) => {
    if (flagsFile === 'broken.json') throw new Error('broken');
  });
  say({ sdkKey: 'one' });
  await tenants.started();
  put('one', 1);
  for (const flagsFile of ['slow.json', 'broken.json']) {
    say({ flagsFile });
    await eventually(() => expect(shop().sourceProblem).toBeDefined());
    say({ sdkKey: 'one' });
    await eventually(() => expect(shop().sourceProblem).toBeUndefined());
  }
  expect(said).toContain('close slow.json');
  put('slow.json', 9);
  expect(version()).toBe(1);
  // The present one is handed its new key as ever.
  say({ sdkKey: 'two' });
  expect(said.at(-1)).toBe('key two');
  sinks.one?.upsert(flag('a', 2), 0);
  expect(version()).toBe(2);
  await tenants.close();
  expect(said.at(-1)).toBe('close one');
});

test('a key that is taken away closes its upstream at once, and what is in memory stays', async () => {
  const { say, said, version, put, tenants } = open();
  say({ sdkKey: 'one' });
  await tenants.started();
  put('one', 1);
  say({});
  await eventually(() => expect(said.at(-1)).toBe('close one'));
  expect(version()).toBe(1);
  await tenants.close();
});
