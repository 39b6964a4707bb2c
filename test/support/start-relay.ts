import { type Config, type ConfigFile, parseConfig, type Variables } from '../../relay-task/config/config.ts';
import type { Log } from '../../relay-task/ports.ts';
import { type Relay, type RelayTimings, startRelay } from '../../relay-task/relay.ts';
import type { Output } from '../../relay-task/status/output.ts';

interface LogLine {
  readonly level: keyof Log;
  readonly message: string;
  readonly fields: Record<string, unknown>;
}

export interface TestRelay extends Relay {
  readonly uri: string;
  /** Everything that the relay logged, before keys are redacted. */
  readonly lines: readonly LogLine[];
  /** Like `Relay.close`, but rejects if a log line or metric contains a key, password or token of the relay, or a warning has no runbook. */
  close(): Promise<void>;
}

interface TestRelayOptions {
  readonly timings?: RelayTimings;
  readonly file?: ConfigFile;
  /** HTTPS_PROXY and the like. */
  readonly env?: Variables;
  /** Where metrics for CloudWatch are written. */
  readonly output?: Output;
  /** Further secrets that must not be shown: keys from other sources, contexts. */
  readonly secrets?: readonly string[];
}

/** A real relay on a free port of the loopback interface, configured by environment variables. */
export async function startTestRelay(variables: Variables, options: TestRelayOptions = {}): Promise<TestRelay> {
  // The DynamoDB client needs credentials to sign; dynalite accepts any.
  process.env.AWS_ACCESS_KEY_ID = 'local';
  process.env.AWS_SECRET_ACCESS_KEY = 'local';
  const lines: LogLine[] = [];
  const record =
    (level: keyof Log) =>
    (message: string, fields: Record<string, unknown> = {}) => {
      lines.push({ level, message, fields });
    };
  const log: Log = { debug: record('debug'), info: record('info'), warn: record('warn'), error: record('error') };
  const all = { PORT: '0', LISTEN_HOST: '127.0.0.1', DRAIN_WINDOW: '0', ...variables };
  const { config } = parseConfig(all, options.file);
  const secrets = [...secretsOf(config), ...(options.secrets ?? [])];
  const { timings, env, output } = options;
  let relay: Relay;
  try {
    const given = { ...(timings && { timings }), ...(env && { env }), ...(output && { output }) };
    relay = await startRelay(config, { log, version: '0.0.0-test', ...given });
  } catch (error) {
    expectSilence(secrets, String((error as Error).stack), ...lines.map(textOf));
    throw error;
  }
  return {
    ...relay,
    uri: `${config.tls ? 'https' : 'http'}://127.0.0.1:${relay.port}`,
    lines,
    async close() {
      const { body: metrics } = await relay.metrics.text();
      await relay.close();
      expectSilence(secrets, metrics, ...lines.map(textOf));
      const lost = lines.find(({ level, fields }) => (level === 'warn' || level === 'error') && !fields.runbook);
      if (lost) throw new Error(`a warning without its runbook: ${textOf(lost)}`);
    },
  };
}

/** Throws if one of these texts contains one of the secrets. */
export function expectSilence(secrets: readonly string[], ...texts: readonly string[]): void {
  for (const text of texts) {
    for (const secret of secrets) {
      if (text.includes(secret)) throw new Error(`the relay showed the secret ${secret}: ${text.slice(0, 2_000)}`);
    }
  }
}

/** Every secret in a configuration. A client-side ID is public. */
function secretsOf(config: Config): string[] {
  const { environments, autoConfig, ssm, statusToken, proxy, redis, consul, heartbeat } = config;
  return [
    ...environments.flatMap(({ sdkKey, mobileKey }) => [sdkKey, mobileKey]),
    ...[
      autoConfig?.key,
      autoConfig?.cacheEncryptionKey,
      ssm?.cacheEncryptionKey,
      statusToken,
      heartbeat.apiToken,
      proxy.password,
      consul?.token,
    ],
    ...[redis?.password, redis?.sentinel?.password],
  ].filter((secret): secret is string => secret !== undefined && secret !== '');
}

/** JSON writes errors as empty objects; here they are written with message, stack and cause. */
function textOf({ message, fields }: LogLine): string {
  const told = JSON.stringify(fields, (_key, value: unknown) =>
    value instanceof Error ? { stack: value.stack, message: value.message, cause: value.cause } : value,
  );
  return `${message} ${told}`;
}
