/** The relay as a process: arguments and environment in, signals, exit code. The only file of the relay that touches `process`. */
import { readFileSync } from 'node:fs';
import packageJson from '../package.json' with { type: 'json' };
import { counted } from './common/counted.ts';
import { sleep } from './common/pause.ts';
import { redactKeys, redactSecrets } from './common/secrets.ts';
import { statsAddressText } from './common/stats-address.ts';
import { type Config, storesIn } from './config/config.ts';
import { loadConfig } from './config/load.ts';
import { RelayError } from './errors.ts';
import type { Log, LogFields } from './ports.ts';
import { type Relay, startRelay } from './relay.ts';
import { guardFloods } from './status/flood-guard.ts';
import { askHealth, healthcheckArguments } from './status/healthcheck.ts';
import { createLevels, type Levels, limitLog } from './status/levels.ts';
import { createLog } from './status/log.ts';
import { createOutput } from './status/output.ts';

/** How many environments the line about the start names. It stands above the code that runs at once, which reads it. */
const MOST_NAMED = 20;
/** How long the end waits for calls to file systems and resolvers. Here for the same reason. */
const UNANSWERED_MS = 1_000;

try {
  const loaded = loadConfig(healthcheckArguments(process.argv.slice(2), firstProcess), process.env);
  if (loaded.command === 'version') {
    const [version, build] = packageJson.version.split('+');
    process.stdout.write(`${build === undefined ? version : `${version} (build ${build})`}\n`);
  } else if (loaded.command === 'healthcheck') {
    const problem = await askHealth(loaded.config, loaded.path);
    if (problem !== undefined) process.stderr.write(`The relay does not answer: ${problem}\n`);
    process.exitCode = problem === undefined ? 0 : 1;
  } else if (loaded.command === 'help') {
    // ld-relay exits with 1 here, whether the usage was asked for or not.
    process.stderr.write(redactKeys(`${loaded.problem === undefined ? '' : `${loaded.problem}\n\n`}${loaded.usage}`));
    process.exitCode = 1;
  } else if (loaded.command === 'check') {
    for (const warning of loaded.warnings) process.stderr.write(`warning: ${warning}\n`);
    process.stdout.write(loaded.report);
  } else {
    const { config, warnings } = loaded;
    // An environment may have a lower log level than the relay as a whole, so the log itself is not limited.
    const output = createOutput({
      onRecovered: (lines, reason) =>
        log.warn('Log lines were lost, since stdout did not take them', {
          lines,
          reason,
          runbook: 'operations.md#log-lines-lost',
        }),
    });
    // Warnings of Node itself go there.
    process.stderr.on('error', () => {});
    const everything = guardFloods(createLog({ level: 'debug', write: output.write, ...formOf(config) }));
    process.on('exit', everything.tellSuppressed);
    const levels = createLevels({ configured: config.logLevel, log: everything });
    const log = limitLog(everything, levels.present);
    for (const warning of warnings) log.warn(warning, { runbook: 'operations.md#configuration-warnings' });
    for (const event of ['uncaughtException', 'unhandledRejection'] as const) {
      // The state is unknown after an unexpected error: exit, and let the orchestrator start a new process.
      process.on(event, (error: unknown) => {
        log.error('Unhandled error; exiting', {
          error: String((error as Error)?.stack ?? error),
          runbook: 'operations.md#relay-error',
        });
        void exit(1, log);
      });
    }
    const { version } = packageJson;
    const relay = startRelay(config, {
      log: everything,
      levels,
      output,
      version,
      env: process.env,
      listen: !config.exitAlways,
    });
    const end = endOnSignal(relay, config, log);
    debugOnSignal(levels);
    await (config.exitAlways ? runOnce : run)(await relay, { config, log, end });
  }
} catch (error) {
  process.stderr.write(redactKeys(describe(error)));
  if (process.argv.some((argument) => /^--?check$/.test(argument)))
    process.stderr.write(`# not OK: ${verdict(error)}\n`);
  process.exit(1);
}

interface Running {
  readonly config: Config;
  readonly log: Log;
  /** Closes the relay and exits. Idempotent. */
  end(exitCode: number): Promise<void>;
}

/** Colours are for a terminal, and for people who want them: https://no-color.org. */
function formOf({ logFormat }: Config): { readonly format: 'json' | 'text'; readonly colour: boolean } {
  const { isTTY } = process.stdout;
  const format = logFormat === 'auto' ? (isTTY ? 'text' : 'json') : logFormat;
  return { format, colour: isTTY && !process.env.NO_COLOR && process.env.TERM !== 'dumb' };
}

/** The command line of the first process; '' where there is no such file. */
function firstProcess(): string {
  try {
    return readFileSync('/proc/1/cmdline', 'utf8');
  } catch {
    return '';
  }
}

/** Fills the stores and exits: with 0 when every environment has data and every store has it, else with 1. Does not listen. */
async function runOnce(relay: Relay, { config, log, end }: Running): Promise<void> {
  const without = await relay.initialized();
  const unstored = await relay.stored(config.gracefulShutdownTimeoutMs);
  const runbook = 'operations.md#no-data';
  if (without.length > 0) log[levelOf(config)]('No data yet', { environments: without, runbook });
  if (unstored.length > 0)
    log.error('Could not fill a store', { environments: unstored, runbook: 'operations.md#store-down' });
  const failed = unstored.length > 0 || (without.length > 0 && !config.ignoreConnectionErrors);
  await end(failed ? 1 : 0);
}

/** Connection errors that the configuration tells us to ignore are only a warning. */
function levelOf({ ignoreConnectionErrors }: Config): 'warn' | 'error' {
  return ignoreConnectionErrors ? 'warn' : 'error';
}

async function run(relay: Relay, { config, log, end }: Running): Promise<void> {
  const { message, fields } = describeStart(config, relay);
  log.info(message, fields);
  const without = await relay.initialized();
  if (without.length === 0) return;
  const exits = config.exitOnError && !config.ignoreConnectionErrors;
  const next = exits ? '' : '; clients get 503, and the relay keeps trying';
  log[levelOf(config)](`No data yet${next}. The lines before and /status have the cause`, {
    environments: without,
    runbook: 'operations.md#no-data',
  });
  if (!exits) return;
  log.error('Exiting, because EXIT_ON_ERROR is set', { runbook: 'operations.md#no-data' });
  await end(1);
}

/** Where metrics can be read, and where they are sent. */
function metricsOf({ metrics, datadog, otlp }: Config, { metricsPort }: Relay): readonly string[] {
  return [
    metricsPort !== undefined && `Prometheus on port ${metricsPort}`,
    datadog && `Datadog at ${statsAddressText(datadog.statsAddr)}`,
    otlp?.metrics && `OTLP at ${redactSecrets(otlp.metrics.exporter.url)}`,
    metrics.emf && 'CloudWatch in this log',
  ].filter((text) => typeof text === 'string');
}

function describeStart(config: Config, relay: Relay): { message: string; fields: LogFields } {
  const { port, budgetBytes } = relay;
  const { environments, listenHost = '0.0.0.0' } = config;
  const { version } = packageJson;
  const stores = storesIn(config);
  const { ssm, autoConfig, offline } = config;
  const from = (ssm && `SSM (${ssm.path})`) ?? (autoConfig && 'auto-configuration') ?? (offline && 'an archive');
  const named = from === undefined ? counted(environments.length, 'environment') : `environments from ${from}`;
  const metrics = metricsOf(config, relay);
  const about = [
    `version ${version}`,
    named,
    `stores: ${stores.map(({ name }) => name).join(', ') || 'none'}`,
    ...(metrics.length > 0 ? [`metrics: ${metrics.join(', ')}`] : []),
  ];
  return {
    message: `Relay listening on ${listenHost.includes(':') ? `[${listenHost}]` : listenHost}:${port} (${about.join(', ')})`,
    fields: {
      port,
      version,
      node: process.version,
      environments: environments.slice(0, MOST_NAMED).map(({ name }) => name),
      ...(environments.length > MOST_NAMED && { moreEnvironments: environments.length - MOST_NAMED }),
      stores: stores.map(({ key }) => key),
      metrics,
      memoryBudgetBytes: budgetBytes,
      pid: process.pid,
    },
  };
}

/** SIGUSR2 asks for all log lines, for a while; Node.js itself uses SIGUSR1. Only who may signal this process can ask. */
function debugOnSignal(levels: Levels): void {
  process.on('SIGUSR2', () => levels.toggleDebug('SIGUSR2'));
}

/** From here on a signal shuts the relay down in order, even while it starts. */
function endOnSignal(relay: Promise<Relay>, config: Config, log: Log): Running['end'] {
  const { gracefulShutdownTimeoutMs } = config;
  let ending = false;

  async function end(exitCode: number): Promise<void> {
    if (ending) return;
    ending = true;
    setTimeout(() => {
      log.warn('Exiting before everything was finished', {
        gracefulShutdownTimeoutMs,
        runbook: 'operations.md#stopping',
      });
      void exit(1, log);
    }, gracefulShutdownTimeoutMs);
    // A relay that fails to start reports that itself.
    await relay.then((started) => started.close());
    await exit(exitCode, log);
  }

  // SIGHUP: the terminal was closed. There is nothing to read again, since files and SSM are watched.
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    process.on(signal, () => {
      // A second signal means: do not wait.
      if (ending) {
        void exit(1, log);
        return;
      }
      log.info('Shutting down', { signal });
      // The stores that EXIT_ALWAYS was to fill may be incomplete.
      end(config.exitAlways ? 1 : 0).catch(() => {});
    });
  }
  return end;
}

/** Node.js waits for its threads before it exits, and a disk that hangs never answers them: then only a kill ends the process. */
async function exit(exitCode: number, log: Log): Promise<void> {
  const until = performance.now() + UNANSWERED_MS;
  while (isCallUnanswered() && performance.now() < until) await sleep(UNANSWERED_MS / 20);
  if (isCallUnanswered()) {
    log.warn('A file system or a resolver does not answer; exiting without waiting for it', {
      runbook: 'operations.md#stopping',
    });
    process.emit('exit', exitCode);
    process.kill(process.pid, 'SIGKILL');
  }
  process.exit(exitCode);
}

function isCallUnanswered(): boolean {
  return process.getActiveResourcesInfo().some((kind) => /^(FSReq|GetAddrInfoReq)/.test(kind));
}

/** One problem on one line; several as a list. */
function describe(error: unknown): string {
  if (!(error instanceof RelayError)) return `${(error as Error)?.stack ?? error}\n`;
  const problems = problemsOf(error);
  if (problems.length < 2) return `${error.code}: ${error.message}\n`;
  return `${error.code}: ${problems.length} problems\n${problems.map((problem) => `  ${problem}\n`).join('')}`;
}

function problemsOf({ cause }: RelayError): readonly unknown[] {
  return Array.isArray(cause) ? cause : [];
}

/** The last line of a check, as `describeVerdict` ends one that found nothing. */
function verdict(error: unknown): string {
  const count = error instanceof RelayError ? problemsOf(error).length : 0;
  return counted(Math.max(1, count), 'problem');
}
