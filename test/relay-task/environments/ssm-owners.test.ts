/** A credential in two environments belongs to the one that had it first, in every relay, whatever happens to parameters. */
import { createHash } from 'node:crypto';
import { SSMClient } from '@aws-sdk/client-ssm';
import { type SsmSource, startSsmSource } from '../../../relay-task/environments/ssm-source.ts';
import type { EnvironmentDescription, Keeper } from '../../../relay-task/ports.ts';
import { eventually } from '../../support/eventually.ts';
import { closeAfterEach } from '../../support/opened.ts';
import { type SsmServer, startSsmServer } from '../../support/ssm-server.ts';

const path = '/edge-flag-relay/test/environments';
const hourMs = 3_600_000;
const timings = {
  ...{ spacingMs: 0, retryBaseMs: 1, retryMs: 5, confirmMs: 20, slowestMs: 100, requestTimeoutMs: 60_000, retries: 1 },
};
const values = {
  'sdk-key': 'sdk-11111111-aaaa-4aaa-8aaa-000000000001',
  'mobile-key': 'mob-44444444-dddd-4ddd-8ddd-000000000004',
  'client-side-id': '5f0000000000000000000005',
};
type Kind = keyof typeof values;
const kinds = Object.keys(values) as Kind[];
/** Whose flags the data of an SDK key cannot tell. */
const ambiguous: readonly Kind[] = ['mobile-key', 'client-side-id'];
const other = {
  'sdk-key': 'sdk-22222222-bbbb-4bbb-8bbb-000000000002',
  'mobile-key': 'mob-55555555-eeee-4eee-8eee-000000000005',
  'client-side-id': '5f0000000000000000000006',
};
const stagingKey = 'sdk-33333333-cccc-4ccc-8ccc-000000000003';

const { opened } = closeAfterEach();
let server: SsmServer;
let keeper: Keeper & { text: string | undefined; down: boolean };

beforeEach(async () => {
  server = opened(await startSsmServer());
  keeper = {
    text: undefined,
    down: false,
    async read() {
      if (this.down) throw new Error('the store is down');
      return this.text === undefined ? undefined : Buffer.from(this.text);
    },
    async write(bytes) {
      if (this.down) throw new Error('the store is down');
      this.text = Buffer.from(bytes).toString();
    },
  };
});

const put = (name: string, value: string, modifiedAt?: number) =>
  server.put(`${path}/${name}`, value, modifiedAt === undefined ? {} : { modifiedAt });
const remove = (name: string) => server.delete(`${path}/${name}`);

interface Relay extends SsmSource {
  readonly delivered: (readonly EnvironmentDescription[])[];
  readonly lines: string[];
  /** The environment that the value opens, or why it opens none. */
  ownerOf(value: string): string;
  problemOf(id: string): string | undefined;
  advance(ms: number): void;
  /** Waits until everything has been read again. */
  read(): Promise<void>;
}

async function startRelay(options: { keeper?: Keeper | undefined; aheadMs?: number } = { keeper }): Promise<Relay> {
  const client = new SSMClient({
    ...{ endpoint: server.endpoint, region: 'eu-west-1', maxAttempts: 1 },
    credentials: { accessKeyId: 'test', secretAccessKey: 'test' },
  });
  const delivered: (readonly EnvironmentDescription[])[] = [];
  const lines: string[] = [];
  let offsetMs = options.aheadMs ?? 0;
  const write = (message: string, fields?: object) => void lines.push(JSON.stringify({ message, ...fields }));
  const source = startSsmSource({
    ...{
      path,
      client,
      timings,
      intervalMs: 20,
      graceMs: 86_400_000,
      keeper: options.keeper,
      clock: { now: () => Date.now() + offsetMs },
    },
    log: { debug: write, info: write, warn: write, error: write },
    sink: { replace: (environments) => void delivered.push(environments) },
  });
  opened({
    async close() {
      await source.close();
      client.destroy();
    },
  });
  const lists = () =>
    server.calls.filter(({ operation, continued }) => operation === 'GetParametersByPath' && !continued);
  const relay = {
    ...source,
    delivered,
    lines,
    ownerOf(value: string) {
      const owners = (delivered.at(-1) ?? []).filter(({ credentials }) =>
        credentials.some((one) => one.value === value),
      );
      if (owners.length > 0) return owners.map(({ id }) => id).join(' and ');
      return source.unread() > 0 ? '503' : '401';
    },
    problemOf: (id: string) => delivered.at(-1)?.find((one) => one.id === id)?.keyProblem?.message,
    advance(ms: number) {
      offsetMs += ms;
    },
    async read() {
      const before = lists().length;
      await eventually(() => expect(lists().length).toBeGreaterThanOrEqual(before + 4));
    },
  };
  await eventually(() => expect(source.status().state).toBe('VALID'));
  return relay;
}

/** Production has everything; staging has a key of its own, and by mistake a value of production. */
async function withMistake(kind: Kind): Promise<Relay> {
  for (const one of kinds) put(`production/${one}`, values[one]);
  if (kind !== 'sdk-key') put('staging/sdk-key', stagingKey);
  const relay = await startRelay();
  put(`staging/${kind}`, values[kind]);
  const parameter = `production/${kind}`;
  await eventually(() =>
    expect(relay.problemOf('staging')).toBe(
      `staging/${kind} has the same value as ${parameter}: give each environment its own`,
    ),
  );
  expect(relay.ownerOf(values[kind])).toBe('production');
  await eventually(() => expect(keeper.text).toContain('staging'));
  return relay;
}

describe.each(kinds)('production’s %s, which staging got by mistake,', (kind) => {
  const parameter = `production/${kind}`;
  const value = values[kind];

  test.each([
    ['is written again', () => put(parameter, value, Date.now() + 5_000)],
    [
      'is deleted and created again at once',
      () => {
        remove(parameter);
        put(parameter, value, Date.now() + 5_000);
      },
    ],
  ])(
    `the ${kind} of production stays production's when it %s, in a running relay and in one that starts @heavy`,
    async (_, change) => {
      const running = await withMistake(kind);
      change();
      await running.read();
      const started = await startRelay();
      await started.read();
      for (const relay of [running, started]) {
        expect(relay.ownerOf(value)).toBe('production');
        expect(relay.problemOf('production')).toBeUndefined();
      }
      expect([...running.delivered, ...started.delivered].flatMap((all) => valuesOf(all, 'staging'))).not.toContain(
        value,
      );
    },
  );

  test(`the ${kind} of production stays production's for 24 h after it was deleted, also if it comes back then @heavy`, async () => {
    const running = await withMistake(kind);
    remove(parameter);
    await eventually(() => expect(running.problemOf('production')).toContain('is no longer in SSM'));
    running.advance(23.9 * hourMs);
    await running.read();
    expect(running.ownerOf(value)).toBe('production');
    put(parameter, value, Date.now() + 5_000);
    await eventually(() => expect(running.problemOf('production')).toBeUndefined());
    running.advance(48 * hourMs);
    await running.read();
    expect(running.ownerOf(value)).toBe('production');
  });

  test(`the ${kind} of production is staging's when the 24 h after its deletion are over`, async () => {
    const running = await withMistake(kind);
    remove(parameter);
    await eventually(() => expect(running.problemOf('production')).toContain('is no longer in SSM'));
    running.advance(24.1 * hourMs);
    await eventually(() => expect(running.ownerOf(value)).toBe('staging'));
    const started = await startRelay({ keeper, aheadMs: 24.2 * hourMs });
    expect(started.ownerOf(value)).toBe('staging');
  });

  test(`the ${kind} of production is staging's once production has another`, async () => {
    const running = await withMistake(kind);
    put(parameter, other[kind]);
    await eventually(() => expect(running.ownerOf(value)).toBe('staging'));
    expect((await startRelay()).ownerOf(value)).toBe('staging');
    await eventually(() => expect(keeper.text).toBe('{}'));
  });
});

const valuesOf = (all: readonly EnvironmentDescription[], id: string) =>
  all.filter((one) => one.id === id).flatMap(({ credentials }) => credentials.map(({ value }) => value));

test.each(ambiguous)(
  'a relay that starts after production lost its %s opens it for nobody for 24 h, and answers 503 @heavy',
  async (kind) => {
    const running = await withMistake(kind);
    remove(`production/${kind}`);
    await eventually(() => expect(keeper.text).toContain('missingSince'));
    await running.close();
    const started = await startRelay();
    expect(started.ownerOf(values[kind])).toBe('503');
    expect(started.problemOf('staging')).toContain(`staging/${kind} is the value that production had first`);
    started.advance(23.9 * hourMs);
    await started.read();
    expect(started.ownerOf(values[kind])).toBe('503');
    put(`production/${kind}`, values[kind], Date.now() + 5_000);
    await eventually(() => expect(started.ownerOf(values[kind])).toBe('production'));
    remove(`production/${kind}`);
    await eventually(() => expect(started.problemOf('production')).toContain('is no longer in SSM'));
    started.advance(24.1 * hourMs);
    await eventually(() => expect(started.ownerOf(values[kind])).toBe('staging'));
  },
);

test.each(ambiguous)(
  'a deletion of production’s whole folder gives staging nothing of its %s for 24 h',
  async (kind) => {
    const running = await withMistake(kind);
    for (const one of kinds) remove(`production/${one}`);
    await running.read();
    expect(running.ownerOf(values[kind])).toBe('production');
    await eventually(() => expect(keeper.text).toContain('missingSince'));
    const started = await startRelay();
    expect(started.ownerOf(values[kind])).toBe('503');
  },
);

test.each(ambiguous)(
  'a %s of two environments opens neither, with 503, when nobody saw which had it first @heavy',
  async (kind) => {
    put('production/sdk-key', values['sdk-key']);
    put('staging/sdk-key', stagingKey);
    // The mistake looks older, since production's parameter was written again.
    put(`staging/${kind}`, values[kind], Date.now() - 10_000);
    put(`production/${kind}`, values[kind]);
    for (const relay of [await startRelay(), await startRelay({ keeper: undefined })]) {
      await relay.read();
      expect(relay.ownerOf(values[kind])).toBe('503');
      for (const [id, not] of [
        ['production', 'staging'],
        ['staging', 'production'],
      ] as const) {
        expect(relay.problemOf(id)).toBe(
          `${id}/${kind} has the same value as ${not}/${kind}, and which had it first is not known: it opens neither; give each environment its own`,
        );
      }
      expect(relay.ownerOf(values['sdk-key'])).toBe('production');
      expect(relay.ownerOf(stagingKey)).toBe('staging');
    }
    const relay = await startRelay();
    put(`staging/${kind}`, other[kind]);
    await eventually(() => expect(relay.ownerOf(values[kind])).toBe('production'));
    await eventually(() => expect(relay.ownerOf(other[kind])).toBe('staging'));
    expect(relay.unread()).toBe(0);
  },
);

test('an SDK key of two environments opens the older parameter’s when it is unknown which had it first', async () => {
  put('staging/sdk-key', values['sdk-key'], Date.now() + 5_000);
  put('production/sdk-key', values['sdk-key']);
  expect((await startRelay()).ownerOf(values['sdk-key'])).toBe('production');
});

test('an SDK key that one environment uses and another has as its previous one opens the former', async () => {
  put('staging/sdk-key', stagingKey);
  put('staging/previous-sdk-key', values['sdk-key'], Date.now() - 10_000);
  put('staging/previous-sdk-key-until', new Date(Date.now() + hourMs).toISOString());
  put('production/sdk-key', values['sdk-key']);
  expect((await startRelay()).ownerOf(values['sdk-key'])).toBe('production');
});

test('a folder that is copied under a new name and then deleted continues under the new name, also in a relay that starts', async () => {
  for (const one of kinds) put(`production/${one}`, values[one]);
  const running = await startRelay();
  for (const one of kinds) put(`shop/${one}`, values[one]);
  await eventually(() => expect(running.problemOf('shop')).toContain('client-side-id has the same value'));
  await eventually(() => expect(Object.keys(JSON.parse(keeper.text ?? '{}'))).toHaveLength(3));
  for (const one of kinds) remove(`production/${one}`);
  await running.read();
  const started = await startRelay();
  for (const value of Object.values(values)) {
    expect(running.ownerOf(value)).toBe('production');
    expect(started.ownerOf(value)).toBe('shop');
  }
  running.advance(24.1 * hourMs);
  await eventually(() => {
    for (const value of Object.values(values)) expect(running.ownerOf(value)).toBe('shop');
  });
});

test('a folder that is renamed is no longer an environment, and its place in the store is free', async () => {
  for (const one of kinds) put(`production/${one}`, values[one]);
  const relay = await startRelay();
  for (const one of kinds) remove(`production/${one}`);
  for (const one of kinds) put(`shop/${one}`, values[one]);
  put('shop/prefix', 'production');
  await eventually(() => expect(relay.delivered.at(-1)).toMatchObject([{ id: 'shop', prefix: 'production' }]));
  expect(relay.problemOf('shop')).toBeUndefined();
  for (const value of Object.values(values)) expect(relay.ownerOf(value)).toBe('shop');
  // Its former name is an environment again as soon as it has a key.
  put('production/sdk-key', other['sdk-key']);
  await eventually(() => expect(relay.ownerOf(other['sdk-key'])).toBe('production'));
});

test('a folder that left only some of its keys to another one stays an environment, with a problem', async () => {
  for (const one of kinds) put(`production/${one}`, values[one]);
  const relay = await startRelay();
  for (const one of kinds) remove(`production/${one}`);
  put('shop/sdk-key', values['sdk-key']);
  await eventually(() => expect(relay.ownerOf(values['sdk-key'])).toBe('shop'));
  await relay.read();
  expect(relay.problemOf('production')).toContain('production/mobile-key is no longer in SSM');
  for (const kind of ambiguous) expect(relay.ownerOf(values[kind])).toBe('production');
});

test('a client-side ID that a deleted folder left to another one still says whose its mobile key is', async () => {
  for (const one of kinds) put(`production/${one}`, values[one]);
  const relay = await startRelay();
  for (const one of kinds) remove(`production/${one}`);
  put('shop/sdk-key', other['sdk-key']);
  put('shop/client-side-id', values['client-side-id']);
  await eventually(() => expect(relay.ownerOf(values['client-side-id'])).toBe('shop'));
  expect(relay.ownerOf(values['mobile-key'])).toBe('production');
  const production = () => relay.delivered.at(-1)?.find(({ id }) => id === 'production');
  expect(production()).toMatchObject({ environmentId: undefined, formerEnvironmentId: values['client-side-id'] });
  // Another value is a correction, once its SDK key is there.
  put('production/client-side-id', other['client-side-id']);
  await relay.read();
  expect(production()).toMatchObject({ environmentId: undefined });
  expect(relay.ownerOf(other['client-side-id'])).toBe('503');
  put('production/sdk-key', values['sdk-key']);
  await eventually(() =>
    expect(production()).toMatchObject({ environmentId: other['client-side-id'], formerEnvironmentId: undefined }),
  );
});

test('a mobile key that is moved to another environment opens that one at once', async () => {
  put('production/sdk-key', values['sdk-key']);
  put('production/mobile-key', values['mobile-key']);
  put('staging/sdk-key', stagingKey);
  const relay = await startRelay();
  remove('production/mobile-key');
  put('staging/mobile-key', values['mobile-key']);
  await eventually(() => expect(relay.ownerOf(values['mobile-key'])).toBe('staging'));
});

test('a mobile key that is moved on does not go back to an environment whose parameter was deleted before', async () => {
  put('production/sdk-key', values['sdk-key']);
  put('production/mobile-key', values['mobile-key']);
  put('staging/sdk-key', stagingKey);
  put('shop/sdk-key', other['sdk-key']);
  const relay = await startRelay();
  remove('production/mobile-key');
  put('staging/mobile-key', values['mobile-key']);
  await eventually(() => expect(relay.ownerOf(values['mobile-key'])).toBe('staging'));
  put('staging/mobile-key', other['mobile-key']);
  put('shop/mobile-key', values['mobile-key']);
  await eventually(() => expect(relay.ownerOf(other['mobile-key'])).toBe('staging'));
  await relay.read();
  expect(relay.ownerOf(values['mobile-key'])).toBe('shop');
});

test.each(kinds)(
  'the %s of two environments can be swapped one after the other: the first keeps its own until then @heavy',
  async (kind) => {
    for (const one of kinds) put(`production/${one}`, values[one]);
    for (const one of kinds) put(`staging/${one}`, one === 'sdk-key' ? stagingKey : other[one]);
    const [mine, theirs] = [values[kind], kind === 'sdk-key' ? stagingKey : other[kind]];
    const relay = await startRelay();
    put(`production/${kind}`, theirs);
    await eventually(() => expect(relay.problemOf('production')).toContain(`has the same value as staging/${kind}`));
    // Longer than a replaced value waits to be confirmed.
    relay.advance(hourMs);
    await relay.read();
    expect([relay.ownerOf(mine), relay.ownerOf(theirs)]).toEqual(['production', 'staging']);
    put(`staging/${kind}`, mine);
    await eventually(() => expect([relay.ownerOf(mine), relay.ownerOf(theirs)]).toEqual(['staging', 'production']));
    await relay.read();
    expect([relay.ownerOf(mine), relay.ownerOf(theirs)]).toEqual(['staging', 'production']);
  },
);

test('mobile keys that are swapped change their environments', async () => {
  put('production/sdk-key', values['sdk-key']);
  put('staging/sdk-key', stagingKey);
  put('production/mobile-key', other['mobile-key']);
  put('staging/mobile-key', values['mobile-key']);
  const relay = await startRelay();
  put('production/mobile-key', values['mobile-key']);
  put('staging/mobile-key', other['mobile-key']);
  await eventually(() => expect(relay.ownerOf(values['mobile-key'])).toBe('production'));
  await eventually(() => expect(relay.ownerOf(other['mobile-key'])).toBe('staging'));
});

test.each(
  ambiguous.flatMap(
    (kind) =>
      [
        [kind, 'key', createHash('sha256').update(values[kind]).digest('hex').slice(0, 32)],
        [kind, 'environment', '*'],
      ] as const,
  ),
)('a %s whose owner revoked the %s opens nothing elsewhere, and is unknown', async (kind, _, entry) => {
  const running = await withMistake(kind);
  put('production/revoked', entry);
  remove(`production/${kind}`);
  await eventually(() => expect(running.ownerOf(values[kind])).toBe('401'));
  expect(running.problemOf('staging')).toContain(`staging/${kind} is the value that production had first`);
  const started = await startRelay();
  await started.read();
  expect(started.ownerOf(values[kind])).toBe('401');
  expect(started.ownerOf(stagingKey)).toBe('staging');
});

test('a relay that starts while the store is down serves a disputed key to no environment, and to its owner once the store answers', async () => {
  await (await withMistake('mobile-key')).close();
  keeper.down = true;
  const started = await startRelay();
  expect(started.ownerOf(values['mobile-key'])).toBe('503');
  expect(started.ownerOf(values['client-side-id'])).toBe('production');
  const warnings = started.lines.filter((line) => line.includes('Could not read the record of which environment'));
  expect(warnings).toHaveLength(1);
  expect(warnings[0]).toContain('the store is down');
  keeper.down = false;
  await eventually(() => expect(started.ownerOf(values['mobile-key'])).toBe('production'));
});

test('a relay that does not know the owner takes it over from another relay that does', async () => {
  const running = await withMistake('mobile-key');
  const known = keeper.text;
  keeper.text = undefined;
  const started = await startRelay();
  expect(started.ownerOf(values['mobile-key'])).toBe('503');
  keeper.text = known;
  await eventually(() => expect(started.ownerOf(values['mobile-key'])).toBe('production'));
  expect(running.ownerOf(values['mobile-key'])).toBe('production');
});

test.each(['{', '[]', '{"x":1,"y":{"owner":1,"later":[]},"z":{"owner":"a","later":[1]}}', `"${'x'.repeat(2 ** 20)}"`])(
  'a damaged record (%#) is ignored and replaced',
  async (text) => {
    keeper.text = text;
    const relay = await withMistake('mobile-key');
    expect(relay.ownerOf(values['mobile-key'])).toBe('production');
    expect(Object.values(JSON.parse(keeper.text))).toEqual([
      { owner: 'production', key: expect.stringMatching(/^[0-9a-f]{32}$/), later: ['staging'] },
    ]);
  },
);

test('the record holds no key, and nothing at all without a dispute', async () => {
  for (const one of kinds) put(`production/${one}`, values[one]);
  await (await startRelay()).read();
  expect(keeper.text).toBeUndefined();
  for (const one of kinds) put(`staging/${one}`, values[one]);
  await eventually(() => expect(keeper.text).toContain('staging'));
  for (const value of Object.values(values)) expect(keeper.text).not.toContain(value);
});
