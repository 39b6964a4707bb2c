import { parseConfig, type Variables } from '../../relay-task/config/config.ts';
import type { Log } from '../../relay-task/ports.ts';
import { type Relay, startRelay } from '../../relay-task/relay.ts';

export interface LogLine {
  readonly level: keyof Log;
  readonly message: string;
  readonly fields: Record<string, unknown>;
}

export interface TestRelay extends Relay {
  readonly uri: string;
  /** Everything that the relay logged. */
  readonly lines: readonly LogLine[];
}

/** A real relay on a free port of the loopback interface, configured by variables as people configure it. */
export async function startTestRelay(variables: Variables): Promise<TestRelay> {
  // DynamoDB's client signs with whatever it finds; dynalite takes anything.
  process.env.AWS_ACCESS_KEY_ID = 'local';
  process.env.AWS_SECRET_ACCESS_KEY = 'local';
  const lines: LogLine[] = [];
  const record =
    (level: keyof Log) =>
    (message: string, fields: Record<string, unknown> = {}) => {
      lines.push({ level, message, fields });
    };
  const log: Log = { debug: record('debug'), info: record('info'), warn: record('warn'), error: record('error') };
  const { config } = parseConfig({ PORT: '0', LISTEN_HOST: '127.0.0.1', DRAIN_WINDOW: '0', ...variables });
  const relay = await startRelay(config, { log, version: '0.0.0-test' });
  return { ...relay, uri: `http://127.0.0.1:${relay.port}`, lines };
}
