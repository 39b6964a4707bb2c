/** The log level of an environment, changed in SSM while a real relay runs, and its end. */
import { eventually } from '../support/eventually.ts';
import { startFakeUpstream } from '../support/fake-upstream.ts';
import { closeAfterEach } from '../support/opened.ts';
import { hastyTimings } from '../support/rotating-sources.ts';
import { startSsmServer } from '../support/ssm-server.ts';
import { startTestRelay } from '../support/start-relay.ts';

const HOUR_MS = 3_600_000;
const keys = {
  shop: 'sdk-00000000-0000-0000-0000-00000000000a',
  other: 'sdk-00000000-0000-0000-0000-00000000000b',
} as const;
type Name = keyof typeof keys;
const { opened, behind } = closeAfterEach();

async function start() {
  const launchDarkly = opened(await startFakeUpstream({ flags: {} }));
  const ssm = opened(await startSsmServer());
  const put = (name: string, value: string) => ssm.put(`/relay/environments/${name}`, value);
  for (const [name, key] of Object.entries(keys)) put(`${name}/sdk-key`, key);
  // Shows when a line of the other environment would have been written.
  put('other/log-level', 'debug');
  const relay = opened(
    await startTestRelay(
      {
        ...{ KEYS_FROM_SSM: '/relay/environments', SSM_URL: ssm.endpoint, STREAM_URI: launchDarkly.uri },
        LOG_LEVEL: 'info',
      },
      { timings: hastyTimings },
    ),
  );
  await relay.initialized();
  const debugLines = (name: Name) =>
    relay.lines.filter(({ level, fields }) => level === 'debug' && fields.environment === name && fields.route).length;
  const ask = async (name: Name) => {
    const before = debugLines(name);
    const answer = await fetch(`${relay.uri}/sdk/latest-all`, { headers: { Authorization: keys[name] } });
    expect(answer.status).toBe(200);
    await answer.arrayBuffer();
    return before;
  };
  /** How many lines one request to `shop` has. A later request to the other environment has had its line by then. */
  async function linesOfRequest(): Promise<number> {
    const before = await ask('shop');
    const others = debugLines('other');
    await eventually(async () => {
      await ask('other');
      expect(debugLines('other')).toBeGreaterThan(others);
    });
    return debugLines('shop') - before;
  }
  const changes = () =>
    relay.lines.flatMap(({ message, fields }) =>
      message.startsWith('Log level') && fields.environment === 'shop' ? [message] : [],
    );
  return { ssm, put, linesOfRequest, changes };
}

test('debug, put into SSM while the relay runs, counts for an hour and then no longer; another value counts at once', async () => {
  const now = Date.now.bind(Date);
  let laterMs = 0;
  // Before the relay starts, which keeps the function.
  const clock = jest.spyOn(Date, 'now').mockImplementation(() => now() + laterMs);
  behind(async () => clock.mockRestore());
  const { ssm, put, linesOfRequest, changes } = await start();
  expect(await linesOfRequest()).toBe(0);
  put('shop/log-level', 'debug');
  await eventually(async () => expect(await linesOfRequest()).toBe(1));
  const writtenAt = ssm.parameters.get('/relay/environments/shop/log-level')!.modifiedAt;
  const end = new Date(writtenAt + HOUR_MS).toISOString();
  expect(changes()).toEqual([`Log level of the environment is debug until ${end}`]);

  laterMs = HOUR_MS;
  put('other/log-level', 'debug');
  await eventually(async () => expect(await linesOfRequest()).toBe(0));

  put('shop/log-level', 'debug');
  await eventually(async () => expect(await linesOfRequest()).toBe(1));
  put('shop/log-level', 'info');
  await eventually(async () => expect(await linesOfRequest()).toBe(0));
  expect(changes().at(-1)).toBe('Log level of the environment is info');
  // Deleted, after the time in which a setting may come back: the relay's own.
  ssm.delete('/relay/environments/shop/log-level');
  await eventually(() => expect(changes().at(-1)).toBe("Log level of the environment is the relay's"));
  expect(changes()).toHaveLength(4);
});
