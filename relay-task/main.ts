/** The relay as a process: arguments and environment in, signals, exit code. The only file of the relay that touches `process`. */
import packageJson from '../package.json' with { type: 'json' };
import { redactKeys } from './common/secrets.ts';
import type { Config } from './config/config.ts';
import { loadConfig } from './config/load.ts';
import { RelayError } from './errors.ts';
import type { Log } from './ports.ts';
import { type Relay, startRelay } from './relay.ts';
import { createLog, limitLog } from './status/log.ts';

try {
  const loaded = loadConfig(process.argv.slice(2), process.env);
  if (loaded.command === 'version') {
    const [version, build] = packageJson.version.split('+');
    process.stdout.write(`${build === undefined ? version : `${version} (build ${build})`}\n`);
  } else if (loaded.command === 'help') {
    // ld-relay ends with 1 here, whether the usage was asked for or not.
    process.stderr.write(redactKeys(`${loaded.problem === undefined ? '' : `${loaded.problem}\n\n`}${loaded.usage}`));
    process.exitCode = 1;
  } else if (loaded.command === 'check') {
    for (const warning of loaded.warnings) process.stderr.write(`warning: ${warning}\n`);
    process.stdout.write(loaded.report);
  } else {
    const { config, warnings } = loaded;
    // Environments may want more lines than the relay as a whole; each takes its own from the one log.
    const everything = createLog({ level: 'debug' });
    const log = limitLog(everything, config.logLevel);
    for (const warning of warnings) log.warn(warning);
    for (const event of ['uncaughtException', 'unhandledRejection'] as const) {
      // What nobody expected leaves nothing that could be trusted; whoever started the relay starts it again.
      process.on(event, (error: unknown) => {
        log.error('the relay ends because of an error that nothing handled', {
          error: String((error as Error)?.stack ?? error),
        });
        process.exit(1);
      });
    }
    const { version } = packageJson;
    const relay = startRelay(config, { log: everything, version, env: process.env, listen: !config.exitAlways });
    const end = endOnSignal(relay, config, log);
    await (config.exitAlways ? runOnce : run)(await relay, { config, log, end });
  }
} catch (error) {
  process.stderr.write(redactKeys(describe(error)));
  process.exit(1);
}

interface Running {
  readonly config: Config;
  readonly log: Log;
  /** Closes the relay and ends the process; whoever asks again is not heard. */
  end(exitCode: number): Promise<void>;
}

/** Fills the stores and ends: 0 when every environment got its data and every store has it, else 1. Nobody is served. */
async function runOnce(relay: Relay, { config, log, end }: Running): Promise<void> {
  const without = await relay.initialized();
  const unstored = await relay.stored(config.gracefulShutdownTimeoutMs);
  if (without.length > 0) log[levelOf(config)]('there is no data after INIT_TIMEOUT', { environments: without });
  if (unstored.length > 0) log.error('a store could not be filled', { environments: unstored });
  const failed = unstored.length > 0 || (without.length > 0 && !config.ignoreConnectionErrors);
  await end(failed ? 1 : 0);
}

/** Connection errors that may be ignored are no more than a warning. */
function levelOf({ ignoreConnectionErrors }: Config): 'warn' | 'error' {
  return ignoreConnectionErrors ? 'warn' : 'error';
}

async function run(relay: Relay, { config, log, end }: Running): Promise<void> {
  log.info('the relay listens', { port: relay.port, environments: config.environments.map(({ name }) => name) });
  const without = await relay.initialized();
  if (without.length === 0) return;
  log[levelOf(config)]('there is no data after INIT_TIMEOUT; it is tried again for ever', { environments: without });
  if (!config.exitOnError || config.ignoreConnectionErrors) return;
  log.error('the relay ends, since EXIT_ON_ERROR is set');
  await end(1);
}

/** From here on a signal ends the relay in order, even while it starts. */
function endOnSignal(relay: Promise<Relay>, config: Config, log: Log): Running['end'] {
  const { gracefulShutdownTimeoutMs } = config;
  let ending = false;

  async function end(exitCode: number): Promise<void> {
    if (ending) return;
    ending = true;
    setTimeout(() => {
      log.warn('the relay ends without having finished', { gracefulShutdownTimeoutMs });
      process.exit(1);
    }, gracefulShutdownTimeoutMs);
    // One that does not start says so itself.
    await relay.then((started) => started.close());
    process.exit(exitCode);
  }

  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      // Whoever asks twice does not want to wait.
      if (ending) process.exit(1);
      log.info('the relay stops', { signal });
      // Stores that were to be filled may be half full.
      end(config.exitAlways ? 1 : 0).catch(() => {});
    });
  }
  return end;
}

/** One problem on one line; several below one another. */
function describe(error: unknown): string {
  if (!(error instanceof RelayError)) return `${(error as Error)?.stack ?? error}\n`;
  const problems = Array.isArray(error.cause) ? (error.cause as unknown[]) : [];
  if (problems.length < 2) return `${error.code}: ${error.message}\n`;
  return `${error.code}: ${problems.length} problems\n${problems.map((problem) => `  ${problem}\n`).join('')}`;
}
