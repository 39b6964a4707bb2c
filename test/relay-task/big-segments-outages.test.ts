/**
 * Many contexts at once, by polls and by streams, through a whole relay whose Redis pauses, dies and comes back empty. Even
 * contexts are members. `LONG=1` uses thousands of contexts.
 */
import { httpRequest } from '../../relay-task/common/http-request.ts';
import { sleep } from '../../relay-task/common/pause.ts';
import { hashOf } from '../../relay-task/store/big-segments.ts';
import { inParallel } from '../../relay-task/store/in-parallel.ts';
import { eventually, PATIENCE_MS, roomy } from '../support/eventually.ts';
import { startFakeBigSegments, wirePatch } from '../support/fake-big-segments.ts';
import { startFakeUpstream } from '../support/fake-upstream.ts';
import { closeAfterEach } from '../support/opened.ts';
import { readStream, type StreamReader } from '../support/read-stream.ts';
import { describeWithRedis, startRedis } from '../support/redis.ts';
import { startTestRelay } from '../support/start-relay.ts';

const COUNT = process.env.LONG ? 3_000 : 20;
const PATCHES = 10;
/** Whoever comes last waits for all others. */
const TURN_MS = PATIENCE_MS + COUNT * roomy(100);

const clause = { attribute: '', op: 'segmentMatch', values: ['vip'], negate: false };
const club = (version: number, variations = ['in', 'out']) => ({
  ...{ key: 'club', version, on: true, salt: '', variations, offVariation: 1, fallthrough: { variation: 1 } },
  rules: [{ id: 'r', clauses: [clause], variation: 0 }],
  clientSideAvailability: { usingEnvironmentId: true, usingMobileKey: true },
});
const vip = { key: 'vip', version: 1, salt: '', unbounded: true, generation: 3, included: [], excluded: [], rules: [] };

type Answer = { readonly value: string; readonly variation: number; readonly reason: { bigSegmentsStatus?: string } };

const keysOf = (group: string) => Array.from({ length: COUNT }, (_, index) => `${group}-${index}`);
const isMember = (key: string) => Number(key.split('-')[1]) % 2 === 0;
const pathOf = (key: string) => Buffer.from(JSON.stringify({ kind: 'user', key })).toString('base64url');
/** Variation 0 is for members. */
const isRight = (key: string, { variation }: Answer) => variation === (isMember(key) ? 0 : 1);

const { opened } = closeAfterEach();

async function startEverything() {
  const redis = opened(await startRedis());
  const members = ['known', 'open', 'new', 'late'].flatMap(keysOf).filter(isMember);
  const size = Math.ceil(members.length / PATCHES);
  const patches = Array.from({ length: PATCHES }, (_, index) => {
    const hashes = members.slice(index * size, (index + 1) * size).map((key) => `+${hashOf(key)}`);
    return wirePatch('vip.g3', index === 0 ? '' : `v${index}`, `v${index + 1}`, hashes);
  });
  const launchDarkly = opened(await startFakeBigSegments(...patches));
  const upstream = opened(await startFakeUpstream({ flags: { club: club(1) }, segments: { vip } }));
  upstream.answer = ({ url }) => (url.startsWith('/big-segments') ? 'silent' : 'stream');
  const relay = opened(
    await startTestRelay({
      LD_ENV_prod: 'sdk-00000000-1111-2222-3333-444455556666',
      LD_CLIENT_SIDE_ID_prod: 'client-id',
      LD_PREFIX_prod: 'prod',
      STREAM_URI: upstream.uri,
      BASE_URI: launchDarkly.uri,
      USE_REDIS: 'true',
      REDIS_URL: `redis://127.0.0.1:${redis.port}`,
    }),
  );

  /** Polls until there is an answer. A 503 must say when to come back. */
  async function poll(key: string): Promise<Answer> {
    for (;;) {
      const url = new URL(`${relay.uri}/sdk/evalx/client-id/contexts/${pathOf(key)}?withReasons=true`);
      // Not `fetch`, which waits five minutes: of thousands at once the last one waits longer on a busy machine.
      const { status, headers, body } = await httpRequest({ url, timeoutMs: TURN_MS, maxAnswerBytes: 100_000 });
      if (status === 200) return (JSON.parse(body.toString()) as { club: Answer }).club;
      expect([status, Number(headers['retry-after']) > 0]).toEqual([503, true]);
      await sleep(200);
    }
  }
  /** Some at a time, so that what the relay does meanwhile is not starved by this process. */
  async function pollAll(keys: readonly string[]): Promise<Answer[]> {
    const answers = new Map<string, Answer>();
    await inParallel(50, keys, async (key) => void answers.set(key, await poll(key)));
    return keys.map((key) => answers.get(key)!);
  }
  const open = async (key: string) => {
    const path = `/eval/client-id/${pathOf(key)}?withReasons=true`;
    return [key, opened(await readStream({ port: relay.port, path, timeoutMs: TURN_MS }))] as const;
  };
  await eventually(async () => expect((await poll('known-0')).reason.bigSegmentsStatus).toBe('HEALTHY'));
  return { redis, launchDarkly, upstream, relay, poll, pollAll, open };
}

/** All that the streams were sent about the flag: wrong answers, by context. */
function wrongOn(streams: readonly (readonly [string, StreamReader])[]): string[] {
  return streams.flatMap(([key, { events }]) =>
    events.flatMap(({ event, data }) => {
      const parsed = JSON.parse(data);
      const answer: Answer | undefined = event === 'put' ? parsed.club : parsed;
      return answer && isRight(key, answer) ? [] : [`${key}: ${event} ${data}`];
    }),
  );
}

const wrongIn = (keys: readonly string[], answers: readonly Answer[]) =>
  keys.flatMap((key, index) => (isRight(key, answers[index]!) ? [] : [`${key}: ${JSON.stringify(answers[index])}`]));

describeWithRedis('many contexts with Big Segments in Redis', () => {
  test('that arrive at once each get the right answer, by poll and by stream', async () => {
    const { poll, open } = await startEverything();
    const [polled, streamed] = [keysOf('new'), keysOf('open')];
    const streams = Promise.all(streamed.map(open));
    const answers = await Promise.all(polled.map(poll));
    expect(wrongIn(polled, answers)).toEqual([]);
    expect(new Set(answers.map(({ reason }) => reason.bigSegmentsStatus))).toEqual(new Set(['HEALTHY']));
    await Promise.all((await streams).map(([, stream]) => stream.next()));
    expect(wrongOn(await streams)).toEqual([]);
  });

  test('keep or await their membership while Redis pauses and a flag changes', async () => {
    const { poll, open, redis, upstream } = await startEverything();
    const [known, streamed, late] = [keysOf('known'), keysOf('open'), keysOf('late')];
    await Promise.all(known.map(poll));
    const streams = await Promise.all(streamed.map(open));
    await Promise.all(streams.map(([, stream]) => stream.next()));
    await redis.client.call('CLIENT', 'PAUSE', '3000', 'ALL');
    const lateStreams = Promise.all(late.slice(0, COUNT / 2).map(open));
    const answers = Promise.all(late.slice(COUNT / 2).map(poll));
    await upstream.event('patch', JSON.stringify({ path: '/flags/club', data: club(2, ['inside', 'outside']) }));
    await Promise.all(streams.map(([, stream]) => stream.next()));
    expect(wrongIn(known, await Promise.all(known.map(poll)))).toEqual([]);
    expect(wrongIn(late.slice(COUNT / 2), await answers)).toEqual([]);
    await Promise.all((await lateStreams).map(([, stream]) => stream.next()));
    expect(wrongOn([...streams, ...(await lateStreams)])).toEqual([]);
  });

  test('keep their membership while Redis is down, comes back empty and is filled again @heavy', async () => {
    const { poll, pollAll, open, redis, launchDarkly, relay } = await startEverything();
    const [known, streamed, late] = [keysOf('known'), keysOf('open'), keysOf('late')];
    await Promise.all(known.map(poll));
    const streams = await Promise.all(streamed.map(open));
    await Promise.all(streams.map(([, stream]) => stream.next()));
    await redis.kill();
    expect(wrongIn(known, await Promise.all(known.map(poll)))).toEqual([]);
    // One patch at a time, so that it takes a while.
    Object.assign(launchDarkly, { pageSize: 1, pollDelayMs: 300 });
    await redis.restart();
    const isFull = async () => (await redis.client.get('prod:big_segments_cursor')) === `v${PATCHES}`;
    const statuses = new Set<string | undefined>();
    do {
      const answers = await pollAll(known);
      expect(wrongIn(known, answers)).toEqual([]);
      for (const { reason } of answers) statuses.add(reason.bigSegmentsStatus);
    } while (!(await isFull()));
    expect(statuses).toContain('STALE');
    expect(statuses).not.toContain('STORE_ERROR');
    await eventually(async () => {
      const answers = await pollAll([...known, ...late]);
      expect(wrongIn([...known, ...late], answers)).toEqual([]);
      expect(answers.filter(({ reason }) => reason.bigSegmentsStatus !== 'HEALTHY')).toEqual([]);
    }, TURN_MS);
    expect(wrongOn(streams)).toEqual([]);
    expect(relay.lines.map(({ message }) => message).filter((message) => message.includes('Big Segments'))).toContain(
      'Big Segments can be read again',
    );
  });

  test('that were never seen before an outage get correct answers on their streams after it @heavy', async () => {
    const { open, redis, launchDarkly } = await startEverything();
    await redis.kill();
    const streams = await Promise.all(keysOf('new').map(open));
    const first = await Promise.all(streams.map(([, stream]) => stream.next()));
    const statuses = first.map(({ data }) => JSON.parse(data).club.reason.bigSegmentsStatus);
    expect(new Set(statuses)).toEqual(new Set(['STORE_ERROR']));
    Object.assign(launchDarkly, { pageSize: 1, pollDelayMs: 50 });
    await redis.restart();
    await eventually(() => {
      const last = streams.map(([key, { events }]) => [key, JSON.parse(events.at(-1)!.data)] as const);
      const answers = last.map(([, { club: whole, ...patch }]) => (whole ?? patch) as Answer);
      expect(
        wrongIn(
          streams.map(([key]) => key),
          answers,
        ),
      ).toEqual([]);
    }, TURN_MS);
    // Each was told twice: of the error, and of the truth.
    expect(streams.flatMap(([key, { events }]) => (events.length === 2 ? [] : [`${key}: ${events.length}`]))).toEqual(
      [],
    );
  });
});
