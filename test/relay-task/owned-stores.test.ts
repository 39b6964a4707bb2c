/** A store never gives a key the data of another environment: it says whose data it holds. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PutItemCommand } from '@aws-sdk/client-dynamodb';
import { encodeHead, encodeInited, encodeOfficialItem } from '../../lib/flag-table/index.ts';
import type { Variables } from '../../relay-task/config/config.ts';
import { startTable } from '../support/dynalite.ts';
import { eventually } from '../support/eventually.ts';
import { type Answer, type FakeUpstream, startFakeUpstream } from '../support/fake-upstream.ts';
import { closeAfterEach } from '../support/opened.ts';
import { readStream } from '../support/read-stream.ts';
import { relayStores } from '../support/relay-stores.ts';
import { hastyTimings } from '../support/rotating-sources.ts';
import { type SsmServer, startSsmServer } from '../support/ssm-server.ts';
import { startTestRelay, type TestRelay } from '../support/start-relay.ts';

const staging = 'sdk-00000000-0000-0000-0000-00000000000a';
const production = 'sdk-00000000-0000-0000-0000-00000000000b';
const mobile = 'mob-00000000-0000-0000-0000-00000000000c';
const environmentId = 'bbbbbbbbbbbbbbbbbbbbbbbb';
const stagingId = 'aaaaaaaaaaaaaaaaaaaaaaaa';
const context = Buffer.from('{"kind":"user","key":"u"}').toString('base64url');
const { opened } = closeAfterEach();

const flagOf = (key: string, version = 1) => ({
  key: 'whose',
  version,
  on: false,
  offVariation: 0,
  variations: [key],
  salt: '',
  clientSideAvailability: { usingMobileKey: true, usingEnvironmentId: true },
});

let launchDarkly: FakeUpstream;
let ssm: SsmServer;
/** What LaunchDarkly answers to this key; `stream` unless it is named. */
let answers: Record<string, Answer>;
beforeEach(async () => {
  answers = {};
  launchDarkly = opened(await startFakeUpstream());
  launchDarkly.dataFor = ({ headers }) => ({ flags: { whose: flagOf(String(headers.authorization)) }, segments: {} });
  launchDarkly.answer = ({ headers }) => answers[String(headers.authorization)] ?? 'stream';
  ssm = opened(await startSsmServer());
});

const stores = relayStores({ opened });

const start = async (store: Variables = {}): Promise<TestRelay> =>
  startTestRelay(
    { KEYS_FROM_SSM: '/relay', SSM_URL: ssm.endpoint, STREAM_URI: launchDarkly.uri, ...store },
    { timings: hastyTimings, secrets: [staging, production, mobile] },
  );

/** Whose data a client with this credential gets, or the status. */
async function polled(relay: TestRelay, credential: string): Promise<string | number> {
  const path = credential.startsWith('sdk-')
    ? '/sdk/latest-all'
    : credential.startsWith('mob-')
      ? `/msdk/evalx/contexts/${context}`
      : `/sdk/evalx/${credential}/contexts/${context}`;
  const response = await fetch(`${relay.uri}${path}`, { headers: { Authorization: credential } });
  const text = await response.text();
  if (response.status !== 200) return response.status;
  const { flags, whose } = JSON.parse(text);
  return whose?.value ?? flags.whose.variations[0];
}

// biome-ignore lint/suspicious/noExplicitAny: the tests read a few members of a large answer
const statusOf = async (relay: TestRelay): Promise<any> =>
  (await (await fetch(`${relay.uri}/status`)).json()).environments.shop;

/** Runs a relay with this SDK key until the store holds what LaunchDarkly sent. */
async function fill(store: Variables, key: string): Promise<void> {
  ssm.put('/relay/shop/sdk-key', key);
  await closeWhenStored(opened(await start(store)), key);
}

async function closeWhenStored(relay: TestRelay, key: string): Promise<void> {
  await eventually(async () => expect(await polled(relay, key)).toBe(key));
  await eventually(async () =>
    expect((await statusOf(relay)).stores[0]).toMatchObject({ state: 'VALID', writer: true }),
  );
  // Closing writes what is waiting.
  await relay.close();
}

describe.each(Object.keys(stores))('a task that starts while LaunchDarkly hangs, with a store in %s', (name) => {
  let store: Variables;
  beforeEach(async () => {
    store = await stores[name]!();
  });

  test('serves what its own key has stored @heavy', async () => {
    await fill(store, production);
    answers = { [production]: 'hang' };
    const relay = opened(await start(store));
    await eventually(async () => expect(await polled(relay, production)).toBe(production));
  });

  test('serves nothing of what another key has stored, and later the data of its own key @heavy', async () => {
    await fill(store, staging);
    answers = { [production]: 'hang' };
    ssm.put('/relay/shop/sdk-key', production);
    const relay = opened(await start(store));
    const refused = "The store holds another SDK key's flags; waiting for LaunchDarkly";
    await eventually(() => expect(relay.lines.map(({ message }) => message)).toContain(refused));
    for (let look = 0; look < 20; look++) expect(await polled(relay, production)).toBe(503);
    expect(await statusOf(relay)).toMatchObject({ initialized: false });

    answers = {};
    launchDarkly.cut();
    await closeWhenStored(relay, production);
    answers = { [production]: 'hang' };
    const next = opened(await start(store));
    await eventually(async () => expect(await polled(next, production)).toBe(production));
  });

  test('keeps in a rotation what the new key has stored, although the earlier key would get flags @heavy', async () => {
    await fill(store, production);
    ssm.put('/relay/shop/previous-sdk-key', staging);
    ssm.put('/relay/shop/previous-sdk-key-until', new Date(Date.now() + 3_600_000).toISOString());
    answers[production] = 'hang';
    answers[staging] = 'stream';
    const before = launchDarkly.requests.length;
    const relay = opened(await start(store));
    await eventually(async () => expect(await polled(relay, production)).toBe(production));
    await launchDarkly.requested(before + 1);
    expect(launchDarkly.requests.slice(before).map(({ headers }) => headers.authorization)).not.toContain(staging);
    expect(await polled(relay, production)).toBe(production);
  });

  test('serves in a rotation what the earlier key has stored, but not to the new key @heavy', async () => {
    await fill(store, staging);
    answers = { [staging]: 'hang', [production]: 'hang' };
    ssm.put('/relay/shop/sdk-key', production);
    ssm.put('/relay/shop/previous-sdk-key', staging);
    ssm.put('/relay/shop/previous-sdk-key-until', new Date(Date.now() + 3_600_000).toISOString(), { type: 'String' });
    const relay = opened(await start(store));
    await eventually(async () => expect(await polled(relay, staging)).toBe(staging));
    for (let look = 0; look < 20; look++) expect(await polled(relay, production)).toBe(503);
  });

  test('finds the data of its own key, though an environment got that place and key and had the data of another key @heavy', async () => {
    ssm.put('/relay/shop/prefix', 'elsewhere', { type: 'String' });
    await fill(store, production);
    ssm.delete('/relay/shop/prefix');
    ssm.put('/relay/shop/sdk-key', staging);
    const mover = opened(await start(store));
    await eventually(async () => expect((await statusOf(mover)).stores[0]).toMatchObject({ writer: true }));
    answers = { [production]: 'hang' };
    ssm.put('/relay/shop/sdk-key', production);
    await eventually(async () => expect(await polled(mover, production)).toBe(503));
    ssm.put('/relay/shop/prefix', 'elsewhere', { type: 'String' });
    await eventually(async () => expect((await statusOf(mover)).stores[0].dbPrefix).toBe('elsewhere'));
    for (let look = 0; look < 20; look++) expect((await statusOf(mover)).stores[0].writer).toBe(false);
    // Closing writes what is waiting.
    await mover.close();
    const next = opened(await start(store));
    await eventually(async () => expect(await polled(next, production)).toBe(production));
  });
});

/** A relay that starts while LaunchDarkly hangs, with a table in LaunchDarkly's own layout and these further rows. */
async function startBesideLdRelay(...more: object[]): Promise<TestRelay> {
  const table = opened(await startTable());
  const json = JSON.stringify(flagOf('ld-relay'));
  const official = encodeOfficialItem('shop', { kind: 'features', key: 'whose', version: 1, deleted: false, json });
  for (const Item of [official, encodeInited('shop'), ...more]) {
    await table.client.send(new PutItemCommand({ TableName: table.tableName, Item: Item as never }));
  }
  answers = { [production]: 'hang' };
  ssm.put('/relay/shop/sdk-key', production);
  const store = { USE_DYNAMODB: 'true', DYNAMODB_TABLE: table.tableName, DYNAMODB_URL: table.endpoint };
  return opened(await start(store));
}

test('a table that ld-relay filled is adopted, since it does not say whose data it holds', async () => {
  const relay = await startBesideLdRelay();
  await eventually(async () => expect(await polled(relay, production)).toBe('ld-relay'));
});

test('a table that a relay has begun to write is not adopted before that says whose data it is @heavy', async () => {
  const head = encodeHead('shop', { format: 1, owner: 'another relay', epoch: 7, beat: 1, checkedAt: 0 });
  const relay = await startBesideLdRelay(head);
  const refused = "The store holds another SDK key's flags; waiting for LaunchDarkly";
  await eventually(() => expect(relay.lines.map(({ message }) => message)).toContain(refused));
  expect(await polled(relay, production)).toBe(503);
});

test('a flags file that cannot be read leaves the stream in use, and the stream that hangs leaves the file in use @heavy', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'flags-'));
  opened({ close: async () => rmSync(directory, { recursive: true }) });
  const write = (whose: string, version: number) =>
    writeFileSync(join(directory, 'flags.json'), JSON.stringify({ flags: { whose: flagOf(whose, version) } }));
  write('file', 1);
  ssm.put('/relay/shop/sdk-key', production);
  const relay = opened(await start());
  await eventually(async () => expect(await polled(relay, production)).toBe(production));

  ssm.put('/relay/shop/flags-file', join(directory, 'flag.json'), { type: 'String' });
  await eventually(async () =>
    expect((await statusOf(relay)).keyProblem?.message).toMatch(/flag\.json.*file not found/),
  );
  await launchDarkly.patch('flags', flagOf('a change by the stream', 2));
  await eventually(async () => expect(await polled(relay, production)).toBe('a change by the stream'));

  ssm.put('/relay/shop/flags-file', join(directory, 'flags.json'), { type: 'String' });
  await eventually(async () => expect(await polled(relay, production)).toBe('file'));
  await eventually(() => expect(launchDarkly.openStreams).toBe(0));
  expect(await statusOf(relay)).not.toHaveProperty('keyProblem');

  answers = { [production]: 'hang' };
  ssm.delete('/relay/shop/flags-file');
  await eventually(async () => expect((await statusOf(relay)).keyProblem?.message).toContain('the new source'));
  write('a change of the file', 2);
  await eventually(async () => expect(await polled(relay, production)).toBe('a change of the file'));
  expect(await polled(relay, production)).not.toBe(production);
});

describe('if LaunchDarkly says which environment a key belongs to', () => {
  beforeEach(() => {
    launchDarkly.headersFor = ({ headers }) => ({
      'X-LD-EnvID': headers.authorization === staging ? stagingId : environmentId,
    });
    ssm.put('/relay/shop/mobile-key', mobile);
    ssm.put('/relay/shop/client-side-id', environmentId, { type: 'String' });
  });

  test("another environment's SDK key opens nothing for mobile keys and the client-side ID, and /status says why @heavy", async () => {
    ssm.put('/relay/shop/sdk-key', staging);
    const relay = opened(await start());
    await eventually(async () => expect(await polled(relay, staging)).toBe(staging));
    expect(await polled(relay, mobile)).toBe(503);
    expect(await polled(relay, environmentId)).toBe(503);
    expect((await statusOf(relay)).keyProblem.message).toContain(
      `LaunchDarkly says that the SDK key belongs to the environment ${stagingId}, but the client-side ID is ${environmentId}`,
    );
    ssm.put('/relay/shop/sdk-key', production);
    await eventually(async () => expect(await polled(relay, environmentId)).toBe(production));
    expect(await polled(relay, mobile)).toBe(production);
    expect(await statusOf(relay)).not.toHaveProperty('keyProblem');
  });

  test.each(Object.keys(stores))(
    'a task that starts from %s while LaunchDarkly hangs knows it, too @heavy',
    async (name) => {
      const store = await stores[name]!();
      await fill(store, staging);
      answers = { [staging]: 'hang' };
      const relay = opened(await start(store));
      await eventually(async () => expect(await polled(relay, staging)).toBe(staging));
      for (let look = 0; look < 20; look++) {
        expect(await polled(relay, mobile)).toBe(503);
        expect(await polled(relay, environmentId)).toBe(503);
      }
    },
  );

  test('an SDK key that is replaced by that of another environment ends the open streams of other credentials', async () => {
    ssm.put('/relay/shop/sdk-key', production);
    const relay = opened(await start());
    const path = `/meval/${context}`;
    await eventually(async () => expect(await polled(relay, mobile)).toBe(production));
    const stream = await readStream({ port: relay.port, path, headers: { Authorization: mobile } });
    expect((await stream.next()).data).toContain(production);
    ssm.put('/relay/shop/sdk-key', staging);
    expect(await stream.ended).toBe('clean');
    expect(stream.body()).not.toContain(staging);
    expect(await polled(relay, mobile)).toBe(503);
  });

  test('a key in its grace time that is of another environment gets 503 once the new key has delivered', async () => {
    ssm.put('/relay/shop/sdk-key', staging);
    const relay = opened(await start());
    await eventually(async () => expect(await polled(relay, staging)).toBe(staging));
    ssm.put('/relay/shop/previous-sdk-key', staging);
    ssm.put('/relay/shop/previous-sdk-key-until', new Date(Date.now() + 3_600_000).toISOString(), { type: 'String' });
    ssm.put('/relay/shop/sdk-key', production);
    await eventually(async () => expect(await polled(relay, production)).toBe(production));
    expect(await polled(relay, staging)).toBe(503);
  });
});
