/**
 * What clients are told about Big Segments while the store misbehaves: the whole relay, and ld-relay beside it.
 *
 * Method: a real Redis holds the memberships of one segment, in which every second context is. Half of the contexts have
 * polled before, the others are new; then all poll at the same moment, over as many keep-alive sockets as there may be, while Redis is well, pauses for 3 s, is killed and comes back empty after 3 s, or answers 500 ms
 * late. A 5xx is asked again after a second, as SDKs do. The right answer follows from the context's key. Afterwards 2,000
 * contexts poll again and again until the store is full, and at last everyone who was not told the truth. LaunchDarkly serves ten patches,
 * 300 ms each, and sends another one when Redis is back, since ld-relay notices an empty store only then. Client-side streams
 * of contexts that have polled are open all the time, as many of new contexts open when the fault begins, and then the flag
 * changes without changing anyone's answer; every answer on them is judged. ld-relay's streams carry no answers, so they are ours alone.
 *
 *   npx tsx test/bench/big-segments.ts [--json] [--contexts 20000] [--sockets 18000] [--streams 1000] [--ld-relay /path/to/ld-relay] [--states paused,lagging]
 *
 * Exits with 1 if our relay told anybody a wrong membership. Without --ld-relay only our relay runs.
 */
import { execFile, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { Agent, get } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs, promisify } from 'node:util';
import { sleep } from '../../relay-task/common/pause.ts';
import { hashOf } from '../../relay-task/store/big-segments.ts';
import { startFakeBigSegments, wirePatch } from '../support/fake-big-segments.ts';
import { startFakeUpstream } from '../support/fake-upstream.ts';
import { freePort } from '../support/free-port.ts';
import { median, percentile } from '../support/percentile.ts';
import { readStream, type StreamEvent, type StreamReader } from '../support/read-stream.ts';
import { startRedis } from '../support/redis.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';

const { values } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    contexts: { type: 'string', default: '20000' },
    sockets: { type: 'string', default: '18000' },
    streams: { type: 'string', default: '1000' },
    'ld-relay': { type: 'string' },
    states: { type: 'string', default: 'healthy,paused,emptied,lagging' },
  },
});
const COUNT = Number(values.contexts);
const MAX_SOCKETS = Number(values.sockets);
const STREAMS = Number(values.streams);
const SAMPLE = Math.min(2_000, COUNT);
const PATCHES = 10;
/** Nothing takes so long on a machine that does nothing else. */
const GIVE_UP_MS = 240_000;

type State = 'healthy' | 'paused' | 'emptied' | 'lagging';
/** `no flag`: the answer has no flags. `none`: there was no answer. */
type Kind = 'right' | 'last known' | 'STORE_ERROR' | 'wrong' | 'no flag' | 'none';
interface Answer {
  readonly kind: Kind;
  readonly ms: number;
}

const clause = { attribute: '', op: 'segmentMatch', values: ['vip'], negate: false };
const club = {
  ...{ key: 'club', version: 1, on: true, salt: '', variations: ['in', 'out'], offVariation: 1 },
  ...{ fallthrough: { variation: 1 }, rules: [{ id: 'r', clauses: [clause], variation: 0 }] },
  clientSideAvailability: { usingEnvironmentId: true, usingMobileKey: true },
};
const changedClub = { ...club, version: 2 };
const vip = { key: 'vip', version: 1, salt: '', unbounded: true, generation: 3, included: [], excluded: [], rules: [] };
const keys = Array.from({ length: COUNT }, (_, index) => `context-${index}`);
const isMember = (key: string) => Number(key.split('-')[1]) % 2 === 0;

function startCommand(candidate: string, directory: string, variables: Record<string, string>) {
  const [command, args] =
    candidate === 'relay' ? [process.execPath, [join(directory, 'relay.mjs')]] : [candidate, ['--from-env']];
  const env = { PATH: process.env.PATH ?? '', ...variables };
  const child = spawn(command, args, { env, stdio: process.env.DEBUG_RELAY ? 'inherit' : 'ignore' });
  const exited = new Promise((resolve) => child.once('close', resolve));
  return async () => {
    child.kill('SIGKILL');
    await exited;
  };
}

async function start(candidate: string, directory: string) {
  const redis = await startRedis();
  const proxy = await startTcpProxy(redis.port);
  const members = keys.filter(isMember);
  const size = Math.ceil(members.length / PATCHES);
  const patches = Array.from({ length: PATCHES }, (_, index) => {
    const hashes = members.slice(index * size, (index + 1) * size).map((key) => `+${hashOf(key)}`);
    return wirePatch('vip.g3', index === 0 ? '' : `v${index}`, `v${index + 1}`, hashes);
  });
  const launchDarkly = await startFakeBigSegments(...patches);
  const upstream = await startFakeUpstream({ flags: { club }, segments: { vip } });
  upstream.answer = ({ url }) => (url.startsWith('/big-segments') ? 'silent' : 'stream');
  const port = await freePort();
  const stop = startCommand(candidate, directory, {
    ...{ PORT: String(port), LD_ENV_prod: 'sdk-00000000-1111-2222-3333-444455556666', LD_PREFIX_prod: 'prod' },
    ...{ LD_CLIENT_SIDE_ID_prod: 'client-id', STREAM_URI: upstream.uri, BASE_URI: launchDarkly.uri },
    ...{ USE_REDIS: 'true', REDIS_URL: `redis://127.0.0.1:${proxy.port}` },
  });
  const agent = new Agent({ keepAlive: true, maxSockets: MAX_SOCKETS, maxFreeSockets: MAX_SOCKETS });
  return {
    ...{ redis, proxy, launchDarkly, upstream, agent, port },
    async close() {
      agent.destroy();
      await stop();
      for (const part of [proxy, redis, launchDarkly, upstream]) await part.close();
    },
  };
}
type Site = Awaited<ReturnType<typeof start>>;

const contextOf = (key: string) => Buffer.from(JSON.stringify({ kind: 'user', key })).toString('base64url');

function ask({ agent, port }: Site, key: string): Promise<string | undefined> {
  const path = `/sdk/evalx/client-id/contexts/${contextOf(key)}?withReasons=true`;
  return new Promise((resolve) => {
    const request = get({ host: '127.0.0.1', port, path, agent }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('end', () => resolve(response.statusCode === 200 ? text : undefined));
      response.on('error', () => resolve(undefined));
    });
    request.on('error', () => resolve(undefined));
  });
}

/** The first answer that is none of "come back later". */
async function poll(site: Site, key: string): Promise<Answer> {
  const began = performance.now();
  const took = () => performance.now() - began;
  while (took() < GIVE_UP_MS) {
    const text = await ask(site, key);
    if (text !== undefined) return { kind: judge(key, text), ms: took() };
    await sleep(1_000);
  }
  return { kind: 'none', ms: took() };
}

interface Result {
  readonly variation: number;
  readonly reason: { readonly bigSegmentsStatus?: string };
}

const judge = (key: string, text: string) => judgeResult(key, (JSON.parse(text) as { club?: Result }).club);

function judgeResult(key: string, answer: Result | undefined): Kind {
  if (!answer) return 'no flag';
  const { bigSegmentsStatus: status } = answer.reason;
  if (status === 'STORE_ERROR') return 'STORE_ERROR';
  if (answer.variation !== (isMember(key) ? 0 : 1)) return 'wrong';
  return status === 'STALE' ? 'last known' : 'right';
}

/** The client-side stream of a context, once it is open. A 503 is asked again after a second. */
async function openStream({ port }: Site, key: string) {
  const path = `/eval/client-id/${contextOf(key)}?withReasons=true`;
  const began = performance.now();
  for (;;) {
    const reader = await readStream({ port, path, timeoutMs: GIVE_UP_MS });
    if (reader.status === 200) return { key, reader };
    reader.close();
    if (performance.now() - began > GIVE_UP_MS) throw new Error(`the stream of ${key} was answered ${reader.status}`);
    await sleep(1_000);
  }
}
type OpenStream = { readonly key: string; readonly reader: StreamReader };

/** Every answer that the client was told, oldest first. */
function answersOn({ key, reader }: OpenStream): Kind[] {
  const kindOf = ({ event, data }: StreamEvent) =>
    event === 'put' ? judge(key, data) : judgeResult(key, JSON.parse(data) as Result);
  return reader.events.filter(({ event }) => event === 'put' || event === 'patch').map(kindOf);
}

function judgeStreams(known: readonly OpenStream[], unknown: readonly OpenStream[]) {
  const ofKnown = known.flatMap(answersOn);
  const answers = [...ofKnown, ...unknown.flatMap(answersOn)];
  const number = (some: readonly Kind[], kind: Kind) => some.filter((one) => one === kind).length;
  return {
    ...{ streams: known.length + unknown.length, streamAnswers: answers.length, streamRight: number(answers, 'right') },
    ...{ streamLastKnown: number(answers, 'last known'), streamStoreError: number(answers, 'STORE_ERROR') },
    ...{ streamStoreErrorOfKnown: number(ofKnown, 'STORE_ERROR'), streamWrong: number(answers, 'wrong') },
    streamNeverTold: [...known, ...unknown].filter((one) => answersOn(one).at(-1) !== 'right').length,
  };
}

const all = (site: Site, some: readonly string[]) => Promise.all(some.map((key) => poll(site, key)));
const isTrue = (answer: Answer | undefined) => answer?.kind === 'right' || answer?.kind === 'last known';
const count = (answers: readonly Answer[], kind: Kind) => answers.filter((answer) => answer.kind === kind).length;

async function beginFault(site: Site, state: State): Promise<void> {
  const { redis, proxy } = site;
  if (state === 'paused') await redis.client.call('CLIENT', 'PAUSE', '3000', 'ALL');
  if (state === 'lagging') proxy.slow(500);
  if (state === 'emptied') await redis.kill();
}

/** Resolves when the store holds everything again. */
async function endFault({ redis, proxy, launchDarkly, upstream }: Site, state: State): Promise<void> {
  if (state === 'lagging') proxy.heal();
  if (state !== 'emptied') return;
  const last = wirePatch('vip.g3', `v${PATCHES}`, `v${PATCHES + 1}`);
  launchDarkly.history.push(last);
  Object.assign(launchDarkly, { pageSize: 1, pollDelayMs: 300 });
  await redis.restart();
  await sleep(1_000);
  await upstream.event('patch', JSON.stringify([last]), { to: ({ url }) => url.startsWith('/big-segments') });
  const until = performance.now() + GIVE_UP_MS;
  while ((await redis.client.get('prod:big_segments_cursor')) !== last.version) {
    if (performance.now() > until) throw new Error('the store was not filled again');
    await sleep(100);
  }
}

async function run(candidate: string, state: State, directory: string) {
  const site = await start(candidate, directory);
  try {
    const began = performance.now();
    for (let answer: Kind | undefined; answer !== 'right'; ) {
      if (performance.now() - began > GIVE_UP_MS) throw new Error(`${candidate} did not become ready`);
      answer = (await ask(site, keys[0]!).then((text) => text && judge(keys[0]!, text))) as Kind | undefined;
      await sleep(200);
    }
    // All even and odd contexts of the first half are known.
    const known = keys.slice(0, COUNT / 2);
    for (let at = 0; at < known.length; at += 500) await all(site, known.slice(at, at + 500));
    const streamed = candidate === 'relay' ? Math.floor(STREAMS / 2) : 0;
    const open = (some: readonly string[]) => Promise.all(some.map((key) => openStream(site, key)));
    const knownStreams = await open(known.slice(0, streamed));
    await beginFault(site, state);
    const opening = open(keys.slice(keys.length - streamed));
    await site.upstream.patch('flags', changedClub, { to: ({ url }) => !url.startsWith('/big-segments') });
    const answering = all(site, keys);
    if (state === 'emptied') await sleep(3_000);
    let full = false;
    const recovery = endFaultAfter(site, state, answering).then(() => {
      full = true;
    });
    const first = await answering;
    const later: Answer[] = [];
    const sample = keys.filter((_, index) => index % Math.max(1, Math.floor(COUNT / SAMPLE)) === 0);
    do {
      later.push(...(await all(site, sample)));
      await sleep(100);
    } while (!full);
    await recovery;
    let missing = keys.filter((_, index) => !isTrue(first[index]));
    const restored = performance.now();
    while (missing.length > 0 && performance.now() - restored < GIVE_UP_MS / 2) {
      const answers = await all(site, missing);
      missing = missing.filter((_, index) => !isTrue(answers[index]));
      if (missing.length > 0) await sleep(500);
    }
    const newStreams = await opening;
    while (
      judgeStreams(knownStreams, newStreams).streamNeverTold > 0 &&
      performance.now() - restored < GIVE_UP_MS / 2
    ) {
      await sleep(1_000);
    }
    const times = first.map(({ ms }) => ms);
    return {
      ...{
        relay: candidate === 'relay' ? 'edge-flag-relay' : 'ld-relay',
        state,
        contexts: COUNT,
        sockets: MAX_SOCKETS,
      },
      ...{ right: count(first, 'right'), lastKnown: count(first, 'last known') },
      ...{ storeError: count(first, 'STORE_ERROR'), wrong: count(first, 'wrong') },
      ...{ noFlag: count(first, 'no flag'), none: count(first, 'none') },
      ...{ medianMs: Math.round(median(times)), lastMs: Math.round(percentile(times, 1)) },
      ...{
        laterAnswers: later.length,
        laterStoreError: count(later, 'STORE_ERROR'),
        laterWrong: count(later, 'wrong'),
        laterNoFlag: count(later, 'no flag'),
      },
      ...{ neverTold: missing.length, storeErrorOfKnown: count(first.slice(0, COUNT / 2), 'STORE_ERROR') },
      ...judgeStreams(knownStreams, newStreams),
    };
  } finally {
    await site.close();
  }
}

/** A lag lasts until all have their first answers; Redis comes back empty while many wait. */
async function endFaultAfter(site: Site, state: State, answers: Promise<unknown>): Promise<void> {
  if (state !== 'emptied') await answers;
  await endFault(site, state);
}

const directory = mkdtempSync(join(tmpdir(), 'edge-flag-relay-bench-'));
try {
  const root = join(import.meta.dirname, '../..');
  const tsx = join(root, 'node_modules/tsx/dist/cli.mjs');
  await promisify(execFile)(process.execPath, [tsx, 'bin/relay-bundle.ts', directory], { cwd: root });
  const candidates = ['relay', ...(values['ld-relay'] ? [values['ld-relay']] : [])];
  const rows = [];
  for (const state of values.states.split(',') as State[]) {
    for (const candidate of candidates) {
      const row = await run(candidate, state, directory);
      rows.push(row);
      if (values.json) console.log(JSON.stringify(row));
    }
  }
  if (!values.json) console.table(rows);
  const mistaken = rows.filter(
    (row) => row.relay === 'edge-flag-relay' && row.wrong + row.laterWrong + row.streamWrong > 0,
  );
  process.exitCode = mistaken.length > 0 ? 1 : 0;
} finally {
  rmSync(directory, { recursive: true });
}
