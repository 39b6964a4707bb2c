import type { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { decodeHead } from '../../lib/flag-table/index.ts';
import { awsNameOf } from '../../relay-task/common/aws-call.ts';
import { sleep } from '../../relay-task/common/pause.ts';
import { RelayError } from '../../relay-task/errors.ts';
import { type Condition, equal } from '../../relay-task/store/conditions.ts';
import { createDynamoDBClient, createTable, keyOf, type Table } from '../../relay-task/store/dynamodb-client.ts';
import { defaultTimings } from '../../relay-task/store/timings.ts';
import { regionIn } from '../aws/region.ts';
import { usageLine } from '../cli/usage.ts';
import { describeAwsError } from '../keys/store.ts';
import { tableOf } from '../keys/table.ts';
import { confirm, Declined, type Terminal } from '../keys/terminal.ts';
import { outboundOf } from '../outbound.ts';
import { type Env, type Place, parseArguments, type StoreCommand, usage } from './arguments.ts';
import { type Comparison, compareLayouts } from './compare.ts';
import { type Contents, isEmpty, readContents } from './contents.ts';
import { examine, reportRows, usualLeaseWatchMs } from './show.ts';

interface StoreRun {
  readonly terminal: Terminal;
  /** May hold the relay's variables. */
  readonly env: Env;
  /** Waits before the second look of `verify`; for tests. */
  readonly pause?: (ms: number) => Promise<void>;
  /** How long `show` waits for a renewal; for tests. */
  readonly leaseWatchMs?: number;
}

/** One place of a command, with what it takes to inspect it. */
interface Job extends Place {
  readonly table: Table;
  readonly command: StoreCommand;
  readonly terminal: Terminal;
  readonly pause: (ms: number) => Promise<void>;
  readonly leaseWatchMs: number;
}

/** How long a publication may take to bring both layouts together: bodies are 10 s apart. */
const LOOK_AGAIN_MS = 12_000;

/** Returns the exit code: 0 success, 1 differences found or not done, 2 usage error or table unreadable. */
export async function runStore(args: readonly string[], run: StoreRun): Promise<number> {
  const { terminal, env, pause = sleep, leaseWatchMs = usualLeaseWatchMs } = run;
  const command = parseArguments(args, env);
  if (command === 'help') {
    terminal.out(usage);
    return 0;
  }
  if ('problems' in command) {
    for (const problem of command.problems) terminal.say(`${problem}\n`);
    terminal.say(usageLine('store'));
    return 2;
  }
  const { endpoint } = command;
  const region = command.region ?? regionIn(env) ?? (endpoint ? 'us-east-1' : undefined);
  let client: DynamoDBClient | undefined;
  let worst = 0;
  try {
    client = createDynamoDBClient({ region, endpoint, maxAttempts: 3, agents: outboundOf(env).awsAgents() });
    for (const place of command.places) {
      const table = tableFor(client, place);
      worst = Math.max(worst, await perform({ ...place, table, command, terminal, pause, leaseWatchMs }));
    }
    return worst;
  } catch (error) {
    if (!(error instanceof RelayError)) throw error;
    terminal.say(`${error.message}\n`);
    return 2;
  } finally {
    client?.destroy();
  }
}

function tableFor(client: DynamoDBClient, { tableName }: Place): Table {
  // A person can wait longer than a relay.
  const timings = { ...defaultTimings, requestTimeoutMs: 10_000 };
  return createTable({ client, tableName, timings, observer: { wrote() {}, retried() {} } });
}

async function perform(job: Job): Promise<number> {
  const { command, terminal, tableName, prefix, table } = job;
  try {
    const contents = await readContents(table, prefix);
    if (isEmpty(contents)) {
      terminal.say(`No data in ${nameOfPlace(job)}. Check --prefix, --table and --region.\n`);
      return 2;
    }
    if (command.verb === 'show') return await show(job, contents);
    if (command.verb === 'verify') return await verify(job, contents);
    return await dropSnapshot(job, contents);
  } catch (error) {
    if (error instanceof Declined) {
      terminal.say(`Nothing was removed: ${error.message}.\n`);
      return 1;
    }
    terminal.say(`${describe(error, tableName, command)}\n`);
    return 2;
  }
}

async function show(job: Job, contents: Contents): Promise<number> {
  const { terminal, command, table, tableName } = job;
  const report = await examine(table, contents, command.quick ? 0 : job.leaseWatchMs);
  if (command.json) terminal.out(`${JSON.stringify({ table: tableName, ...report })}\n`);
  else terminal.out(`${nameOfPlace(job)}\n${tableOf(reportRows(report, Date.now()))}`);
  return 0;
}

/** The two layouts are not written atomically, so differences are checked twice. */
async function verify(job: Job, first: Contents): Promise<number> {
  const { terminal, command, table, tableName, prefix, pause } = job;
  let contents = first;
  let comparison = compare(contents);
  if (!command.quick && (!comparison || comparison.differences.length > 0)) {
    terminal.say(
      `Differences found; checking again in ${LOOK_AGAIN_MS / 1000} s in case a change is being published.\n`,
    );
    await pause(LOOK_AGAIN_MS);
    contents = await readContents(table, prefix);
    const again = compare(contents);
    const before = new Set(comparison?.differences.map(({ item, problem }) => `${item} ${problem}`));
    const stays = ({ item, problem }: { item: string; problem: string }) => before.has(`${item} ${problem}`);
    // A new difference is a change that is being published.
    comparison = again && comparison ? { ...again, differences: again.differences.filter(stays) } : again;
  }
  const place = nameOfPlace(job);
  const { differences = [], alike = 0, tooLarge = [] } = comparison ?? {};
  if (command.json) {
    const problem = comparison ? undefined : contents.problem;
    terminal.out(`${JSON.stringify({ table: tableName, prefix, alike, differences, tooLarge, problem })}\n`);
    return comparison && differences.length === 0 ? 0 : 1;
  }
  if (!comparison) {
    terminal.out(`${place}: cannot compare the snapshot: ${contents.problem}\n`);
    return 1;
  }
  for (const { item, problem } of tooLarge) terminal.say(`Note: ${item}: ${problem}.\n`);
  for (const { item, problem } of differences) terminal.out(`${item}: ${problem}\n`);
  terminal.out(`${place}: ${differences.length} differ, ${alike} items are the same in both layouts\n`);
  return differences.length === 0 ? 0 : 1;
}

function compare(contents: Contents): Comparison | undefined {
  return contents.readable && compareLayouts(contents, contents.readable.items);
}

const exists: Condition = { expression: 'attribute_exists(#cKey)', names: { '#cKey': 'key' }, values: {} };

/** The head goes first: from then on readers use LaunchDarkly's layout. */
async function dropSnapshot(job: Job, { parts, inited }: Contents): Promise<number> {
  const { terminal, command, table } = job;
  if (parts.size === 0) {
    terminal.out(`${nameOfPlace(job)} has no snapshot.\n`);
    return 0;
  }
  const head = parts.get('head');
  const decoded = head && decodeHead(head);
  const owner = decoded && !('problem' in decoded) ? decoded.owner : '';
  if (!inited) terminal.say('LaunchDarkly’s layout is incomplete: without the snapshot readers have no data.\n');
  if (owner !== '') terminal.say(`${owner} holds the lease: if it is running, it writes a new snapshot at once.\n`);
  const question = `Remove the snapshot (${parts.size} items) of ${nameOfPlace(job)}?`;
  if (!command.yes && !(await confirm(terminal, question))) {
    terminal.say('Nothing was removed. Pass --yes to skip the confirmation.\n');
    return 1;
  }
  const rest = [...parts].filter(([key]) => key !== 'head').map(([, row]) => row);
  let removed = 0;
  if (head && (await table.remove('head', keyOf(head), exists))) removed += 1;
  for (const row of rest) {
    // Keeps what a relay has rewritten meanwhile.
    const condition = row.rev ? equal({ rev: row.rev }) : exists;
    if (await table.remove('part', keyOf(row), condition)) removed += 1;
  }
  const newer = parts.size - removed;
  const kept = newer > 0 ? `; kept ${newer} that were rewritten meanwhile` : '';
  terminal.out(`Removed ${removed} snapshot items of ${nameOfPlace(job)}${kept}.\n`);
  return 0;
}

function nameOfPlace({ tableName, prefix }: Place): string {
  return `table ${tableName}, ${prefix === '' ? 'no prefix' : `prefix ${prefix}`}`;
}

function describe(error: unknown, tableName: string, { region, endpoint }: StoreCommand): string {
  const where = endpoint ?? region ?? 'AWS';
  const text = error instanceof Error ? error.message : String(error);
  if (awsNameOf(error) === 'ResourceNotFoundException')
    return `Table ${tableName} does not exist in ${where}. Check --table and --region.`;
  if (awsNameOf(error) === 'AccessDeniedException') {
    return `AWS denied access: this needs dynamodb:Query and dynamodb:GetItem, and dynamodb:DeleteItem to drop. AWS says: ${text}`;
  }
  if (/region is missing/i.test(text)) return 'No region is set. Pass --region, e.g. --region eu-west-1';
  return describeAwsError(error, where);
}
