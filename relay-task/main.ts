/** The relay as a process: environment in, signals, exit code. The only file of the relay that touches `process`. */
import packageJson from '../package.json' with { type: 'json' };
import { parseConfig } from './config/config.ts';
import { RelayError } from './errors.ts';
import { startRelay } from './relay.ts';
import { createLog } from './status/log.ts';

try {
  const [argument] = process.argv.slice(2);
  if (argument !== undefined) {
    throw new RelayError(
      'CONFIG_INVALID',
      `${argument} is not understood: the relay is configured by environment variables`,
    );
  }
  const { config, warnings } = parseConfig(process.env);
  const log = createLog({ level: config.logLevel });
  for (const warning of warnings) log.warn(warning);
  const relay = await startRelay(config, { log, version: packageJson.version });
  log.info('the relay listens', { port: relay.port, environments: config.environments.map(({ name }) => name) });

  let stopping = false;
  const stop = async (signal: string) => {
    // Whoever asks twice does not want to wait.
    if (stopping) process.exit(1);
    stopping = true;
    log.info('the relay stops', { signal });
    await relay.close();
    process.exit(0);
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
} catch (error) {
  const text =
    error instanceof RelayError ? `${error.code}: ${error.message}` : String((error as Error)?.stack ?? error);
  process.stderr.write(`${text}\n`);
  process.exit(1);
}
