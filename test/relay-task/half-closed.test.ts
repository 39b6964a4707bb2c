/** Clients that end their side of the connection right behind a request for a stream. */
import { connect } from 'node:net';
import { eventually } from '../support/eventually.ts';
import { startFakeUpstream } from '../support/fake-upstream.ts';
import { flagData } from '../support/items.ts';
import { closeAfterEach } from '../support/opened.ts';
import { startTestRelay } from '../support/start-relay.ts';

const { opened, behind } = closeAfterEach();
const environmentId = '0123456789abcdef01234567';
const body = JSON.stringify({ kind: 'user', key: 'a' });
const context = Buffer.from(body).toString('base64url');
const post = `POST /eval/${environmentId} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
const poll = `GET /sdk/evalx/${environmentId}/contexts/${context} HTTP/1.1\r\nHost: a\r\n\r\n`;
const stream = `GET /eval/${environmentId}/${context} HTTP/1.1\r\nHost: a\r\n\r\n`;
const all = 'GET /all HTTP/1.1\r\nHost: a\r\nAuthorization: sdk-one\r\n\r\n';

test.each([
  ['a context in a body', post],
  ['a context in the path', stream],
  ['a poll and a stream of evaluated flags', poll + stream],
  ['a poll and a stream of all flags', poll + all],
])('the stream of a client that sends %s, and nothing ever after, is closed', async (_, request) => {
  const upstream = opened(await startFakeUpstream({ flags: { f: flagData('f', 1) }, segments: {} }));
  const relay = opened(
    await startTestRelay({
      ...{ STREAM_URI: upstream.uri, LD_ENV_one: 'sdk-one', LD_CLIENT_SIDE_ID_one: environmentId },
      HEARTBEAT_INTERVAL: '0',
    }),
  );
  await relay.initialized();
  for (let i = 0; i < 20; i++) {
    const socket = connect({ port: relay.port, host: '127.0.0.1', allowHalfOpen: true });
    behind(() => socket.destroy());
    socket.on('error', () => {});
    socket.resume();
    socket.end(request);
  }
  await eventually(async () => {
    const { memory, environments } = await statusOf(relay.uri);
    expect(memory.usedBytes).toMatchObject({ clientStreams: 0, serverStreams: 0, bodies: 0 });
    expect(environments.one.streams).toBe(0);
    expect(await openedSoFar()).toBe(20);
  });

  async function openedSoFar(): Promise<number> {
    const { body: text } = await relay.metrics.text();
    return [...text.matchAll(/^launchdarkly_relay_streams_opened_total\{[^}]*\} (\d+)$/gm)].reduce(
      (sum, [, n]) => sum + Number(n),
      0,
    );
  }
});

async function statusOf(uri: string) {
  return (await (await fetch(`${uri}/status`)).json()) as {
    memory: { usedBytes: Record<string, number> };
    environments: Record<'one', { streams: number }>;
  };
}
