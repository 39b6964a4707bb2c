/** `npm run verify`, with servers that speak AWS's protocols, a real table and a real site. */
import { spawn } from 'node:child_process';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { DynamoDBClient, PutItemCommand, type PutItemCommandInput } from '@aws-sdk/client-dynamodb';
import { bad } from '../../bin/checks/check.ts';
import { paperOf, sentencesOf, tableOf } from '../../bin/checks/print.ts';
import { runVerify, type VerifyOptions } from '../../bin/verify/run.ts';
import { type Attributes, encodeHead, encodeInited } from '../../lib/flag-table/index.ts';
import { createAuthority, startTlsFront } from '../support/authority.ts';
import { startTable, type TestTable } from '../support/dynalite.ts';
import { type FakeAws, startFakeAws } from '../support/fake-aws.ts';
import { startFakeProxy } from '../support/fake-proxy.ts';
import { closeAfterEach } from '../support/opened.ts';
import { policyActions } from '../support/read-only-policy.ts';
import { type SsmServer, startSsmServer } from '../support/ssm-server.ts';

const account = '123456789012';
const arn = (service: string, rest: string, region = 'eu-west-1') => `arn:aws:${service}:${region}:${account}:${rest}`;
const serviceArn = arn('ecs', 'service/edge-flag-relay-test/relay');
const targetGroup = arn('elasticloadbalancing', 'targetgroup/relays/0123456789abcdef');
const topic = arn('sns', 'edge-flag-relay-test-alarms');
const alarm = 'edge-flag-relay-test-too-few-healthy-tasks-internal';
const viewerRequest = 'edge-flag-relay-test-viewer-request';

const stage = {
  ...{ account, homeRegion: 'eu-west-1', replicaRegions: [], production: true, protected: true, tableName: '' },
  ...{ environments: ['production', 'shop'], alarms: { emails: ['team@example.com'] }, logRetentionDays: 30 },
  relay: { certificates: { 'eu-west-1': arn('acm', 'certificate/12345678-1234-1234-1234-123456789012') } },
  edge: {
    ...{ prefix: 'production', flagKey: 'canary', defaultVariant: 'stable' },
    origins: { stable: { domainName: 'a.example.net' }, canary: { domainName: 'b.example.net' } },
    ...{
      domainNames: ['www.example.com', '*.example.com'],
      certificateArn: arn('acm', 'certificate/12345678-1234-1234-1234-123456789012', 'us-east-1'),
    },
  },
};
const places = [
  ['data', 'eu-west-1'],
  ['relay', 'eu-west-1'],
  ['region-eu-west-1', 'eu-west-1'],
  ['region-us-east-1', 'us-east-1'],
  ['edge-functions', 'us-east-1'],
  ['edge', 'us-east-1'],
  ['observability', 'eu-west-1'],
] as const;
const wanted = places.map(([name, region]) => ({ stackName: `edge-flag-relay-test-${name}`, region }));

const { behind, opened } = closeAfterEach();
let ssm: SsmServer;
let table: TestTable;
let fake: FakeAws;
let site: Server;
let decision: string | undefined;
let client: DynamoDBClient;
const before = { ...process.env };

beforeAll(async () => {
  table = await startTable();
  client = new DynamoDBClient({
    ...{ endpoint: table.endpoint, region: 'eu-west-1', credentials: { accessKeyId: 'a', secretAccessKey: 'b' } },
  });
  site = createServer((_, response) => {
    response.writeHead(200, decision === undefined ? {} : { 'x-flag-decision': decision }).end();
  });
  await new Promise<void>((resolve) => site.listen(0, '127.0.0.1', resolve));
});
afterAll(async () => {
  client.destroy();
  site.closeAllConnections();
  site.close();
  await table.close();
});

const put = (item: Attributes) =>
  client.send(new PutItemCommand({ TableName: table.tableName, Item: item as PutItemCommandInput['Item'] }));
const putHead = (prefix: string, change: object = {}) =>
  put(encodeHead(prefix, { format: 1, owner: 'task', epoch: 1, beat: 1, checkedAt: Date.now() - 4_000, ...change }));

beforeEach(async () => {
  [ssm, fake] = await Promise.all([startSsmServer(), startFakeAws()]);
  Object.assign(process.env, {
    ...{
      AWS_ACCESS_KEY_ID: 'test',
      AWS_SECRET_ACCESS_KEY: 'test',
      AWS_MAX_ATTEMPTS: '1',
      AWS_ENDPOINT_URL: fake.endpoint,
    },
    ...{ AWS_ENDPOINT_URL_SSM: ssm.endpoint, AWS_ENDPOINT_URL_DYNAMODB: table.endpoint },
  });
  ssm.put('/edge-flag-relay/test/environments/shop/prefix', 'shop-eu');
  for (const prefix of ['production', 'shop-eu']) await Promise.all([put(encodeInited(prefix)), putHead(prefix)]);
  decision = 'canary=stable; reason=FALLTHROUGH';
  deployed();
});
afterEach(async () => {
  await Promise.all([ssm.close(), fake.close()]);
  process.env = { ...before };
});

/** An account in which everything works. */
function deployed() {
  const stack = (name: string, more: object = {}) => {
    const region = places.find(([one]) => one === name)![1];
    fake.stacks[`edge-flag-relay-test-${name}`] = { region, status: 'UPDATE_COMPLETE', isProtected: true, ...more };
  };
  for (const [name] of places) stack(name);
  stack('relay', {
    resources: [
      ['Service', 'AWS::ECS::Service', serviceArn],
      ['RelayInternalRelays', 'AWS::ElasticLoadBalancingV2::TargetGroup', targetGroup],
      ['Log', 'AWS::Logs::LogGroup', '/edge-flag-relay/test/relay'],
    ],
  });
  stack('region-eu-west-1', { resources: [['Alarms', 'AWS::SNS::Topic', topic]] });
  stack('edge', {
    outputs: { DistributionAddress: 'd111111abcdef8.cloudfront.net' },
  });
  stack('edge-functions', { resources: [['ViewerRequest', 'AWS::Lambda::Function', viewerRequest]] });
  stack('observability', { resources: [['Alarm', 'AWS::CloudWatch::Alarm', alarm]] });
  fake.services[serviceArn] = { runningCount: 3, desiredCount: 3, deployments: [{ rolloutState: 'COMPLETED' }] };
  fake.targets[targetGroup] = ['healthy', 'healthy', 'healthy', 'draining'];
  fake.topics[topic] = { subscriptions: [['team@example.com', `${topic}:1`]] };
  fake.alarms[alarm] = { region: 'eu-west-1', state: 'OK' };
  fake.logGroups = {
    'eu-west-1 /edge-flag-relay/test/relay': 30,
    [`us-east-1 /aws/lambda/us-east-1.${viewerRequest}`]: 30,
  };
  fake.metrics['EdgeFlagRelayCanary/test Success'] = [[Date.now() - 90_000, 1]];
}

async function verify(options: Partial<VerifyOptions> = {}, changes: object = {}) {
  const lines = { out: '', say: '' };
  const { port } = site.address() as AddressInfo;
  const exitCode = await runVerify(
    {
      ...{ stage: 'test', json: false, waitMs: 0, synthesise: () => wanted },
      stages: { test: { ...stage, tableName: table.tableName, ...changes } },
      reach: (url) => `http://127.0.0.1:${port}${new URL(url).pathname}`,
      ...options,
    },
    {
      out(text) {
        lines.out += text;
      },
      say(text) {
        lines.say += text;
      },
    },
  );
  return { exitCode, ...lines };
}

interface Found {
  readonly state: string;
  readonly name: string;
  readonly value: string;
  readonly what: string;
  readonly advice?: string;
}

/** What does not pass. */
async function problems(options: Partial<VerifyOptions> = {}, changes: object = {}): Promise<string[]> {
  const { out, exitCode } = await verify({ json: true, ...options }, changes);
  const { ok, checks } = JSON.parse(out) as { ok: boolean; checks: Found[] };
  const found = checks.filter(({ state }) => state === 'bad' || state === 'unknown');
  expect(exitCode).toBe(found.length === 0 ? 0 : 1);
  expect(ok).toBe(exitCode === 0);
  return found.map(({ name, value, what, advice = '' }) => `${name} ${value}: ${what} → ${advice}`);
}

const shown = `✓ account     123456789012                   the credentials belong to account
                                             123456789012, the stage’s account
✓ stack       data                           UPDATE_COMPLETE, protected
✓             relay                          UPDATE_COMPLETE, protected
✓             region-eu-west-1               UPDATE_COMPLETE, protected
✓             region-us-east-1               UPDATE_COMPLETE, protected
✓             edge-functions                 UPDATE_COMPLETE, protected
✓             edge                           UPDATE_COMPLETE, protected
✓             observability                  UPDATE_COMPLETE, protected
✓ relay       eu-west-1                      3 of 3 tasks run, steady
✓ targets     eu-west-1                      internal: 3 of 3 targets healthy
✓ streams     eu-west-1                      the synthetic check opened a stream
                                             and read the table, 2 min ago
✓ table       eu-west-1                      flags is ACTIVE
✓ flags       eu-west-1                      production: confirmed N s ago
✓             eu-west-1                      shop: confirmed N s ago
✓ edge        d111111abcdef8.cloudfront.net  the flag decides, N ms
✓             www.example.com                the flag decides, N ms
✓ alarms      eu-west-1                      1 of 1 alarms are OK
✓ recipients  eu-west-1                      edge-flag-relay-test-alarms: 1
                                             confirmed
✓ logs        all                            all 2 log groups expire

Stage test works.
`;

test('a stage that works is shown as a table of 80 columns, and exits with 0 @heavy', async () => {
  const { exitCode, out } = await verify();
  expect(out.replace(/\d+ (m?s)\b(?= ago|\n)/g, 'N $1')).toBe(shown.replace('flags is', `${table.tableName} is`));
  expect(Math.max(...out.split('\n').map((line) => line.length))).toBeLessThanOrEqual(80);
  expect(exitCode).toBe(0);
});

test('verify only reads, and the policy in docs/deploying.md allows all of it @heavy', async () => {
  expect(await problems()).toEqual([]);
  const operations = new Set(fake.asked.map((one) => one.split(' ')[1] ?? ''));
  expect([...operations].filter((one) => !/^(Get|List|Describe)/.test(one))).toEqual([]);
  // Everybody may ask who they are.
  const allowed = ['GetCallerIdentity', ...policyActions().map(([, operation]) => operation)];
  expect([...operations].filter((one) => !allowed.includes(one))).toEqual([]);
  expect(new Set(ssm.calls.map(({ operation }) => operation))).toEqual(new Set(['GetParameters']));
  expect(ssm.calls.some(({ names }) => names.some((name) => /key$/.test(name)))).toBe(false);
});

test.each<[string, () => unknown, RegExp]>([
  [
    'a missing stack',
    () => delete fake.stacks['edge-flag-relay-test-data'],
    /^stack data: there is no stack edge-flag-relay-test-data in eu-west-1 → npx cdk deploy 'test\/\*' -c stage=test$/,
  ],
  [
    'a deployment that was undone',
    () => Object.assign(fake.stacks['edge-flag-relay-test-data']!, { status: 'UPDATE_ROLLBACK_COMPLETE' }),
    /^stack data: UPDATE_ROLLBACK_COMPLETE: the last deployment failed and was undone/,
  ],
  [
    'a stack without protection',
    () => Object.assign(fake.stacks['edge-flag-relay-test-data']!, { isProtected: false }),
    /^stack data: UPDATE_COMPLETE, not protected from deletion → aws cloudformation update-termination-protection --enable/,
  ],
  [
    'a task that is missing',
    () => Object.assign(fake.services[serviceArn]!, { runningCount: 2 }),
    /^relay eu-west-1: 2 of 3 tasks run/,
  ],
  [
    'a service with fewer tasks than the stage wants',
    () => Object.assign(fake.services[serviceArn]!, { runningCount: 2, desiredCount: 2 }),
    /^relay eu-west-1: 2 of 2 tasks run, and the stage wants at least 3/,
  ],
  [
    'a service that is being replaced',
    () =>
      Object.assign(fake.services[serviceArn]!, {
        deployments: [{ rolloutState: 'IN_PROGRESS', rolloutStateReason: 'ECS deployment in progress.' }, {}],
      }),
    /^relay eu-west-1: 3 of 3 tasks run; a deployment is IN_PROGRESS: ECS deployment in progress/,
  ],
  [
    'an unhealthy target',
    () => {
      fake.targets[targetGroup] = ['healthy', 'healthy', 'unhealthy'];
    },
    /^targets eu-west-1: internal: 2 of 3 targets healthy, 10.0.0.3 unhealthy \(Target.ResponseCodeMismatch\)/,
  ],
  [
    'a synthetic check that fails',
    () => {
      fake.metrics['EdgeFlagRelayCanary/test Success'] = [
        [Date.now() - 60_000, 0],
        [Date.now() - 120_000, 1],
      ];
    },
    /^streams eu-west-1: the synthetic check failed, 1 min ago → its log says why/,
  ],
  [
    'a synthetic check that is silent',
    () => {
      fake.metrics = {};
    },
    /^streams eu-west-1: the synthetic check has not reported for ten minutes/,
  ],
  [
    'flags that nobody confirms',
    () => putHead('shop-eu', { checkedAt: Date.now() - 400_000 }),
    /^flags eu-west-1: shop: last confirmed \d+ s ago → npm run store -- show --table \S+ --prefix shop-eu --region eu-west-1$/,
  ],
  [
    'a table that nobody writes',
    () => putHead('production', { owner: '' }),
    /^flags eu-west-1: production: confirmed \d+ s ago, and no relay writes now/,
  ],
  [
    'a site without the router',
    () => {
      decision = undefined;
    },
    /^edge (d111111abcdef8.cloudfront.net|www.example.com): http\S+ answered 200 without x-flag-decision/,
  ],
  [
    'a site that cannot read flags',
    () => {
      decision = 'canary=stable; reason=ERROR';
    },
    /viewers get the default variant: canary=stable; reason=ERROR/,
  ],
  [
    'an alarm that is on',
    () => {
      fake.alarms[alarm] = {
        region: 'eu-west-1',
        state: 'ALARM',
        reason: '2 < 3',
        description: 'Fewer than 3. Runbook: docs/operations.md#too-few-healthy-tasks',
      };
    },
    /^alarms eu-west-1: \S+: 2 < 3 → docs\/operations.md#too-few-healthy-tasks$/,
  ],
  [
    'an alarm that was deleted',
    () => {
      fake.alarms = {};
    },
    /^alarms eu-west-1: 1 of 1 alarms do not exist/,
  ],
  [
    'a subscription that nobody confirmed',
    () => {
      fake.topics[topic] = { subscriptions: [['team@example.com', 'PendingConfirmation']] };
    },
    /^recipients eu-west-1: edge-flag-relay-test-alarms: not confirmed by team@example.com/,
  ],
  [
    'a log of an edge function that never expires',
    () => {
      fake.logGroups[`us-east-1 /aws/lambda/us-east-1.${viewerRequest}`] = undefined;
    },
    /^logs us-east-1: \S+ never expires → aws logs put-retention-policy --region us-east-1 --log-group-name \S+ --retention-in-days 30$/,
  ],
  [
    'what AWS denies',
    () => {
      fake.denied = ['DescribeServices'];
    },
    /^relay eu-west-1: the service cannot be described → AWS denied access/,
  ],
  [
    'credentials that are missing',
    () => {
      delete process.env.AWS_ACCESS_KEY_ID;
      Object.assign(process.env, { HOME: '/nowhere', AWS_EC2_METADATA_DISABLED: 'true' });
    },
    /^credentials eu-west-1: not signed in to AWS → No AWS credentials found/,
  ],
])('%s is found, with what to do', async (_, fault, words) => {
  await fault();
  const found = await problems();
  expect(found.length).toBeGreaterThan(0);
  for (const one of found) expect(one).toMatch(words);
});

// CloudFormation User Guide: "Stack status codes". After an import that was rolled back the stack has its former template.
test.each(['CREATE', 'UPDATE', 'IMPORT', 'IMPORT_ROLLBACK'])('a stack in %s_COMPLETE is fine', async (change) => {
  Object.assign(fake.stacks['edge-flag-relay-test-data']!, { status: `${change}_COMPLETE` });
  expect(await problems()).toEqual([]);
});

test('a stage that is not deployed is one finding', async () => {
  fake.stacks = {};
  expect(await problems()).toEqual([
    "stack test: the stage is not deployed: none of its stacks exists → npx cdk deploy 'test/*' -c stage=test",
  ]);
});

test('credentials of another account are the only finding: nothing of the stage is to be found there', async () => {
  fake.account = '999999999999';
  expect(await problems()).toEqual([
    expect.stringMatching(/^account 999999999999: the credentials belong to account 9+, but/),
  ]);
});

test('flags that have not arrived are found', async () => {
  expect(await problems({}, { environments: ['elsewhere'] })).toEqual([
    expect.stringMatching(/^flags eu-west-1: elsewhere: the flags have not arrived \(prefix elsewhere\)/),
  ]);
});

describe('the streams of a region without a synthetic check', () => {
  const region = 'us-west-2';
  const changes = {
    ...{ relayRegions: [region], replicaRegions: [region] },
    relay: {
      certificates: {
        ...stage.relay.certificates,
        [region]: arn('acm', 'certificate/12345678-1234-1234-1234-123456789012', region),
      },
    },
  };
  // The table of these tests has no replicas.
  const found = async () => (await problems({}, changes)).filter((one) => one.startsWith('streams'));
  const report = (values: Record<string, number>) => {
    for (const [metric, value] of Object.entries({
      Up: 1,
      EnvironmentsWithoutData: 0,
      UpstreamRefused: 0,
      UpstreamDisconnected: 0,
      ...values,
    }))
      fake.metrics[`${region} EdgeFlagRelay/test ${metric}`] = [[Date.now() - 60_000, value]];
  };

  test('are those of which the relays there report', async () => {
    report({});
    expect(await found()).toEqual([]);
    const { out } = await verify({ json: true }, changes);
    expect((JSON.parse(out) as { checks: Found[] }).checks).toContainEqual({
      ...{ state: 'good', name: 'streams', value: region },
      what: 'the relays have flags and streams from LaunchDarkly, 1 min ago; no client was tried',
    });
  });

  test.each([
    ['EnvironmentsWithoutData', 'a relay has no flags for an environment, 1 min ago'],
    ['UpstreamRefused', 'LaunchDarkly rejects the key of an environment, 1 min ago'],
    ['UpstreamDisconnected', 'a relay has no stream from LaunchDarkly for an environment, 1 min ago'],
  ])('fail with %s', async (metric, words) => {
    report({ [metric]: 1 });
    expect(await found()).toEqual([`streams us-west-2: ${words} → their log says which: /edge-flag-relay/test/relay`]);
  });

  test('fail while the relays are silent', async () => {
    expect(await found()).toEqual([
      expect.stringMatching(/^streams us-west-2: the relays have not reported for ten minutes → try again/),
    ]);
  });
});

test('a site of which no name is known is told not to be checked @heavy', async () => {
  fake.stacks['edge-flag-relay-test-edge'] = { region: 'us-east-1', status: 'UPDATE_COMPLETE', isProtected: true };
  const { domainNames: _, certificateArn: __, ...edge } = stage.edge;
  const { out } = await verify({}, { edge });
  expect(out).toMatch(/^! edge +site +not checked, since its address is not known$/m);
});

describe('a site', () => {
  test('is asked through the proxy of HTTPS_PROXY, trusting PROXY_CA_CERTS @heavy', async () => {
    const authority = await createAuthority('site.invalid');
    behind(authority.close);
    const front = opened(await startTlsFront((site.address() as AddressInfo).port, authority));
    const proxy = opened(await startFakeProxy(front.port));
    Object.assign(process.env, { HTTPS_PROXY: proxy.uri, PROXY_CA_CERTS: authority.file });
    expect(await problems({ reach: () => 'https://site.invalid/' })).toEqual([]);
    // The distribution's address and a name.
    expect(proxy.asked.map(({ what }) => what)).toEqual(Array(2).fill('CONNECT site.invalid:443'));
  });

  test('that cannot be reached is told with the reason, once @heavy', async () => {
    const found = await problems({ reach: () => 'http://127.0.0.1:1/' });
    expect(found).toEqual(
      ['d111111abcdef8.cloudfront.net', 'www.example.com'].map(
        (name) =>
          `edge ${name}: http://127.0.0.1:1/: 127.0.0.1:1 could not be reached: connect ECONNREFUSED 127.0.0.1:1 → docs/edge-router.md explains the header; the log of viewer-request has the reason`,
      ),
    );
  });
});

test('a replica that the table lacks is found @heavy', async () => {
  const found = await problems({}, { replicaRegions: ['ap-south-1'] });
  expect(found).toEqual([expect.stringMatching(/^table ap-south-1: \S+ has no replica here/)]);
});

test('a stack that left the stage file is told, and no failure @heavy', async () => {
  fake.stacks['edge-flag-relay-test-relay-us-west-2'] = { region: 'us-east-1' };
  const { exitCode, out } = await verify();
  expect(out).toMatch(
    /^! +relay-us-west-2 +runs in us-east-1, though\s+it\s+is\s+not\s+in\s+the\s+stage\s+file\n {4}→ put its part back/m,
  );
  expect(exitCode).toBe(0);
});

test('nobody to notify is only worth knowing', async () => {
  fake.topics[topic] = { subscriptions: [] };
  const { out, exitCode } = await verify({}, { alarms: undefined });
  expect(out).toMatch(/^! recipients {2}none +nobody is notified of alarms$/m);
  expect(exitCode).toBe(0);
});

describe('--wait', () => {
  /** A clock that only the pauses move. */
  const waiting = (paused: (count: number) => void = () => {}) => {
    const pauses: number[] = [];
    let at = 0;
    const pause = async (ms: number) => {
      pauses.push(ms);
      at += ms;
      paused(pauses.length);
    };
    const skip = (ms: number) => {
      at += ms;
    };
    return { pauses, pause, now: () => at, skip };
  };

  test('looks again until everything works, and says so meanwhile @heavy', async () => {
    fake.targets[targetGroup] = ['healthy', 'healthy', 'initial'];
    const { pauses, pause, now } = waiting((count) => {
      if (count === 2) fake.targets[targetGroup] = ['healthy', 'healthy', 'healthy'];
    });
    const { exitCode, say, out } = await verify({ waitMs: 600_000, pause, now });
    expect(exitCode).toBe(0);
    expect(pauses).toEqual([15_000, 15_000]);
    expect(say).toMatch(/^1 of \d+ checks do not pass yet; looking again in 15 s$/m);
    expect(out.match(/Stage test works/g)).toHaveLength(1);
  });

  test('ends when its time is over @heavy', async () => {
    fake.targets[targetGroup] = [];
    const { pauses, pause, now } = waiting();
    expect((await verify({ waitMs: 45_000, pause, now })).exitCode).toBe(1);
    expect(pauses).toHaveLength(3);
  });

  test('counts the time that AWS takes for its answers @heavy', async () => {
    fake.targets[targetGroup] = [];
    const clock = waiting();
    const reach = () => {
      clock.skip(40_000);
      return 'http://127.0.0.1:9/';
    };
    expect((await verify({ waitMs: 45_000, ...clock, reach })).exitCode).toBe(1);
    expect(clock.pauses).toHaveLength(0);
  });

  test('does not wait for what time does not change', async () => {
    const { pauses, pause, now } = waiting();
    fake.account = '999999999999';
    expect((await verify({ waitMs: 600_000, pause, now })).exitCode).toBe(1);
    delete process.env.AWS_ACCESS_KEY_ID;
    Object.assign(process.env, { HOME: '/nowhere', AWS_EC2_METADATA_DISABLED: 'true' });
    expect((await verify({ waitMs: 600_000, pause, now })).exitCode).toBe(1);
    expect(pauses).toEqual([]);
  });

  test('waits for AWS while it cannot be reached', async () => {
    process.env.AWS_ENDPOINT_URL = 'http://127.0.0.1:9';
    const { pauses, pause, now } = waiting();
    expect((await verify({ waitMs: 15_000, pause, now })).exitCode).toBe(1);
    expect(pauses).toHaveLength(1);
  });
});

test('a table is coloured only if it is asked for, and keeps commands in one line', () => {
  const advice = `aws logs put-retention-policy ${'x'.repeat(80)} --days 3`;
  const checks = [bad('logs', 'eu-west-1', 'never expires', advice)];
  expect(tableOf(checks)).toBe(`✗ logs  eu-west-1  never expires\n    → ${advice}\n`);
  expect(tableOf(checks, { colour: true })).toBe(`\x1b[31m✗\x1b[39m logs  eu-west-1  never expires\n    → ${advice}\n`);
});

test('on a narrow terminal a result has lines of its own, and a table without columns has 80', () => {
  const checks = [bad('targets', 'eu-west-1', 'internal: 2 of 3 targets healthy, 10.0.0.3 unhealthy', 'ask /readyz')];
  expect(tableOf(checks, { width: 40 })).toBe(
    '✗ targets  eu-west-1\n    internal: 2 of 3 targets healthy,\n    10.0.0.3 unhealthy\n    → ask /readyz\n',
  );
  expect(paperOf({ isTTY: true, columns: 0 }, {})).toEqual({ width: 80, colour: true });
  expect(paperOf({ isTTY: true, columns: 1 }, {}).width).toBe(30);
});

test.each([
  [{ NO_COLOR: '1' }, false],
  [{ NO_COLOR: '' }, true],
  [{ TERM: 'dumb' }, false],
  [{ FORCE_COLOR: '0' }, false],
  [{ FORCE_COLOR: '1', NO_COLOR: '1' }, true],
])('a terminal with %p is coloured: %s', (env, colour) => {
  expect(paperOf({ isTTY: true, columns: 80 }, env).colour).toBe(colour);
});

test.each([
  [{}, false],
  [{ FORCE_COLOR: '1' }, true],
  [{ FORCE_COLOR: 'false' }, false],
])('a pipe with %p is coloured: %s', (env, colour) => {
  expect(paperOf({}, env).colour).toBe(colour);
});

test('what AWS says moves no cursor and changes no colour', () => {
  const checks = [bad('stack', 'data', 'CREATE_FAILED (\x1b[31mred\r\x07\nline two)', 'npx cdk \x1b[2J')];
  expect(tableOf(checks)).toBe('✗ stack  data  CREATE_FAILED ( [31mred   line two)\n    → npx cdk  [2J\n');
  expect(sentencesOf(checks)).toBe('✗ CREATE_FAILED ( [31mred  \nline two)\n    → npx cdk  [2J\n');
});

test.each([
  ['without a stage', [], 2, /^expected one stage/],
  ['with minutes that are none', ['dev', '--wait', 'long'], 2, /^--wait long is invalid: expected minutes/],
  ['for an unknown stage', ['nosuch'], 2, /^stage "nosuch" is unknown: expected dev or prod\n\nSays whether/],
])('npm run verify %s prints the error and exits with its code @heavy', async (_, args, expected, message) => {
  const child = spawn(process.execPath, ['--import', 'tsx', 'bin/verify.ts', ...args], {
    cwd: join(import.meta.dirname, '../..'),
    env: { PATH: process.env.PATH ?? '' },
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      output += chunk.toString();
    });
  }
  expect(await new Promise((resolve) => child.once('close', resolve))).toBe(expected);
  expect(output).toMatch(message);
});
