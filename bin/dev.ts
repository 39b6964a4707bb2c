/**
 * `npm start`: the whole path on this machine. Flags from a file (or from LaunchDarkly) → relay → streams, and → an
 * embedded DynamoDB → the built Lambda@Edge functions → a sample origin for each value of the flag.
 */
import { copyFile, mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { commandText } from '../lib/command-text.ts';
import packageJson from '../package.json' with { type: 'json' };
import { counted } from '../relay-task/common/counted.ts';
import { sleep } from '../relay-task/common/pause.ts';
import { parseConfig } from '../relay-task/config/config.ts';
import { RelayError } from '../relay-task/errors.ts';
import { startRelay } from '../relay-task/relay.ts';
import type { FileReload } from '../relay-task/upstream/file.ts';
import { isColoured, painted } from './checks/print.ts';
import { askFlag } from './dev/ask-flag.ts';
import { type LocalEdge, startLocalEdge } from './dev/edge.ts';
import { type LocalRouterSettings, readEdgeFile } from './dev/edge-file.ts';
import { startEmbeddedDynamoDB, useLocalCredentials } from './dev/embedded-dynamodb.ts';
import { flagsIn, flagsOf, type KnownFlags } from './dev/known-flags.ts';
import { atLevel, createPlainLog, shownPath } from './dev/plain-log.ts';
import { type PropagationMeter, startPropagationMeter } from './dev/propagation.ts';
import { chooseRouting, type Routing } from './dev/routing.ts';
import { announce } from './dev/running.ts';
import { type SampleContext, sampleContexts } from './dev/sample-contexts.ts';
import { startSampleOrigins } from './dev/sample-origins.ts';
import { describeUnknownFlags } from './dev/unknown-flags.ts';
import { welcome } from './dev/welcome.ts';
import { type DevSettings, devSettings, localTable, parseDevSettings, usage } from './dev-settings.ts';

/** How long to wait for the first flags before printing the commands. */
const FILLED_MS = 10_000;

const SAME_SIGNAL_MS = 500;

/** Nothing listens there. */
const NOWHERE = 'http://127.0.0.1:1';

const colour = isColoured(process.stdout, process.env);
const terminal = { print: (line: string) => console.error(line), colour: isColoured(process.stderr, process.env) };
const warn = (text: string) => terminal.print(atLevel('warn', text, terminal));

/** What to close, in the order in which it was opened. */
const opened: (() => Promise<void> | void)[] = [];

async function closeEverything(): Promise<void> {
  for (const close of opened.splice(0).reverse()) await close();
}

async function end(exitCode: number): Promise<never> {
  await closeEverything();
  process.exit(exitCode);
}

let stopping = false;
let stoppingSince = 0;
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    // A second Ctrl-C exits at once, unless it follows so closely that it is the same one, forwarded by a parent.
    if (stopping && Date.now() - stoppingSince > SAME_SIGNAL_MS) process.exit(1);
    if (stopping) return;
    stopping = true;
    stoppingSince = Date.now();
    void end(0);
  });
}

try {
  const parsed = parseDevSettings(process.argv.slice(2), process.env);
  if ('help' in parsed) {
    console.log(usage);
    await end(0);
  } else if ('problems' in parsed) throw new RelayError('CONFIG_INVALID', parsed.problems.join('; '));
  else await start(parsed.settings);
} catch (error) {
  // Not an error if it was stopped while starting.
  if (!stopping) {
    console.error(describe(error));
    await end(1);
  }
}

async function start(given: DevSettings): Promise<void> {
  useLocalCredentials();
  // Settings first, so that invalid ones are reported before anything is opened.
  parseConfig({ ...given.variables, DYNAMODB_URL: 'http://127.0.0.1' });
  const { environment } = given;
  const inFile = environment.fromFile ? flagsIn(given.flagsFile) : undefined;
  readRouter(given, routingOf(given, inFile ?? {}));
  const settings = given.isExample ? await withCopy(given) : given;
  const { flagsFile } = settings;

  const dynamoDB = await open(
    startEmbeddedDynamoDB({ port: settings.dynamoDBPort, tableName: localTable }),
    `${devSettings.dynamoDBPort.env}=${settings.dynamoDBPort}`,
  );
  const { config, warnings } = parseConfig({ ...settings.variables, DYNAMODB_URL: dynamoDB.endpoint });
  for (const warning of [...settings.warnings, ...warnings]) warn(warning);

  let meter: PropagationMeter | undefined;
  const reports = createReports(settings, () => meter);
  const relay = await open(
    startRelay(
      { ...config, drainWindowMs: 0 },
      { log: createPlainLog(terminal), version: packageJson.version, onReload: (...reload) => void reports(...reload) },
    ),
  );
  await relay.stored();

  const relayUrl = `http://127.0.0.1:${relay.port}`;
  const sdkKey = config.environments.find(({ name }) => name === environment.name)?.sdkKey ?? '';
  const flags = inFile ?? (await arrivedFlags(relayUrl, sdkKey)) ?? {};
  const routing = routingOf(settings, flags);
  const router = readRouter(settings, routing);
  const origins = await open(startSampleOrigins(routing.origins));
  const edge = await open(
    startLocalEdge({
      port: settings.edgePort,
      table: {
        endpoint: settings.edgeReadsTable ? dynamoDB.endpoint : NOWHERE,
        name: localTable,
        prefix: environment.prefix,
      },
      ...router,
      origins: origins.urls,
      defaultVariant: routing.defaultOrigin,
      refreshMs: 1_000,
      log: (line) => warn(`edge: ${line}`),
    }),
    `${devSettings.edgePort.env}=${settings.edgePort}`,
  );
  meter = await open(startPropagationMeter({ relayUrl, sdkKey, dynamoDB, prefix: environment.prefix, edge }));
  if (settings.edgeReadsTable) await filled(edge);
  else warn('EDGE_TABLE=off: the edge cannot read the table');
  for (const said of describeUnknownFlags(router, flags)) warn(said);
  if (router.flagKey !== undefined) for (const said of routing.remarks) warn(said);

  const urls = { relayUrl, dynamoDBUrl: dynamoDB.endpoint, edgeUrl: edge.url };
  const isFile = environment.fromFile;
  try {
    const forget = announce({
      ...urls,
      ...{ pid: process.pid, tableName: localTable, prefix: environment.prefix, environment: environment.name },
      ...{ isCopy: settings.isExample, flagKey: router.flagKey, origins: routing.origins },
      ...(isFile && { sdkKey, flagsFile: resolve(flagsFile) }),
    });
    opened.push(forget);
  } catch (error) {
    warn(`${commandText('try')} will not find this: ${(error as Error).message}`);
  }
  const sample = await sampleFor(router.flagKey, flags, { relayUrl, sdkKey });
  if (stopping) return;
  console.log(
    welcome({
      ...urls,
      ...{ version: packageJson.version, flags, routing, router, sample, colour, isCopy: settings.isExample },
      ...{ environment: environment.name, prefix: environment.prefix, table: localTable },
      flagsFile: isFile ? shownPath(flagsFile) : undefined,
      rulesFile: settings.edgeRules === undefined ? undefined : shownPath(settings.edgeRules),
      exampleRules: settings.edgeRules === devSettings.edgeRules.fallback && settings.isExample,
    }),
  );
}

/** The example is a file of the program: what is served, and edited to try things, is a copy. */
async function withCopy(settings: DevSettings): Promise<DevSettings> {
  const directory = await mkdtemp(join(tmpdir(), 'edge-flag-relay-start-'));
  opened.push(() => rm(directory, { recursive: true, force: true }));
  const flagsFile = join(directory, 'flags.json');
  await copyFile(settings.flagsFile, flagsFile);
  return { ...settings, flagsFile, variables: { ...settings.variables, LD_FLAGS_FILE_local: flagsFile } };
}

function routingOf({ edgeFlag, edgeRules }: DevSettings, flags: KnownFlags): Routing {
  return chooseRouting(flags, { named: edgeFlag, withRules: edgeRules !== undefined });
}

/** The settings of the edge's router. Throws a RelayError that lists every problem of the file. */
function readRouter({ edgeRules }: DevSettings, { flagKey, chosen, origins }: Routing): LocalRouterSettings {
  if (edgeRules === undefined) {
    if (flagKey !== undefined) return { flagKey };
    throw new RelayError('CONFIG_INVALID', `${devSettings.edgeFlag.env}=none needs rules: set EDGE_RULES`);
  }
  try {
    return readEdgeFile(edgeRules, { flagKey, chosen, origins });
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const why = code === 'ENOENT' ? 'file not found' : message;
    throw new RelayError('CONFIG_INVALID', `${devSettings.edgeRules.env}=${edgeRules}: ${why}`);
  }
}

/** LaunchDarkly's flags, once they have arrived; undefined if that takes too long. */
async function arrivedFlags(relayUrl: string, sdkKey: string): Promise<KnownFlags | undefined> {
  const giveUp = Date.now() + FILLED_MS;
  for (;;) {
    const flags = await flagsOf(relayUrl, sdkKey);
    if (flags !== undefined || stopping || Date.now() > giveUp) return flags;
    await sleep(50);
  }
}

/** A user of whom the relay says that a rule or a target of the flag is about them. */
async function sampleFor(
  flagKey: string | undefined,
  flags: KnownFlags,
  at: { readonly relayUrl: string; readonly sdkKey: string },
): Promise<SampleContext | undefined> {
  const flag = flagKey === undefined ? undefined : flags[flagKey];
  if (flagKey === undefined || flag === undefined) return undefined;
  // A rule says more than a target, which comes first.
  for (const context of sampleContexts(flag).reverse()) {
    const answer = await askFlag(at, flagKey, context).catch(() => undefined);
    if (/^(RULE|TARGET)_MATCH$/.test(answer?.reason ?? '')) return context;
  }
  return undefined;
}

/** Waits until the first flags have reached the edge, or warns. */
async function filled(edge: LocalEdge): Promise<void> {
  const giveUp = Date.now() + FILLED_MS;
  while (!stopping && (await edge.status()).rev === undefined) {
    if (Date.now() > giveUp) return warn('no flags have arrived yet; viewers go to the default origin');
    await sleep(50);
  }
}

/** Registers what opens to be closed; if its port is taken, the error names the setting. */
async function open<T extends { close(): Promise<void> | void }>(opening: Promise<T>, port?: string): Promise<T> {
  try {
    const thing = await opening;
    opened.push(() => thing.close());
    return thing;
  } catch (error) {
    if (port !== undefined && (error as NodeJS.ErrnoException).code === 'EADDRINUSE') {
      throw new RelayError(
        'LISTEN_FAILED',
        `${port}: the port is already in use; choose another one, or stop the process that uses it`,
      );
    }
    throw error;
  }
}

/** Prints how long each edit of the flags file took to arrive everywhere. Errors in the file are logged by the relay. */
function createReports(
  { flagsFile, environment }: DevSettings,
  meterOf: () => PropagationMeter | undefined,
): (name: string, reload: FileReload) => Promise<void> {
  let before: Pick<FileReload, 'problem' | 'remarks'> = { remarks: [] };
  return async (name, reload) => {
    if (name !== environment.name) return;
    const { changed, problem, remarks } = reload;
    const last = before;
    before = problem === undefined ? reload : { problem, remarks: last.remarks };
    const meter = meterOf();
    if (meter === undefined || problem !== undefined) return;
    const file = shownPath(flagsFile);
    const notes = [
      ...(last.problem === undefined ? [] : [`${file} can be read again`]),
      ...(remarks.length > 0 ? [`${file} has ${counted(remarks.length, 'probable mistake')}`] : []),
      ...(remarks.length === 0 && last.remarks.length > 0 ? [`no probable mistake is left in ${file}`] : []),
    ];
    const mark = remarks.length > 0 ? '!' : '✓';
    const sign = colour ? painted(remarks.length > 0 ? 'yellow' : 'green', mark) : mark;
    if (changed === 0) {
      if (notes.length > 0) console.log(`${sign} ${notes.join('; ')}`);
      return;
    }
    const { mtimeMs } = await stat(flagsFile);
    const { streamMs, tableMs, edgeMs } = await meter.measure(mtimeMs);
    if (stopping) return;
    const ms = (value: number | undefined) => (value === undefined ? 'did not arrive' : `${value} ms`);
    const arrived = `${counted(changed, 'item')} changed: file → stream ${ms(streamMs)}, → table ${ms(tableMs)}, → edge ${ms(edgeMs)}`;
    console.log([`${sign} ${arrived}`, ...notes].join('; '));
  };
}

function describe(error: unknown): string {
  const text =
    error instanceof RelayError ? `${error.code}: ${error.message}` : String((error as Error)?.stack ?? error);
  return terminal.colour ? painted('red', text) : text;
}
