/** DynamoDB Local, Amazon's own emulator of DynamoDB, in memory, if `test/interop/install.sh` has installed it. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { createTable, type TestTable } from './dynalite.ts';
import { endChild } from './end-child.ts';

const folder = join(import.meta.dirname, '../../.cache/interop/dynamodb-local');
const hasDynamoDBLocal = existsSync(join(folder, 'Loopback.class'));

/** Options for a quick start and little memory. */
const java = ['-Xmx128m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1', `-Djava.library.path=${folder}`];

/**
 * A suite on one server, since a Java process takes a second to start; `startTable` gives each test a table of its own.
 * Skipped by title if DynamoDB Local is not installed.
 */
export function describeWithDynamoDBLocal(title: string, body: (startTable: () => Promise<TestTable>) => void): void {
  const describeIf = hasDynamoDBLocal ? describe : describe.skip;
  describeIf(hasDynamoDBLocal ? title : `${title} (needs test/interop/install.sh)`, () => {
    let server: Awaited<ReturnType<typeof startDynamoDBLocal>>;
    let tables = 0;
    beforeAll(async () => {
      server = await startDynamoDBLocal();
    });
    afterAll(() => server?.close());
    body(() => createTable({ port: server.port, tableName: `flags-${++tables}` }));
  });
}

/** Listens on 127.0.0.1 and a free port; ends with this process at the latest. */
async function startDynamoDBLocal(): Promise<{ readonly port: number; close(): Promise<void> }> {
  const child = spawn('java', [...java, '-cp', `${folder}:${folder}/*`, 'Loopback'], {
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  let errors = '';
  child.stderr.on('data', (bytes: Buffer) => {
    errors = (errors + bytes).slice(-2_000);
  });
  const ended = new Promise<void>((resolve) => {
    child.once('close', () => resolve());
    child.once('error', (error) => {
      errors += error.message;
      resolve();
    });
  });
  const port = await new Promise<number>((resolve, reject) => {
    createInterface({ input: child.stdout }).on('line', (line) => {
      const [, found] = /^listens on (\d+)$/.exec(line) ?? [];
      if (found) resolve(Number(found));
    });
    void ended.then(() => reject(new Error(`DynamoDB Local did not start: ${errors}`)));
  });
  return {
    port,
    close: () => endChild(child),
  };
}
