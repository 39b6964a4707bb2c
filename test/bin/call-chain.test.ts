/** The example of a call chain: its services under load while the flag changes, and its command. */
import { spawnSync } from 'node:child_process';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { Template } from 'aws-cdk-lib/assertions';
import { startServices } from '../../bin/call-chain/services.ts';
import { get } from '../../examples/call-chain/call.ts';
import { GREETING } from '../../examples/call-chain/hello.ts';
import { CallChainStack } from '../../examples/call-chain/stack.ts';
import { type ChainReport, createChain } from '../../lambda/edge-reader/chain.ts';
import { createReader } from '../../lambda/edge-reader/index.ts';
import { FlagTable } from '../../lib/infrastructure/flag-table.ts';
import { item, putDelta, putSnapshot } from '../lambda/edge-reader/table-writer.ts';
import { startTable, type TestTable } from '../support/dynalite.ts';
import { eventually, PATIENCE_MS } from '../support/eventually.ts';
import { closeAfterEach } from '../support/opened.ts';
import { createApp } from '../support/synthesise.ts';

const { behind } = closeAfterEach();
const root = join(import.meta.dirname, '../..');
const CHAINS = 16;
const FLIPS = 100;
const env = { AWS_REGION: 'eu-west-1', AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'test' };
const keys = [{ id: 'test', secret: 'x'.repeat(32) }];

let table: TestTable;

beforeAll(async () => {
  table = await startTable();
});
afterAll(() => table.close());

/** Everybody gets one variation, the other one after each flip. */
const flag = (version: number) =>
  item('features', {
    ...{ key: GREETING, version, on: true, salt: '', variations: ['stable', 'canary'] },
    fallthrough: { variation: version % 2 },
  });

interface Said {
  readonly hello: string;
  readonly world: {
    readonly version: string;
    readonly greeting: string;
    readonly chained: { readonly received: string };
  };
}

/** Each service with a reader of its own, of which the second reads more seldom. */
async function start(prefix: string, report?: Pick<ChainReport, 'onDecision' | 'chained' | 'handled'>) {
  const { tableName, endpoint } = table;
  const service = (refreshMs: number) => {
    const where = { tableName, prefix, endpoint, replicas: { default: ['eu-west-1'] } };
    const reader = createReader({ ...where, refreshMs, coldDeadlineMs: 60_000 }, { env });
    return createChain({ reader, prefix, keys, maxAgeMs: 600_000, report });
  };
  const services = await startServices({ hello: service(10), world: service(50), timeoutMs: PATIENCE_MS });
  behind(() => services.close());
  return services;
}

test(`${CHAINS} concurrent chains agree within themselves while a flag is flipped ${FLIPS} times, and only the table stays connected @heavy`, async () => {
  const sockets: Socket[] = [];
  const onSocket = (message: unknown) => void sockets.push((message as { socket: Socket }).socket);
  subscribe('net.client.socket', onSocket);
  behind(() => void unsubscribe('net.client.socket', onSocket));

  await putSnapshot(table, 'flipped', [flag(1)], { epoch: 1, seq: 1 });
  const { helloUrl } = await start('flipped');
  let flipping = true;
  const heard: Said[] = [];
  const chain = async (user: string) => {
    while (flipping) {
      const { statusCode, body } = await get(`${helloUrl}?user=${user}`, {}, PATIENCE_MS);
      expect(statusCode).toBe(200);
      heard.push(body as Said);
    }
  };
  const chains = Array.from({ length: CHAINS }, (_, index) => chain(`user-${index}`));
  const flips = (async () => {
    for (let seq = 2; seq <= FLIPS + 1; seq += 1) {
      const soFar = heard.length;
      await putDelta(table, 'flipped', [flag(seq)], { epoch: 1, seq }, { epoch: 1, seq: 1 });
      // Each flip falls into the chains of some users.
      await eventually(() => expect(heard.length).toBeGreaterThan(soFar + 4));
    }
    flipping = false;
  })();
  await Promise.all([...chains, flips]);

  expect(heard.filter(({ hello, world }) => hello !== world.version)).toEqual([]);
  expect(new Set(heard.map(({ hello }) => hello))).toEqual(new Set(['stable', 'canary']));
  expect(heard.every(({ world }) => world.chained.received === 'used')).toBe(true);
  const open = () => sockets.filter(({ destroyed, connecting }) => !destroyed && !connecting);
  const tablePort = Number(new URL(table.endpoint).port);
  await eventually(() => expect(new Set(open().map(({ remotePort }) => remotePort))).toEqual(new Set([tablePort])));
  expect(sockets.length).toBeGreaterThan(heard.length);
});

test('a request without a user gets the expected format, and a failing service is reported', async () => {
  await putSnapshot(table, 'failing', [flag(2)], { epoch: 1, seq: 1 });
  const handled: unknown[] = [];
  const report = { onDecision() {}, chained() {}, handled: (what: object) => void handled.push(what) };
  const { tableName, endpoint } = table;
  const where = { tableName, prefix: 'failing', endpoint, replicas: { default: ['eu-west-1'] } };
  const chain = createChain({ reader: createReader({ ...where, coldDeadlineMs: 60_000 }, { env }), keys, report });
  const versions = { stable: () => Promise.reject(new Error('broken')) };
  const services = await startServices({ hello: chain, world: chain, versions, timeoutMs: PATIENCE_MS });
  behind(() => services.close());
  for (const url of [services.helloUrl, services.worldUrl]) {
    expect(await get(url, {}, PATIENCE_MS)).toMatchObject({
      statusCode: 400,
      body: { error: 'expected a user: ?user=alice' },
    });
  }
  expect(await get(`${services.helloUrl}?user=a%26b`, {}, PATIENCE_MS)).toMatchObject({
    statusCode: 502,
    body: { hello: 'stable' },
  });
  // world's greeting, its punctuation and hello's greeting.
  expect(handled).toMatchObject(
    [GREETING, 'world-punctuation', GREETING, 'world-punctuation'].map((flagKey) => ({ flagKey, failed: true })),
  );
});

test('the stack has both functions, with their permissions and settings @heavy', () => {
  const flagTable = FlagTable.fromExisting('flags', { homeRegion: 'eu-west-1', replicaRegions: [] });
  const stack = new CallChainStack(createApp(), 'CallChain', {
    ...{ env: { account: '123456789012', region: 'eu-west-1' }, flagTable, prefix: 'production' },
  });
  const template = Template.fromStack(stack);
  template.resourceCountIs('AWS::Lambda::Url', 2);
  const functions = Object.values(template.findResources('AWS::Lambda::Function')).map(({ Properties }) => Properties);
  const settings = functions.map(({ Environment }) => JSON.stringify(Environment.Variables.SETTINGS));
  expect(settings).toEqual([0, 1].map(() => expect.stringContaining('{{resolve:secretsmanager:')));
  expect(functions.filter(({ Environment }) => Environment.Variables.WORLD_URL)).toHaveLength(1);
});

function run(...args: string[]) {
  const { PATH = '' } = process.env;
  const command = ['--import', 'tsx', 'bin/call-chain.ts', ...args];
  const { status, stdout, stderr } = spawnSync(process.execPath, command, {
    cwd: root,
    env: { PATH },
    encoding: 'utf8',
  });
  return { status, stdout, stderr };
}

test('offline, the command answers with hard-coded values @heavy', () => {
  const { status, stdout, stderr } = run('offline');
  expect([status, stderr]).toEqual([0, '']);
  const world = { version: 'stable', greeting: 'Hello alice!' };
  expect(JSON.parse(stdout.split('\n')[0]!)).toMatchObject({ hello: 'stable', world });
});

test('other arguments are answered with the usage @heavy', () => {
  expect(run('--help')).toMatchObject({
    status: 2,
    stderr: 'npm run example:chain [-- offline | -- <percent> <percent> …]\n',
  });
});

test('while the rollout grows from 0 to 100 %, no user goes back and no chain disagrees @heavy', () => {
  const shares = process.env.LONG ? [] : ['0', '100'];
  const { status, stdout, stderr } = run(...shares);
  expect([status, stderr]).toEqual([0, '']);
  expect(stdout).toMatch(/^ +0 % {2}0 users, 0 of them back/m);
  expect(stdout).toMatch(/^100 % {2}64 users, 0 of them back/m);
  expect([...stdout.matchAll(/(\d+) of them back/g)].map(([, back]) => back)).toEqual(
    Array(shares.length || 6).fill('0'),
  );
  expect(stdout).toMatch(/Services disagreed in 0; /);
  expect(stdout).toMatch(/canary +\d+ requests, \d+ errors, p50 \d/);
});
