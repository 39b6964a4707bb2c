import { createServer } from 'node:http';
import { join } from 'node:path';
import { startEmbeddedDynamoDB, useLocalCredentials } from '../../bin/dev/embedded-dynamodb.ts';
import { close, listen } from '../../bin/dev/sample-origins.ts';
import { localTable } from '../../bin/dev-settings.ts';
import packageJson from '../../package.json' with { type: 'json' };
import { parseConfig } from '../../relay-task/config/config.ts';
import { startRelay } from '../../relay-task/relay.ts';

const EXAMPLE_FLAGS = join(import.meta.dirname, '../flags.json');

export interface Local {
  readonly relayUrl: string;
  /** What the examples read. */
  readonly env: Readonly<Record<string, string>>;
  close(): Promise<void>;
}

interface LocalOptions {
  /** Default: `examples/flags.json`. */
  readonly flagsFile?: string;
  /** Where the relay forwards events. Default: to a server that drops them. */
  readonly eventsUrl?: string;
}

/**
 * A relay that serves a flags file and fills the table of an embedded DynamoDB, under the keys and names of `npm start`, on free ports.
 */
export async function startLocal({ flagsFile = EXAMPLE_FLAGS, eventsUrl }: LocalOptions = {}): Promise<Local> {
  const opened: (() => Promise<void>)[] = [];
  const closeAll = async () => {
    for (const closeOne of opened.splice(0).reverse()) await closeOne();
  };
  try {
    useLocalCredentials();
    const dynamoDB = await startEmbeddedDynamoDB({ port: 0, tableName: localTable });
    opened.push(() => dynamoDB.close());
    const { config } = parseConfig({
      LD_ENV_local: 'sdk-local',
      LD_MOBILE_KEY_local: 'mob-local',
      LD_CLIENT_SIDE_ID_local: 'local',
      LD_PREFIX_local: 'local',
      LD_FLAGS_FILE_local: flagsFile,
      LISTEN_HOST: '127.0.0.1',
      PORT: '0',
      USE_DYNAMODB: 'true',
      DYNAMODB_TABLE: localTable,
      DYNAMODB_URL: dynamoDB.endpoint,
      USE_EVENTS: 'true',
      EVENTS_HOST: eventsUrl ?? (await startSink(opened)),
      EVENTS_FLUSH_INTERVAL: '100ms',
    });
    const silent = () => {};
    const log = { debug: silent, info: silent, warn: silent, error: console.error };
    const relay = await startRelay({ ...config, drainWindowMs: 0 }, { log, version: packageJson.version });
    opened.push(() => relay.close());
    await relay.stored();
    const relayUrl = `http://127.0.0.1:${relay.port}`;
    return {
      relayUrl,
      env: {
        RELAY_URL: relayUrl,
        LD_SDK_KEY: 'sdk-local',
        FLAG_TABLE: localTable,
        FLAG_PREFIX: 'local',
        AWS_REGION: 'us-east-1',
        // For the AWS SDKs that do not know AWS_REGION.
        AWS_DEFAULT_REGION: 'us-east-1',
        AWS_ACCESS_KEY_ID: 'local',
        AWS_SECRET_ACCESS_KEY: 'local',
        AWS_ENDPOINT_URL_DYNAMODB: dynamoDB.endpoint,
      },
      close: closeAll,
    };
  } catch (error) {
    await closeAll();
    throw error;
  }
}

/** Takes LaunchDarkly's place for events. */
async function startSink(opened: (() => Promise<void>)[]): Promise<string> {
  const server = createServer((request, response) => {
    request.resume();
    response.writeHead(202).end();
  });
  opened.push(() => close(server));
  return listen(server, 0);
}
