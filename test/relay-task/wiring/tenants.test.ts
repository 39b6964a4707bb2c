/** Tenants whose description changes at awkward moments: before, while and after their upstream starts. */
import { createRegistry } from '../../../relay-task/environments/registry.ts';
import type { EnvironmentDescription, StoredSet, UpstreamSink } from '../../../relay-task/ports.ts';
import { createAdmission } from '../../../relay-task/wiring/admission.ts';
import type { Tenant } from '../../../relay-task/wiring/tenant.ts';
import type { TenantUpstream } from '../../../relay-task/wiring/tenant-upstream.ts';
import { createTenants } from '../../../relay-task/wiring/tenants.ts';
import { eventually } from '../../support/eventually.ts';
import { createLogRecorder } from '../../support/logs.ts';
import { flag } from '../store/items.ts';

const describeShop = (more: Partial<EnvironmentDescription>): EnvironmentDescription => ({
  ...{ id: 'shop', name: 'shop', credentials: [], filters: [], secureMode: false, ttlMs: 0, prefix: 'first' },
  ...{ allowedOrigins: [], allowedHeaders: [] },
  ...more,
});

/** Modules that only record their calls. */
function open(
  startUpstream: (description: EnvironmentDescription) => Promise<void> = async () => {},
  onTouched: (id: string) => void = () => {},
  stored?: StoredSet,
) {
  const said: string[] = [];
  /** What streams were told. */
  const ofStreams: string[] = [];
  /** The sinks of the upstreams that were started, by name. */
  const sinks: Record<string, UpstreamSink> = {};
  /** Of the last upstream with an SDK key: where another key's data goes. */
  let sinkOfKey = (_key: string): UpstreamSink | undefined => undefined;
  const silent = () => {};
  /** By place: whether it may be written, and the version that memory had. */
  const writable: string[] = [];
  /** By place: the key that Big Segments are synchronised with. */
  const synchronised: string[] = [];
  const registry = createRegistry<Tenant>();
  const { log, lines } = createLogRecorder();
  /** The environments that were set up or changed. */
  const touched: string[] = [];
  const tenants = createTenants({
    registry,
    log,
    placeOf({ id, prefix, tableName }) {
      touched.push(id);
      onTouched(id);
      return { prefix, tableName };
    },
    parts: {
      streams: () => ({
        ...{ open: () => 'closing', publish: silent, refresh: silent, remove: silent },
        renew: () => void ofStreams.push('renew'),
        closeCredential: (credential) => void ofStreams.push(`close those of ${credential}`),
        connections: 0,
      }),
      stores({ prefix }) {
        said.push(`stores below ${prefix}`);
        return [
          {
            read: async () => stored,
            stamp: async () => undefined,
            setEligible: (eligible) => void writable.push(`${prefix} ${eligible} ${version() ?? ''}`.trim()),
            status: () => ({ database: 'consul', state: 'VALID', stateSince: 0, writer: false }),
            notify: silent,
            flush: async () => void writable.push(`${prefix} flushed`),
            close: async () => {},
          },
        ];
      },
      bigSegments({ prefix }, { writingKey }) {
        const tellKey = () => void synchronised.push(`${prefix} ${writingKey()}`);
        return {
          ...{ start: tellKey, follow: tellKey, owner: () => undefined, close: async () => {} },
          ...{ load: async () => new Map(), status: () => undefined },
          handOver: () => ({ places: [], known: undefined as never }),
        };
      },
      async upstream({ description }, sinkOf) {
        const { sdkKey, flagsFile } = description;
        const name = sdkKey ?? flagsFile;
        said.push(`try ${name}`);
        await startUpstream(description);
        if (name === undefined) return undefined;
        said.push(`start ${name}`);
        sinks[name] = sinkOf(`source ${name}`);
        if (sdkKey !== undefined) sinkOfKey = (key) => sinkOf(`key ${key}`);
        const upstream: TenantUpstream = {
          status: () => ({
            state: 'VALID',
            stateSince: 0,
            stateNow: 0,
            refused: false,
            current: true,
            checkedAt: 0,
            checkedNow: 0,
          }),
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
  const putFrom = (key: string, version: number) => sinkOfKey(key)?.put([flag('a', version)], [], 0);
  return {
    putFrom,
    writable,
    synchronised,
    tenants,
    registry,
    lines,
    touched,
    say,
    said,
    ofStreams,
    sinks,
    shop,
    version,
    put,
  };
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

test('streams that lose the data are closed before the others are renewed: what ends gets the rest of the data before', async () => {
  const sdkKey = (value: string) => ({ kind: 'sdkKey', value }) as const;
  const { tenants, say, ofStreams, putFrom } = open();
  say({ sdkKey: 'one', credentials: [sdkKey('one')] });
  await tenants.started();
  putFrom('one', 1);
  say({ sdkKey: 'two', credentials: [sdkKey('two'), { ...sdkKey('one'), unconfirmed: true }] });
  ofStreams.length = 0;
  putFrom('one', 2);
  expect(ofStreams).not.toContain('renew');
  ofStreams.length = 0;
  putFrom('two', 3);
  expect(ofStreams).toEqual(['close those of one', 'renew']);
  await tenants.close();
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

describe('an environment that gets another key and another place at once', () => {
  async function moved() {
    const all = open();
    all.say({ sdkKey: 'one' });
    await all.tenants.started();
    all.putFrom('one', 1);
    all.tenants.tellEligibility();
    expect(all.writable.at(-1)).toBe('first true 1');
    all.say({ sdkKey: 'two', prefix: 'second' });
    all.tenants.tellEligibility();
    expect(all.writable.filter((one) => one.startsWith('second true'))).toEqual([]);
    expect(all.shop().writingKey()).toBeUndefined();
    return all;
  }

  test('writes nothing to the new place before the new key has delivered', async () => {
    const { tenants, putFrom, writable, synchronised, shop } = await moved();
    putFrom('one', 2);
    tenants.tellEligibility();
    expect(writable.at(-1)).toBe('second false 2');
    putFrom('two', 3);
    expect(writable.filter((one) => one.startsWith('second true'))).toEqual(['second true 3']);
    expect(shop().writingKey()).toBe('two');
    expect(synchronised.filter((one) => one === 'second one')).toEqual([]);
    await tenants.close();
  });

  test('writes there at once if the former key is named again', async () => {
    const { tenants, say, writable, synchronised } = await moved();
    say({ sdkKey: 'one', prefix: 'second' });
    expect(writable.at(-1)).toBe('second true 1');
    expect(synchronised.at(-1)).toBe('second one');
    await tenants.close();
  });
});

test('a payload filter that appears after a corrected key does not serve what came with the wrong one', async () => {
  const { tenants, say, putFrom } = open();
  const mobile = { kind: 'mobileKey', value: 'mob' } as const;
  const key = (value: string) => ({ kind: 'sdkKey', value }) as const;
  say({ sdkKey: 'wrong', credentials: [key('wrong'), mobile] });
  await tenants.started();
  putFrom('wrong', 1);
  const corrected = { sdkKey: 'right', credentials: [key('right'), { ...mobile, unconfirmed: true as const }] };
  say(corrected);
  putFrom('right', 2);
  say({ ...corrected, filters: ['web'] });
  await tenants.started();
  putFrom('right', 3);
  const views = tenants.all.map(({ name, admission }) => [
    name,
    admission.source(),
    admission.admits('mobileKey', 'mob'),
  ]);
  expect(views).toEqual([
    ['shop', 'key right', false],
    ['shop/web', 'key right', false],
  ]);
  await tenants.close();
});

describe('a task that starts in a rotation', () => {
  const rotating = {
    sdkKey: 'two',
    credentials: [
      { kind: 'sdkKey', value: 'two' } as const,
      { kind: 'sdkKey', value: 'one', expiresAt: Infinity } as const,
    ],
  };
  const markOf = (sdkKey: string) => createAdmission(describeShop({ sdkKey })).mark();

  test("writes the earlier key's data nowhere, since the place may have come with the new key", async () => {
    const { tenants, say, putFrom, writable } = open();
    say(rotating);
    await tenants.started();
    putFrom('one', 1);
    tenants.tellEligibility();
    expect(writable.at(-1)).toBe('first false 1');
    putFrom('two', 2);
    expect(writable.at(-1)).toBe('first true 2');
    await tenants.close();
  });

  test('writes nothing while the key that the place may be for is not in force', async () => {
    const { tenants, say, putFrom, writable } = open();
    say({ sdkKey: 'one', awaitsKey: true });
    await tenants.started();
    putFrom('one', 1);
    tenants.tellEligibility();
    expect(writable.at(-1)).toBe('first false 1');
    say({ sdkKey: 'two' });
    putFrom('two', 2);
    expect(writable.at(-1)).toBe('first true 2');
    await tenants.close();
  });

  test.each([
    ['is marked as such', markOf('one')],
    ['is not marked', undefined],
  ])("writes the earlier key's data where it is already, which %s", async (_, source) => {
    const { tenants, say, putFrom, writable } = open(undefined, undefined, { items: [flag('a', 1)], source });
    say(rotating);
    await tenants.started();
    putFrom('one', 2);
    tenants.tellEligibility();
    expect(writable.at(-1)).toBe('first true 2');
    await tenants.close();
  });
});

test('a place that is left is not written any more: memory may soon hold what does not belong there', async () => {
  const { tenants, say, putFrom, writable } = open();
  say({ sdkKey: 'one' });
  await tenants.started();
  putFrom('one', 1);
  say({ sdkKey: 'two', prefix: 'second' });
  expect(writable).toContain('first false 1');
  await tenants.close();
  expect(writable).not.toContain('first flushed');
  expect(writable).toContain('second flushed');
});

test('an environment that gets only another place is written there at once', async () => {
  const { tenants, say, putFrom, writable, shop } = open();
  say({ sdkKey: 'one' });
  await tenants.started();
  putFrom('one', 1);
  say({ sdkKey: 'one', prefix: 'second' });
  expect(writable.at(-1)).toBe('second true 1');
  expect(shop().writingKey()).toBe('one');
  await tenants.close();
});

describe('a list of many environments', () => {
  const sdkKey = (value: string) => ({ kind: 'sdkKey', value }) as const;
  const describeOne = (id: string, key = `sdk-${id}`, more: Partial<EnvironmentDescription> = {}) =>
    describeShop({ id, name: id, credentials: [sdkKey(key)], ...more });
  const many = (count: number) => Array.from({ length: count }, (_, i) => describeOne(`e${i}`));
  const settled = (tenants: { readonly settled: boolean }) => eventually(() => expect(tenants.settled).toBe(true));

  test('costs no work for the environments that are described as before @heavy', async () => {
    const { tenants, touched } = open();
    const list = many(300);
    tenants.replace(list);
    await settled(tenants);
    expect(new Set(touched).size).toBe(300);
    touched.length = 0;
    // The same objects, and equal ones from a source that describes everything anew.
    tenants.replace([...list]);
    tenants.replace(many(300));
    expect(tenants.settled).toBe(true);
    expect(touched).toEqual([]);
    tenants.replace(list.map((description) => (description.id === 'e7' ? { ...description, ttlMs: 1 } : description)));
    expect(touched).toEqual(['e7']);
    await tenants.close();
  });

  test('is set up in slices, and only then is an unknown credential known to be none of them @heavy', async () => {
    const perTurn = new Map<number, number>();
    let turn = 0;
    const { tenants, registry } = open(undefined, () => {
      // A slice is over before, but four are taken in at once.
      for (const until = performance.now() + 1; performance.now() < until; );
      perTurn.set(turn, (perTurn.get(turn) ?? 0) + 1);
    });
    let counting = true;
    const count = () => {
      turn += 1;
      if (counting) setImmediate(count);
    };
    setImmediate(count);
    tenants.replace(many(60));
    expect(tenants.settled).toBe(false);
    expect(registry.complete).toBe(false);
    expect(registry.find('sdkKey', 'sdk-e59')).toBe('not-yet');
    await settled(tenants);
    counting = false;
    expect(Math.max(...perTurn.values())).toBeLessThanOrEqual(5);
    expect(registry.complete).toBe(true);
    expect(registry.find('sdkKey', 'sdk-e59')).toMatchObject({ name: 'e59' });
    await tenants.close();
  });

  test('knows an environment that gets another name at any time, however long it takes to set up', async () => {
    const { tenants, registry } = open(undefined, () => {
      for (const until = performance.now() + 3; performance.now() < until; );
    });
    tenants.replace([describeOne('shop', 'sdk-own')]);
    await settled(tenants);
    tenants.replace([describeOne('store', 'sdk-own')]);
    expect(tenants.settled).toBe(true);
    expect(registry.find('sdkKey', 'sdk-own')).toMatchObject({ name: 'store' });
    await tenants.close();
  });

  test('revokes at once, also while an earlier list is still being set up, and a newer list replaces it @heavy', async () => {
    const { tenants, registry, touched } = open(undefined, () => {
      for (const until = performance.now() + 1; performance.now() < until; );
    });
    tenants.replace(many(60));
    expect(registry.find('sdkKey', 'sdk-e0')).toMatchObject({ name: 'e0' });
    // e0 loses its key to the last one, e1 is gone, e59 never comes into force as it was.
    const next = many(60).filter(({ id }) => id !== 'e1' && id !== 'e0' && id !== 'e59');
    tenants.replace([describeOne('e0', 'sdk-other'), ...next, describeOne('e59', 'sdk-e0')]);
    expect(tenants.settled).toBe(false);
    expect(registry.find('sdkKey', 'sdk-e0')).toBe('not-yet');
    expect(registry.find('sdkKey', 'sdk-e1')).toBe('not-yet');
    await settled(tenants);
    expect(registry.find('sdkKey', 'sdk-e0')).toMatchObject({ name: 'e59' });
    expect(registry.find('sdkKey', 'sdk-e59')).toBe('unknown-credential');
    expect(registry.find('sdkKey', 'sdk-e1')).toBe('unknown-credential');
    expect(tenants.all).toHaveLength(59);
    expect(touched.filter((id) => id === 'e59')).toHaveLength(1);
    await tenants.close();
  });

  test('gives a refused credential to an environment that did not change, once its owner gave it up', async () => {
    const { tenants, registry, lines } = open();
    const second = describeOne('second', 'sdk-shared');
    tenants.replace([describeOne('first', 'sdk-shared'), second]);
    await settled(tenants);
    tenants.replace([describeOne('first', 'sdk-shared', { ttlMs: 5 }), second]);
    await settled(tenants);
    expect(registry.find('sdkKey', 'sdk-shared')).toMatchObject({ name: 'first' });
    expect(lines.filter((line) => line.includes('Refused a credential'))).toHaveLength(1);
    tenants.replace([describeOne('first', 'sdk-own'), second]);
    await settled(tenants);
    expect(registry.find('sdkKey', 'sdk-shared')).toMatchObject({ name: 'second' });
    await tenants.close();
  });

  test('an environment that cannot be set up harms no other, and is tried again with the next change', async () => {
    let broken = true;
    const { tenants, registry, lines } = open(undefined, (id) => {
      if (id === 'e1' && broken) throw new Error('no such place');
    });
    tenants.replace(many(3));
    await settled(tenants);
    expect(lines).toContainEqual(expect.stringContaining('"environment":"e1","reason":"no such place"'));
    // Its key is good: the answer is 503.
    expect(registry.find('sdkKey', 'sdk-e1')).toBe('not-yet');
    expect(registry.find('sdkKey', 'sdk-other')).toBe('unknown-credential');
    expect(registry.find('sdkKey', 'sdk-e2')).toMatchObject({ name: 'e2' });
    await expect(tenants.started()).rejects.toThrow('no such place');
    broken = false;
    tenants.replace(many(4));
    await settled(tenants);
    expect(registry.find('sdkKey', 'sdk-e1')).toMatchObject({ name: 'e1' });
    await tenants.close();
  });
});
