/** Tenants whose description changes at awkward moments: before, while and after their upstream starts. */
import { createRegistry } from '../../../relay-task/environments/registry.ts';
import type { EnvironmentDescription } from '../../../relay-task/ports.ts';
import type { Tenant } from '../../../relay-task/wiring/tenant.ts';
import type { TenantUpstream } from '../../../relay-task/wiring/tenant-upstream.ts';
import { createTenants } from '../../../relay-task/wiring/tenants.ts';
import { eventually } from '../../support/eventually.ts';
import { silentLog } from '../../support/logs.ts';

const describeShop = (more: Partial<EnvironmentDescription>): EnvironmentDescription => ({
  ...{ id: 'shop', name: 'shop', credentials: [], filters: [], secureMode: false, ttlMs: 0, prefix: 'first' },
  ...{ allowedOrigins: [], allowedHeaders: [] },
  ...more,
});

/** Modules that only record their calls. */
function open(startUpstream: (description: EnvironmentDescription) => Promise<void> = async () => {}) {
  const said: string[] = [];
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
      async upstream({ description }) {
        const { sdkKey, flagsFile } = description;
        const name = sdkKey ?? flagsFile;
        said.push(`try ${name}`);
        await startUpstream(description);
        if (name === undefined) return undefined;
        said.push(`start ${name}`);
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
  return { tenants, say, said };
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
