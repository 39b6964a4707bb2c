/**
 * `npm start`: the whole path on this machine. Flags from a file (or from LaunchDarkly) → relay → streams, and → an
 * embedded DynamoDB → the built Lambda@Edge functions → one of two sample origins.
 */
import { rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import packageJson from '../package.json' with { type: 'json' };
import { sleep } from '../relay-task/common/pause.ts';
import { parseConfig } from '../relay-task/config/config.ts';
import { RelayError } from '../relay-task/errors.ts';
import type { Log } from '../relay-task/ports.ts';
import { startRelay } from '../relay-task/relay.ts';
import type { FileReload } from '../relay-task/upstream/file.ts';
import { LOCAL_STAGE, type LocalEdge, startLocalEdge } from './dev/edge.ts';
import { LOCAL_ORIGINS, type LocalRouterSettings, readEdgeFile } from './dev/edge-file.ts';
import { startEmbeddedDynamoDB, useLocalCredentials } from './dev/embedded-dynamodb.ts';
import { type PropagationMeter, startPropagationMeter } from './dev/propagation.ts';
import { startSampleOrigins } from './dev/sample-origins.ts';
import { describeUnknownFlags, type KnownFlags } from './dev/unknown-flags.ts';
import { type DevSettings, devSettings, localTable, parseDevSettings } from './dev-settings.ts';

/** How long to wait for the first flags before printing the commands. */
const FILLED_MS = 10_000;

const SAME_SIGNAL_MS = 500;

/** Nothing listens there. */
const NOWHERE = 'http://127.0.0.1:1';

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
  if ('problems' in parsed) throw new RelayError('CONFIG_INVALID', parsed.problems.join('; '));
  await start(parsed.settings);
} catch (error) {
  // Not an error if it was stopped while starting.
  if (!stopping) {
    console.error(describe(error));
    await end(1);
  }
}

async function start(settings: DevSettings): Promise<void> {
  const { environment } = settings;
  useLocalCredentials();
  // Settings first, so that invalid ones are reported before anything is opened.
  parseConfig({ ...settings.variables, DYNAMODB_URL: 'http://127.0.0.1' });
  const router = readRouter(settings);

  const dynamoDB = await open(
    startEmbeddedDynamoDB({ port: settings.dynamoDBPort, tableName: localTable }),
    `${devSettings.dynamoDBPort.env}=${settings.dynamoDBPort}`,
  );
  const { config, warnings } = parseConfig({ ...settings.variables, DYNAMODB_URL: dynamoDB.endpoint });
  for (const warning of warnings) console.warn(`warning: ${warning}`);

  let meter: PropagationMeter | undefined;
  const relay = await open(
    startRelay(
      { ...config, drainWindowMs: 0 },
      {
        log: createPlainLog(),
        version: packageJson.version,
        onReload: (name, reload) => void reportReload(settings, name, reload, meter),
      },
    ),
  );
  await relay.stored();

  const origins = await open(startSampleOrigins());
  const edge = await open(
    startLocalEdge({
      port: settings.edgePort,
      table: {
        endpoint: settings.edgeReadsTable ? dynamoDB.endpoint : NOWHERE,
        name: localTable,
        prefix: environment.prefix,
      },
      ...router,
      origins: { stable: origins.stable, canary: origins.canary },
      defaultVariant: LOCAL_ORIGINS[0],
      refreshMs: 1_000,
      log: (line) => console.warn(`edge: ${line}`),
    }),
    `${devSettings.edgePort.env}=${settings.edgePort}`,
  );
  const relayUrl = `http://127.0.0.1:${relay.port}`;
  const sdkKey = config.environments.find(({ name }) => name === environment.name)?.sdkKey ?? '';
  meter = await open(startPropagationMeter({ relayUrl, sdkKey, dynamoDB, prefix: environment.prefix, edge }));
  if (settings.edgeReadsTable) await filled(edge);
  else console.warn('warning: EDGE_TABLE=off: the edge cannot read the table');
  const flags = await flagsOf(relayUrl, sdkKey);
  for (const said of flags ? describeUnknownFlags(router, flags, LOCAL_ORIGINS) : []) console.warn(`warning: ${said}`);
  const urls = { relayUrl, dynamoDBUrl: dynamoDB.endpoint, edgeUrl: edge.url };
  if (!stopping) console.log(welcome(settings, router, urls));
}

/** The settings of the edge's router. Throws a RelayError that lists every problem of the file. */
function readRouter({ edgeRules, edgeFlag: flagKey, edgeFlagChosen: chosen }: DevSettings): LocalRouterSettings {
  try {
    return readEdgeFile(edgeRules, { flagKey, chosen });
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const why = code === 'ENOENT' ? 'file not found' : message;
    throw new RelayError('CONFIG_INVALID', `${devSettings.edgeRules.env}=${edgeRules}: ${why}`);
  }
}

/** The environment's flags; undefined while they are not known. */
async function flagsOf(relayUrl: string, sdkKey: string): Promise<KnownFlags | undefined> {
  const answer = await fetch(`${relayUrl}/sdk/latest-all`, { headers: { Authorization: sdkKey } }).catch(
    () => undefined,
  );
  if (!answer?.ok) return undefined;
  const { flags } = (await answer.json()) as { readonly flags?: KnownFlags };
  return flags;
}

/** Waits until the first flags have reached the edge, or warns. */
async function filled(edge: LocalEdge): Promise<void> {
  const giveUp = Date.now() + FILLED_MS;
  while (!stopping && (await edge.status()).rev === undefined) {
    if (Date.now() > giveUp)
      return console.warn('warning: no flags have arrived yet; viewers go to the default origin');
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

/** Prints how long an edit of the flags file took to arrive everywhere. Errors in the file are logged by the relay. */
async function reportReload(
  { flagsFile, environment }: DevSettings,
  name: string,
  { changed }: FileReload,
  meter: PropagationMeter | undefined,
): Promise<void> {
  if (meter === undefined || name !== environment.name) return;
  if (changed === 0) return;
  const { mtimeMs } = await stat(flagsFile);
  const { streamMs, tableMs, edgeMs } = await meter.measure(mtimeMs);
  if (stopping) return;
  const ms = (value: number | undefined) => (value === undefined ? 'did not arrive' : `${value} ms`);
  const things = changed === 1 ? '1 item' : `${changed} items`;
  console.log(`✓ ${things} changed: file → stream ${ms(streamMs)}, → table ${ms(tableMs)}, → edge ${ms(edgeMs)}`);
}

function welcome(
  { environment, flagsFile, edgeRules }: DevSettings,
  { flagKey, rules = [], preview, shadow }: LocalRouterSettings,
  { relayUrl, dynamoDBUrl, edgeUrl }: { relayUrl: string; dynamoDBUrl: string; edgeUrl: string },
): string {
  const { fromFile, name, prefix } = environment;
  const source = fromFile ? `the file ${flagsFile}` : `LaunchDarkly, environment ${name}`;
  const keys = fromFile ? 'SDK key sdk-local, mobile key mob-local, client-side ID local' : 'your own keys';
  const cookies = join(tmpdir(), `flag-viewer-${process.pid}`);
  opened.push(() => rm(cookies, { force: true }));
  const visit = `curl -si -b ${cookies} -c ${cookies} ${edgeUrl}/ | grep -iE '^(set-cookie|x-flag|x-origin)'`;
  const scan = JSON.stringify({
    TableName: localTable,
    ProjectionExpression: '#n, #k, version, rev, checkedAt',
    ExpressionAttributeNames: { '#n': 'namespace', '#k': 'key' },
  });
  const [first] = rules;
  const decides = flagKey ?? first?.flagKey ?? '';
  const value = flagKey === undefined ? Object.keys(first?.variations ?? {})[0] : LOCAL_ORIGINS[1];
  const more = [
    edgeRules === devSettings.edgeRules.fallback && [
      `a rule of ${edgeRules}: another flag, for some paths, that rewrites the path and sets headers`,
      `curl -si ${edgeUrl}/search/shoes`,
    ],
    preview && [
      'a preview link for one browser; <key> is the file of npm run preview -- new-key <key>',
      `npm run -s preview -- link ${LOCAL_STAGE} ${decides}=${value} --site ${edgeUrl} --key <key>`,
    ],
    shadow && [
      'what an origin receives of shadow traffic: x-flag-shadow instead of the secret',
      `curl -s -H '${shadow.header}: <secret>' ${edgeUrl}/received`,
    ],
  ].flatMap((one) => (one ? [one] : []));
  const numbered = more.map(([what, command], index) => `\n  ${7 + index}. ${what}\n     ${command}`);
  return `
Flags come from ${source}.

  relay     ${relayUrl}   ${keys}
  DynamoDB  ${dynamoDBUrl}   table ${localTable}, prefix ${prefix}
  edge      ${edgeUrl}   ${flagKey === undefined ? `the rules of ${edgeRules} decide` : `flag ${flagKey} sends viewers to the origins ${LOCAL_ORIGINS.join(' and ')}`}

Try, in another terminal:

  1. route a new viewer
     ${visit}
  2. the same viewer gets the same origin again: the cookie holds the id that the flag's percentages are applied to
     ${visit}
  3. the stream a server SDK listens to (Ctrl-C to stop)
     curl -sN -H "Authorization: ${fromFile ? 'sdk-local' : '$LD_SDK_KEY'}" ${relayUrl}/all
  4. the items in the table
     curl -s ${dynamoDBUrl} --aws-sigv4 aws:amz:us-east-1:dynamodb --user local:local -H 'Content-Type: application/x-amz-json-1.0' -H 'X-Amz-Target: DynamoDB_20120810.Scan' -d '${scan}'
  5. ${fromFile ? `send everyone to canary by editing ${flagsFile} (undo: git checkout ${flagsFile})` : `turn ${decides} on or off in LaunchDarkly, then visit again`}
     ${fromFile ? `sed -i.bak -e 's/75000/0/' -e 's/25000/100000/' ${flagsFile} && rm ${flagsFile}.bak` : visit}
  6. what an origin receives: what CloudFront would send with the policies of a stage
     curl -s -b session=1 -H 'Authorization: Bearer x' ${edgeUrl}/received${numbered.join('')}

Ctrl-C stops everything.
`;
}

/** Plain lines instead of JSON. The relay drops those below its log level and its environments' own. */
function createPlainLog(): Log {
  const print =
    (name: keyof Log) =>
    (message: string, fields: Record<string, unknown> = {}) => {
      const details = Object.entries(fields).map(
        ([key, value]) => `${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`,
      );
      console.error(`${name}: ${message}${details.length > 0 ? ` (${details.join(', ')})` : ''}`);
    };
  return { debug: print('debug'), info: print('info'), warn: print('warn'), error: print('error') };
}

function describe(error: unknown): string {
  if (error instanceof RelayError) return `${error.code}: ${error.message}`;
  return String((error as Error)?.stack ?? error);
}
