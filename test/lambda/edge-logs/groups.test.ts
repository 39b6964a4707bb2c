/** The custom resource that gives the logs of edge functions a retention, against CloudWatch Logs' protocol. */
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { sendToAws } from '../../../lambda/common/aws-request.ts';
import { type CustomResourceRequest, createEdgeLogGroups } from '../../../lambda/edge-logs/groups.ts';
import { motoIsInstalled, startMoto } from '../../support/moto-server.ts';
import { closeAfterEach } from '../../support/opened.ts';

const env = { AWS_ACCESS_KEY_ID: 'AKIDEXAMPLE', AWS_SECRET_ACCESS_KEY: 'secret' };
const group = '/aws/lambda/us-east-1.edge-flag-relay-shop-viewer-request';
const pausesMs = [1, 1];

async function bodyOf(incoming: IncomingMessage): Promise<Record<string, unknown>> {
  const chunks: Buffer[] = [];
  for await (const chunk of incoming) chunks.push(chunk as Buffer);
  return JSON.parse(Buffer.concat(chunks).toString('utf8'));
}

/** CloudFormation's side: what it was answered. */
async function startStack() {
  const answers: Record<string, unknown>[] = [];
  const server = createServer(async (incoming, outgoing) => {
    answers.push({ type: incoming.headers['content-type'], ...(await bodyOf(incoming)) });
    outgoing.end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const close = () => new Promise<void>((resolve) => void server.close(() => resolve()));
  return { answers, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/answer?signature=x`, close };
}

type Answer = (region: string, action: string) => { status: number; type?: string } | undefined;

/** CloudWatch Logs in every region. `answer` may answer in its place. */
async function startLogs(answer: Answer = () => undefined) {
  const groups = new Map<string, unknown>();
  const keys = new Map<string, unknown>();
  const server = createServer(async (incoming, outgoing) => {
    const { logGroupName, retentionInDays, kmsKeyId } = await bodyOf(incoming);
    const [, region] = /Credential=[^/]+\/\d+\/([^/]+)\/logs\//.exec(incoming.headers.authorization ?? '') ?? [];
    const action = String(incoming.headers['x-amz-target']).replace('Logs_20140328.', '');
    const key = `${region} ${logGroupName}`;
    const reply = (status: number, type?: string) => {
      outgoing.statusCode = status;
      outgoing.end(type === undefined ? '' : JSON.stringify({ __type: type }));
    };
    const given = answer(region!, action);
    if (given) reply(given.status, given.type);
    else if (action === 'CreateLogGroup' && groups.has(key)) reply(400, 'ResourceAlreadyExistsException');
    else if (action === 'PutRetentionPolicy' && !groups.has(key)) reply(400, 'ResourceNotFoundException');
    else if (action === 'DisassociateKmsKey' && !groups.has(key)) reply(400, 'ResourceNotFoundException');
    else if (action === 'DisassociateKmsKey') reply(200, void keys.delete(key) as undefined);
    else if (action === 'AssociateKmsKey') reply(200, void keys.set(key, kmsKeyId) as undefined);
    else reply(200, void groups.set(key, retentionInDays) as undefined);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const close = () => new Promise<void>((resolve) => void server.close(() => resolve()));
  return { groups, keys, endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, close };
}

const { opened } = closeAfterEach();

async function start(answer?: Answer) {
  const [stack, logs] = [opened(await startStack()), opened(await startLogs(answer))];
  const lines: string[] = [];
  const handler = createEdgeLogGroups({
    send: (request) => sendToAws({ ...request, endpoint: logs.endpoint }, env),
    pausesMs,
    log: (line) => lines.push(line),
  });
  const all = (properties: object) => ({
    LogGroupNames: [group],
    RetentionInDays: '90',
    Regions: ['us-east-1', 'sa-east-1'],
    RequiredRegions: ['us-east-1'],
    ...properties,
  });
  const ask = (RequestType: CustomResourceRequest['RequestType'], properties: object = {}, old?: object) =>
    handler({
      ...{ RequestType, ResponseURL: stack.url, StackId: 'stack', RequestId: 'request', LogicalResourceId: 'Groups' },
      ResourceProperties: all(properties),
      ...(old && { OldResourceProperties: all(old) }),
    });
  const askDaily = (properties: object = {}) =>
    handler({ RequestType: 'Daily', ResourceProperties: { ...all(properties), RetentionInDays: 90 } });
  return { ask, askDaily, answers: stack.answers, groups: logs.groups, keys: logs.keys, lines };
}

test('groups that functions have created get a retention, those that do not exist are created with one, and CloudFormation is told', async () => {
  const { ask, answers, groups } = await start();
  groups.set(`us-east-1 ${group}`, undefined);
  await ask('Create');
  expect(Object.fromEntries(groups)).toEqual({ [`us-east-1 ${group}`]: 90, [`sa-east-1 ${group}`]: 90 });
  expect(answers).toEqual([
    {
      ...{ type: '', Status: 'SUCCESS', StackId: 'stack', RequestId: 'request', LogicalResourceId: 'Groups' },
      PhysicalResourceId: 'edge-log-groups',
    },
  ]);
  await ask('Update', { RetentionInDays: '14' });
  expect([...groups.values()]).toEqual([14, 14]);
});

test('groups stay when the resource is deleted, since a function that writes once more would create them again without a retention', async () => {
  const { ask, answers, groups } = await start();
  await ask('Create');
  await ask('Delete');
  expect([...groups.values()]).toEqual([90, 90]);
  expect(answers.map(({ Status }) => Status)).toEqual(['SUCCESS', 'SUCCESS']);
});

describe('once a day', () => {
  test('a group that was deleted by hand and came back gets its retention and its key again, and nobody is answered', async () => {
    const { ask, askDaily, answers, groups, keys } = await start();
    const key = 'arn:aws:kms:us-east-1:123456789012:key/1';
    await ask('Create', { KeysByRegion: { 'us-east-1': key } });
    groups.set(`us-east-1 ${group}`, undefined);
    keys.clear();
    groups.delete(`sa-east-1 ${group}`);
    await askDaily({ KeysByRegion: { 'us-east-1': key } });
    expect([...groups.values()]).toEqual([90, 90]);
    expect([...keys]).toEqual([[`us-east-1 ${group}`, key]]);
    expect(answers).toHaveLength(1);
  });

  test('the function fails where the groups are needed, so that its errors show it, and not elsewhere', async () => {
    const barred = { status: 400, type: 'AccessDeniedException' };
    const { askDaily, groups, lines } = await start((region) => (region === 'sa-east-1' ? barred : undefined));
    await askDaily();
    expect([...groups.keys()]).toEqual([`us-east-1 ${group}`]);
    expect(lines).toHaveLength(1);
    await expect(askDaily({ RequiredRegions: ['sa-east-1'] })).rejects.toThrow(/^sa-east-1: .*AccessDeniedException$/);
  });
});

test('a region from which the account is barred fails the deployment only if it is needed there, and the log says why', async () => {
  const barred = (region: string) => ({ status: 400, type: `com.amazonaws.logs#AccessDeniedException`, region });
  const { ask, answers, groups, lines } = await start((region) =>
    region === 'sa-east-1' ? barred(region) : undefined,
  );
  await ask('Create');
  expect([...groups.keys()]).toEqual([`us-east-1 ${group}`]);
  expect(lines.map((line) => JSON.parse(line))).toEqual([
    expect.objectContaining({ region: 'sa-east-1', problem: expect.stringContaining('AccessDeniedException') }),
  ]);
  await ask('Update', { RequiredRegions: ['us-east-1', 'sa-east-1'] });
  expect(answers.at(-1)).toMatchObject({
    Status: 'FAILED',
    Reason: expect.stringMatching(/^sa-east-1: CloudWatch Logs: 400 .*AccessDeniedException$/),
  });
});

test('what passes is tried again: throttling, a change by another, a permission that is seconds old', async () => {
  const problems = ['ThrottlingException', 'OperationAbortedException'];
  const first = new Set<string>();
  const { ask, answers, groups } = await start((region, action) => {
    const key = `${region} ${action}`;
    if (first.has(key)) return undefined;
    first.add(key);
    return { status: 400, type: action === 'CreateLogGroup' ? problems[first.size % 2] : 'AccessDeniedException' };
  });
  await ask('Create');
  expect(answers).toMatchObject([{ Status: 'SUCCESS' }]);
  expect([...groups.values()]).toEqual([90, 90]);
});

(motoIsInstalled ? test : test.skip)('moto takes the requests for CloudWatch Logs (needs moto)', async () => {
  const [moto, stack] = [opened(await startMoto()), opened(await startStack())];
  const send = createEdgeLogGroups({
    send: (request) => sendToAws({ ...request, endpoint: moto.endpoint }, env),
    pausesMs: [],
  });
  const properties = {
    ...{ LogGroupNames: [group], RetentionInDays: '30', Regions: ['us-east-1', 'eu-west-1'] },
    RequiredRegions: ['us-east-1', 'eu-west-1'],
  };
  const event = { ResponseURL: stack.url, StackId: 's', RequestId: 'r', LogicalResourceId: 'Groups' };
  // The second time, the groups exist.
  for (const RequestType of ['Create', 'Update'] as const)
    await send({ ...event, RequestType, ResourceProperties: properties });
  expect(stack.answers.map(({ Status, Reason }) => [Status, Reason])).toEqual(Array(2).fill(['SUCCESS', undefined]));
  const { body } = await sendToAws(
    {
      ...{ service: 'logs', region: 'eu-west-1', path: '/', timeoutMs: 5_000, endpoint: moto.endpoint, body: '{}' },
      headers: { 'content-type': 'application/x-amz-json-1.1', 'x-amz-target': 'Logs_20140328.DescribeLogGroups' },
    },
    env,
  );
  expect(JSON.parse(body).logGroups).toMatchObject([{ logGroupName: group, retentionInDays: 30 }]);
});

test('groups in regions with a KMS key are encrypted with it', async () => {
  const { ask, answers, groups, keys } = await start();
  const key = 'arn:aws:kms:us-east-1:123456789012:key/1';
  await ask('Create', { KeysByRegion: { 'us-east-1': key } });
  expect(answers).toMatchObject([{ Status: 'SUCCESS' }]);
  expect([...keys]).toEqual([[`us-east-1 ${group}`, key]]);
  expect(groups.size).toBe(2);
});

describe('a KMS key that leaves the stage', () => {
  const keyIn = (region: string) => `arn:aws:kms:${region}:123456789012:key/1`;
  const both = { 'us-east-1': keyIn('us-east-1'), 'sa-east-1': keyIn('sa-east-1') };

  test.each<[string, object, object, string[]]>([
    ['one key', {}, { KeysByRegion: { 'us-east-1': keyIn('us-east-1') } }, [`us-east-1 ${group}`]],
    ['every key', {}, {}, []],
    ['every key and a region', {}, { Regions: ['us-east-1'] }, []],
    ['every key, and a function with its group', { LogGroupNames: [group, 'old'] }, { LogGroupNames: [group] }, []],
  ])('leaves its groups, too: %s', async (_, before, after, left) => {
    const { ask, answers, groups, keys } = await start();
    await ask('Create', { KeysByRegion: both, ...before });
    const had = groups.size;
    expect(keys.size).toBe(had);
    await ask('Update', after, { KeysByRegion: both, ...before });
    expect([...keys.keys()]).toEqual(left);
    expect(groups.size).toBe(had);
    expect(answers.map(({ Status }) => Status)).toEqual(['SUCCESS', 'SUCCESS']);
  });

  test('fails the deployment where it cannot leave its groups, required or not: without the key, they could not be read', async () => {
    const { ask, answers, keys } = await start((region, action) =>
      region === 'sa-east-1' && action === 'DisassociateKmsKey'
        ? { status: 400, type: 'AccessDeniedException' }
        : undefined,
    );
    await ask('Create', { KeysByRegion: both });
    await ask('Update', {}, { KeysByRegion: both });
    const key = keyIn('sa-east-1');
    expect(answers.at(-1)).toMatchObject({
      Status: 'FAILED',
      Reason: expect.stringMatching(
        new RegExp(
          `^sa-east-1: ${group} still has the key ${key}, so allow that, or keep the key in encryptionKeys: .*`,
        ),
      ),
    });
    // CloudFormation undoes it then; kept, the key is no problem.
    await ask('Update', { KeysByRegion: both }, {});
    await ask('Update', { KeysByRegion: { 'sa-east-1': key } }, { KeysByRegion: both });
    expect(answers.slice(2).map(({ Status }) => Status)).toEqual(['SUCCESS', 'SUCCESS']);
    expect([...keys]).toEqual([[`sa-east-1 ${group}`, key]]);
  });

  test('is no problem where the group is gone, and comes back when the deployment is rolled back', async () => {
    const { ask, answers, groups, keys } = await start();
    await ask('Create', { KeysByRegion: both, LogGroupNames: [group, 'old'] });
    groups.delete('us-east-1 old');
    await ask('Update', {}, { KeysByRegion: both, LogGroupNames: [group, 'old'] });
    expect([...keys.keys()]).toEqual(['us-east-1 old']);
    await ask('Update', { KeysByRegion: both }, {});
    expect([...keys].filter(([name]) => name.endsWith(group))).toHaveLength(2);
    expect(answers.map(({ Status }) => Status)).toEqual(['SUCCESS', 'SUCCESS', 'SUCCESS']);
  });
});
