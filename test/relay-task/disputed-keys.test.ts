/** A mobile key that two environments have in SSM never opens the flags of the one that got it by mistake. */
import { GetItemCommand } from '@aws-sdk/client-dynamodb';
import { startTable, type TestTable } from '../support/dynalite.ts';
import { eventually } from '../support/eventually.ts';
import { startFakeUpstream } from '../support/fake-upstream.ts';
import { closeAfterEach } from '../support/opened.ts';
import { hastyTimings } from '../support/rotating-sources.ts';
import { startSsmServer } from '../support/ssm-server.ts';
import { startTestRelay, type TestRelay } from '../support/start-relay.ts';

const production = 'sdk-00000000-0000-0000-0000-00000000000a';
const staging = 'sdk-00000000-0000-0000-0000-00000000000b';
const mobile = 'mob-00000000-0000-0000-0000-00000000000a';
const { opened } = closeAfterEach();

/** One flag that names the key that it came with. */
const dataOf = (key: string) => ({
  flags: {
    whose: {
      ...{ key: 'whose', version: 1, on: false, offVariation: 0, variations: [key], salt: '' },
      clientSideAvailability: { usingMobileKey: true, usingEnvironmentId: true },
    },
  },
  segments: {},
});

/** The relay's record of which environment had a key first. */
async function recordIn({ client, tableName }: TestTable): Promise<string> {
  const Key = { namespace: { S: '$keeper' }, key: { S: 'key-owners-relay' } };
  const { Item } = await client.send(new GetItemCommand({ TableName: tableName, Key }));
  return Buffer.from(Item?.data?.B ?? []).toString();
}

/** The SDK key whose flags the mobile key opens, or the status. */
async function opensWith(relay: TestRelay): Promise<string | number> {
  const response = await fetch(`${relay.uri}/msdk/evalx/context`, {
    ...{ method: 'REPORT', body: '{"kind":"user","key":"u"}' },
    headers: { Authorization: mobile, 'Content-Type': 'application/json' },
  });
  const text = await response.text();
  return response.status === 200 ? JSON.parse(text).whose.value : response.status;
}

test('production’s mobile key, deleted and created again while staging has it too, opens production’s flags or gets 503', async () => {
  const launchDarkly = opened(await startFakeUpstream());
  launchDarkly.dataFor = ({ headers }) => dataOf(String(headers.authorization));
  const ssm = opened(await startSsmServer());
  const table = opened(await startTable());
  const variables = {
    ...{ KEYS_FROM_SSM: '/relay', SSM_URL: ssm.endpoint, STREAM_URI: launchDarkly.uri },
    ...{ USE_DYNAMODB: 'true', DYNAMODB_TABLE: table.tableName, DYNAMODB_URL: table.endpoint },
  };
  const start = async () =>
    opened(await startTestRelay(variables, { timings: hastyTimings, secrets: [production, staging, mobile] }));
  const problemOf = async (relay: TestRelay, name: string): Promise<string | undefined> => {
    const status = (await (await fetch(`${relay.uri}/status`)).json()) as {
      environments: Record<string, { keyProblem?: { message: string } }>;
    };
    return status.environments[name]?.keyProblem?.message;
  };
  ssm.put('/relay/production/sdk-key', production);
  ssm.put('/relay/production/mobile-key', mobile);
  ssm.put('/relay/staging/sdk-key', staging);
  const running = await start();
  await eventually(async () => expect(await opensWith(running)).toBe(production));

  ssm.put('/relay/staging/mobile-key', mobile);
  await eventually(async () => expect(await problemOf(running, 'staging')).toContain('same value as production/'));
  await eventually(async () => expect(await recordIn(table)).toContain('staging'));
  ssm.delete('/relay/production/mobile-key');
  await eventually(async () => expect(await problemOf(running, 'production')).toContain('no longer in SSM'));
  expect(await opensWith(running)).toBe(production);
  await eventually(async () => expect(await recordIn(table)).toContain('missingSince'));
  const second = await start();
  await eventually(async () =>
    expect(await problemOf(second, 'staging')).toContain('is the value that production had'),
  );
  expect(await opensWith(second)).toBe(503);

  ssm.put('/relay/production/mobile-key', mobile);
  const third = await start();
  for (const relay of [running, second, third]) {
    const answers: (string | number)[] = [];
    await eventually(async () => {
      answers.push(await opensWith(relay));
      expect(answers.at(-1)).toBe(production);
    });
    expect(answers).not.toContain(staging);
    expect(answers).not.toContain(401);
  }
});
