/** The relay as a process: arguments and environment in, signals, exit code. The only file of the relay that touches `process`. */
import packageJson from '../package.json' with { type: 'json' };
import type { Config } from './config/config.ts';
import { loadConfig } from './config/load.ts';
import { RelayError } from './errors.ts';
import type { Log } from './ports.ts';
import { startRelay } from './relay.ts';
import { createLog, mostVerbose } from './status/log.ts';

try {
  const loaded = loadConfig(process.argv.slice(2), process.env);
  if (loaded.command === 'version') {
    const [version, build] = packageJson.version.split('+');
    process.stdout.write(`${build === undefined ? version : `${version} (build ${build})`}\n`);
  } else if (loaded.command === 'help') {
    // ld-relay ends with 1 here, whether the usage was asked for or not.
    process.stderr.write(`${loaded.problem === undefined ? '' : `${loaded.problem}\n\n`}${loaded.usage}`);
    process.exitCode = 1;
  } else if (loaded.command === 'check') {
    for (const warning of loaded.warnings) process.stderr.write(`warning: ${warning}\n`);
    process.stdout.write(loaded.report);
  } else {
    const { config, warnings } = loaded;
    // Environments may want more lines than the relay as a whole; each takes its own from the one log.
    const levels = [config.logLevel, ...config.environments.flatMap(({ logLevel }) => logLevel ?? [])];
    const log = createLog({ level: mostVerbose(levels) });
    for (const warning of warnings) log.warn(warning);
    await (config.exitAlways ? runOnce : run)(config, log);
  }
} catch (error) {
  process.stderr.write(describe(error));
  process.exit(1);
}

/** Fills the stores and ends: 0 when every environment got its data, else 1. Nobody is served. */
async function runOnce(config: Config, log: Log): Promise<void> {
  const relay = await startRelay(config, { log, version: packageJson.version, env: process.env, listen: false });
  const without = await relay.initialized();
  await relay.stored(config.gracefulShutdownTimeoutMs);
  await relay.close();
  if (without.length > 0) log[levelOf(config)]('there is no data after INIT_TIMEOUT', { environments: without });
  process.exit(without.length > 0 && !config.ignoreConnectionErrors ? 1 : 0);
}

/** Connection errors that may be ignored are no more than a warning. */
function levelOf({ ignoreConnectionErrors }: Config): 'warn' | 'error' {
  return ignoreConnectionErrors ? 'warn' : 'error';
}

async function run(config: Config, log: Log): Promise<void> {
  for (const event of ['uncaughtException', 'unhandledRejection'] as const) {
    // What nobody expected leaves nothing that could be trusted; whoever started the relay starts it again.
    process.on(event, (error: unknown) => {
      log.error('the relay ends because of an error that nothing handled', {
        error: String((error as Error)?.stack ?? error),
      });
      process.exit(1);
    });
  }
  const relay = await startRelay(config, { log, version: packageJson.version, env: process.env });
  log.info('the relay listens', { port: relay.port, environments: config.environments.map(({ name }) => name) });
  void relay.initialized().then(async (without) => {
    if (without.length === 0 || stopping) return;
    log[levelOf(config)]('there is no data after INIT_TIMEOUT; it is tried again for ever', { environments: without });
    if (!config.exitOnError || config.ignoreConnectionErrors) return;
    log.error('the relay ends, since EXIT_ON_ERROR is set');
    await relay.close();
    process.exit(1);
  });

  let stopping = false;
  const stop = async (signal: string) => {
    // Whoever asks twice does not want to wait.
    if (stopping) process.exit(1);
    stopping = true;
    log.info('the relay stops', { signal });
    const deadline = setTimeout(() => {
      log.warn('the relay ends without having finished', {
        gracefulShutdownTimeoutMs: config.gracefulShutdownTimeoutMs,
      });
      process.exit(1);
    }, config.gracefulShutdownTimeoutMs);
    deadline.unref();
    await relay.close();
    process.exit(0);
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
}

/** One problem on one line; several below one another. */
function describe(error: unknown): string {
  if (!(error instanceof RelayError)) return `${(error as Error)?.stack ?? error}\n`;
  const problems = Array.isArray(error.cause) ? (error.cause as unknown[]) : [];
  if (problems.length < 2) return `${error.code}: ${error.message}\n`;
  return `${error.code}: ${problems.length} problems\n${problems.map((problem) => `  ${problem}\n`).join('')}`;
}
