/**
 * The relay as ECS starts it: the file from the image, with the command and variables of the synthesised task definition, as
 * an unprivileged user, with local SSM and DynamoDB servers.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { KEEP_ALIVE_SECONDS } from '../../../lib/infrastructure/relay-contract.ts';
import { startTable, type TestTable } from '../../support/dynalite.ts';
import { eventually } from '../../support/eventually.ts';
import { exampleEnvironment } from '../../support/example-environment.ts';
import { type FakeUpstream, startFakeUpstream } from '../../support/fake-upstream.ts';
import { relayBundle } from '../../support/relay-process.ts';
import { taskOf } from '../../support/relay-task.ts';
import { type SsmServer, startSsmServer } from '../../support/ssm-server.ts';
import { shipped } from '../../support/synthesise.ts';
import { made } from './whole-stages.ts';

const root = join(import.meta.dirname, '../../..');
const sdkKey = ['sdk', '01234567', '89ab', 'cdef', '0123', '456789abcdef'].join('-');

describe('the relay’s process', () => {
  let directory: string;
  let table: TestTable;
  let ssm: SsmServer;
  let upstream: FakeUpstream;
  let relay: ChildProcess | undefined;
  beforeAll(async () => {
    directory = await relayBundle();
    [table, ssm, upstream] = await Promise.all([
      startTable({ tableName: shipped.dev.tableName }),
      startSsmServer(),
      startFakeUpstream(),
    ]);
  });
  afterAll(async () => {
    relay?.kill('SIGKILL');
    await Promise.all([table?.close(), ssm?.close(), upstream?.close()]);
  });

  test('the relay from the image, started as the task definition says, serves, fills the table and exits on SIGTERM @heavy', async () => {
    const { container, environment } = taskOf(made.dev.template('Relay'));
    upstream.data = exampleEnvironment() as unknown as FakeUpstream['data'];
    ssm.put('/edge-flag-relay/dev/environments/test/sdk-key', sdkKey);
    ssm.put('/edge-flag-relay/dev/environments/test/prefix', 'test', { type: 'String' });

    const lines: string[] = [];
    // The only differences from a real task: the three services' addresses, credentials, and a free port.
    const here = {
      PORT: '0',
      STREAM_URI: upstream.uri,
      AWS_ENDPOINT_URL_SSM: ssm.endpoint,
      AWS_ENDPOINT_URL_DYNAMODB: table.endpoint,
      AWS_ACCESS_KEY_ID: 'test',
      AWS_SECRET_ACCESS_KEY: 'test',
      PATH: `${directory}:/usr/bin:/bin`,
    };
    const nobody = process.getuid?.() === 0 ? { uid: 65_532, gid: 65_532 } : {};
    relay = spawn('ld-relay', container.Command, { cwd: '/', env: { ...environment, ...here }, ...nobody });
    for (const stream of [relay.stdout!, relay.stderr!])
      stream.on('data', (chunk) => lines.push(...String(chunk).split('\n')));
    const ended = new Promise<number | null>((resolve) => relay!.on('exit', resolve));

    const port = await eventually(() => {
      const said = lines.find((line) => line.includes('Relay listening'));
      if (!said) throw new Error(`not yet: ${lines.join('\n')}`);
      return (JSON.parse(said) as { port: number }).port;
    });
    const base = `http://127.0.0.1:${port}`;
    await eventually(async () => expect((await fetch(`${base}/readyz`)).status).toBe(200));

    const answer = await fetch(`${base}/sdk/latest-all`, { headers: { Authorization: sdkKey } });
    expect(Object.keys(((await answer.json()) as { flags: object }).flags).sort()).toEqual(
      Object.keys(exampleEnvironment().flags).sort(),
    );
    // The load balancer's idle timeout must be shorter than this.
    expect(answer.headers.get('keep-alive')).toBe(`timeout=${KEEP_ALIVE_SECONDS}`);

    // Runs the health check as ECS does in the container, with the port replaced.
    const [, program = '', ...check] = container.HealthCheck.Command;
    const asked = (at: number) =>
      promisify(execFile)(program, check, { cwd: '/', env: { ...environment, ...here, PORT: String(at) }, ...nobody });
    await expect(asked(port)).resolves.toBeDefined();
    await expect(asked(1)).rejects.toMatchObject({ code: 1 });

    await eventually(async () => {
      const { GetItemCommand } = await import('@aws-sdk/client-dynamodb');
      const Key = { namespace: { S: 'test:$inited' }, key: { S: 'test:$inited' } };
      const { Item } = await table.client.send(new GetItemCommand({ TableName: table.tableName, Key }));
      expect(Item).toBeDefined();
    });

    relay.kill('SIGTERM');
    expect(await ended).toBe(0);
    expect(lines.join('\n')).not.toContain(sdkKey);
  });
});

test('the image contains only the relay’s bundle and the command that starts it', () => {
  const dockerfile = readFileSync(join(root, 'relay-task/Dockerfile'), 'utf8');
  const [, last] = dockerfile.split(/^FROM \$\{BASE\}$/m);
  expect(last).toMatch(/^COPY --from=build \/out\/relay\.mjs \/out\/ld-relay /m);
  expect([...last!.matchAll(/^(COPY|ADD|RUN)/gm)].map(([, word]) => word)).toEqual(['COPY']);
  expect(last).toMatch(/^USER 65532:65532$/m);
  expect(last).toMatch(/^ENTRYPOINT \["ld-relay"\]$/m);
  const command = JSON.parse(/^CMD (.*)$/m.exec(last!)![1]!) as string[];
  const candidates = command[command.indexOf('--config') + 1]?.split(',');
  expect(candidates).toEqual(['/ldr/ld-relay.conf', '/config/ld-relay.conf', '/etc/ld-relay.conf']);
  expect(command.slice(-2)).toEqual(['--allow-missing-file', '--from-env']);
});
