/**
 * The relay as ECS starts it, with local SSM and DynamoDB servers.
 */
import { GetItemCommand } from '@aws-sdk/client-dynamodb';
import { KEEP_ALIVE_SECONDS } from '../../../lib/infrastructure/relay-contract.ts';
import { startTable } from '../../support/dynalite.ts';
import { eventually } from '../../support/eventually.ts';
import { exampleEnvironment } from '../../support/example-environment.ts';
import { type FakeUpstream, startFakeUpstream } from '../../support/fake-upstream.ts';
import { closeAfterEach } from '../../support/opened.ts';
import { startSsmServer } from '../../support/ssm-server.ts';
import { shipped } from '../../support/synthesise.ts';
import { startTask } from '../../support/task-process.ts';
import { made } from './whole-stages.ts';

const sdkKey = ['sdk', '01234567', '89ab', 'cdef', '0123', '456789abcdef'].join('-');

const { opened } = closeAfterEach();

test('the relay from the image, started as the task definition says, serves, fills the table and exits on SIGTERM @heavy', async () => {
  const table = opened(await startTable({ tableName: shipped.dev.tableName }));
  const ssm = opened(await startSsmServer());
  const upstream = opened(await startFakeUpstream());
  upstream.data = exampleEnvironment() as unknown as FakeUpstream['data'];
  ssm.put('/edge-flag-relay/dev/environments/test/sdk-key', sdkKey);
  ssm.put('/edge-flag-relay/dev/environments/test/prefix', 'test', { type: 'String' });
  const task = opened(
    await startTask(made.dev.template('Relay'), {
      STREAM_URI: upstream.uri,
      AWS_ENDPOINT_URL_SSM: ssm.endpoint,
      AWS_ENDPOINT_URL_DYNAMODB: table.endpoint,
    }),
  );
  await eventually(async () => expect((await fetch(`${task.base}/readyz`)).status).toBe(200));

  const answer = await fetch(`${task.base}/sdk/latest-all`, { headers: { Authorization: sdkKey } });
  expect(Object.keys(((await answer.json()) as { flags: object }).flags).sort()).toEqual(
    Object.keys(exampleEnvironment().flags).sort(),
  );
  // The load balancer's idle timeout must be shorter than this.
  expect(answer.headers.get('keep-alive')).toBe(`timeout=${KEEP_ALIVE_SECONDS}`);
  await expect(task.healthCheck()).resolves.toBeDefined();
  await expect(task.healthCheck(1)).rejects.toMatchObject({ code: 1 });

  await eventually(async () => {
    const Key = { namespace: { S: 'test:$inited' }, key: { S: 'test:$inited' } };
    const { Item } = await table.client.send(new GetItemCommand({ TableName: table.tableName, Key }));
    expect(Item).toBeDefined();
  });
  expect(await task.end()).toBe(0);
  expect(task.lines.join('\n')).not.toContain(sdkKey);
});
