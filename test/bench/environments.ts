/**
 * Auto-configuration with many environments: what the whole put and a patch of one environment cost, at 300 and at 3,000.
 *
 * Method: a relay in its own process and a fake LaunchDarkly in another, on loopback, with five flags an environment. The
 * parent measures. `put`: from the relay's start until the last environment answers its mobile key with flags. `patch`: from
 * sending a patch with another mobile key of one environment until that key gets flags; the median and the longest of
 * twenty. `/livez`: asked again 5 ms after each answer, on one connection; the slowest answer during the put and during the patches.
 * Work that is linear in what changed keeps the ratio of the patch near 1, that of the put near 10. Machines differ: trust
 * the ratios.
 *
 *   npx tsx test/bench/environments.ts [--json] [--few 300] [--many 3000] [--patches 20]
 */
import { Agent, get } from 'node:http';
import { performance } from 'node:perf_hooks';
import { parseArgs } from 'node:util';
import { sleep } from '../../relay-task/common/pause.ts';
import { createBenchChildren } from '../support/bench-children.ts';
import { environmentRep, startFakeAutoConfig } from '../support/fake-auto-config.ts';
import { flag } from '../support/items.ts';
import { median } from '../support/percentile.ts';
import { startTestRelay } from '../support/start-relay.ts';

const idOf = (i: number) => i.toString(16).padStart(24, '0');

async function serveLaunchDarkly(count: number): Promise<void> {
  const environments = Array.from({ length: count }, (_, i) => environmentRep(idOf(i), 1));
  const fake = await startFakeAutoConfig(...environments);
  const flags = Array.from({ length: 5 }, (_, i) => flag(`flag-${i}`, 1));
  fake.upstream.data = {
    flags: Object.fromEntries(flags.map(({ key, json }) => [key, JSON.parse(String(json))])),
    segments: {},
  };
  process.on('message', ({ i, version }: { i: number; version: number }) => {
    void fake.patch(environmentRep(idOf(i), version, { mobKey: `mob-${i}-${version}` }));
  });
  process.send?.(fake.upstream.uri);
}

async function serveRelay(streamUri: string): Promise<void> {
  const relay = await startTestRelay({ AUTO_CONFIG_KEY: 'rel-bench', STREAM_URI: streamUri, LOG_LEVEL: 'error' });
  process.send?.(relay.uri);
}

const agent = new Agent({ keepAlive: true });

function statusOf(url: string, authorization = ''): Promise<number> {
  return new Promise((resolve, reject) => {
    get(url, { agent, headers: { authorization } }, (response) => {
      response.resume();
      response.on('end', () => resolve(response.statusCode ?? 0));
    }).on('error', reject);
  });
}

const context = Buffer.from('{"kind":"user","key":"u"}').toString('base64url');

async function inForce(uri: string, mobileKey: string): Promise<void> {
  while ((await statusOf(`${uri}/msdk/evalx/contexts/${context}`, mobileKey)) !== 200) await sleep(2);
}

/** The slowest answer of `/livez` until stopped, in ms. */
function watchLivez(uri: string) {
  let slowest = 0;
  let running = true;
  const watching = (async () => {
    while (running) {
      const askedAt = performance.now();
      await statusOf(`${uri}/livez`);
      slowest = Math.max(slowest, performance.now() - askedAt);
      await sleep(5);
    }
  })();
  return async () => {
    running = false;
    await watching;
    return slowest;
  };
}

async function measure(count: number, patches: number): Promise<Record<string, number>> {
  const launchDarkly = start(['--launchdarkly', String(count)]);
  const streamUri = await heard<string>(launchDarkly);
  const relay = start(['--relay', streamUri]);
  const uri = await heard<string>(relay);
  const began = performance.now();
  const duringPut = watchLivez(uri);
  await inForce(uri, `mob-${idOf(count - 1)}`);
  const result: Record<string, number> = { 'put in force, ms': performance.now() - began };
  result['/livez during the put, slowest, ms'] = await duringPut();
  for (let i = 0; i < count; i++) await inForce(uri, `mob-${idOf(i)}`);
  await sleep(2_000);
  const duringPatches = watchLivez(uri);
  const times: number[] = [];
  for (let n = 0; n < patches; n++) {
    const i = Math.floor((n * count) / patches);
    const sentAt = performance.now();
    launchDarkly.send({ i, version: 2 });
    await inForce(uri, `mob-${i}-2`);
    times.push(performance.now() - sentAt);
    await sleep(50);
  }
  result['patch in force, median, ms'] = median(times);
  result['patch in force, longest, ms'] = Math.max(...times);
  result['/livez during patches, slowest, ms'] = await duringPatches();
  relay.kill('SIGKILL');
  launchDarkly.kill('SIGKILL');
  return result;
}

const { start, heard } = createBenchChildren({ moduleUrl: import.meta.url, signal: 'SIGKILL' });

const round = (value: number) => Math.round(value * 10) / 10;

async function main(few: number, many: number, patches: number, json: boolean): Promise<void> {
  const small = await measure(few, patches);
  const large = await measure(many, patches);
  const rows = Object.keys(small).map((name) => ({
    name,
    [few]: round(small[name]!),
    [many]: round(large[name]!),
    ratio: round(large[name]! / small[name]!),
  }));
  if (json) console.log(JSON.stringify({ node: process.version, few, many, patches, rows }));
  else {
    console.log(`node ${process.version}; ratio: ${many} / ${few} environments, lower is better`);
    console.table(rows);
  }
}

const { values } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    few: { type: 'string', default: '300' },
    many: { type: 'string', default: '3000' },
    patches: { type: 'string', default: '20' },
    launchdarkly: { type: 'string' },
    relay: { type: 'string' },
  },
});
if (values.launchdarkly) void serveLaunchDarkly(Number(values.launchdarkly));
else if (values.relay) void serveRelay(values.relay);
else {
  main(Number(values.few), Number(values.many), Number(values.patches), values.json).then(
    () => process.exit(0),
    (error: unknown) => {
      console.error(error);
      process.exit(1);
    },
  );
}
