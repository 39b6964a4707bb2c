/** Readers with exposures beside LaunchDarkly's Node SDK, which is asked the same and whose events are the oracle. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { init, integrations, type LDContext } from '@launchdarkly/node-server-sdk';
import {
  createExposures,
  createReader,
  type EvaluationContext,
  type ExposuresOptions,
  type Reader,
} from '../../../lambda/edge-reader/index.ts';
import { startEventsRecorder } from '../../interop/events-recorder.ts';
import { startTable, type TestTable } from '../../support/dynalite.ts';
import { silentLog } from '../../support/logs.ts';
import { closeAfterEach } from '../../support/opened.ts';
import type { ExposureCase } from './random-exposures.ts';
import { itemsOf, putSnapshot } from './table-writer.ts';

/** Each test file that imports this module closes what it opened after each of its tests. */
export const { behind, opened } = closeAfterEach();
export const env = { AWS_REGION: 'eu-west-1', AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'test' };

export type Event = Readonly<Record<string, unknown>>;
export type Ask = (from: Reader) => Promise<unknown>;

let table: TestTable | undefined;
let prefixes = 0;
afterAll(() => table?.close());

/** The table that has the flags of all readers, each at a prefix of its own. */
export async function sharedTable(): Promise<TestTable> {
  table ??= await startTable();
  return table;
}

/** The config of a reader of these flags. */
export async function configOf(data: Pick<ExposureCase, 'flags' | 'segments'>) {
  const where = await sharedTable();
  const { tableName, endpoint } = where;
  const prefix = `p${++prefixes}`;
  await putSnapshot(where, prefix, itemsOf(data as never), { epoch: 1, seq: 1 });
  const replicas = { default: ['eu-west-1'] };
  return { tableName, prefix, endpoint, replicas, bigSegments: false };
}

/** A reader of these flags and the lines that it writes. */
export async function openReader(
  data: Pick<ExposureCase, 'flags' | 'segments'>,
  options: ExposuresOptions = {},
  random = Math.random,
) {
  const lines: string[] = [];
  let at = 1_700_000_000_000;
  const exposures = createExposures(options, { random, now: () => at, write: (line) => lines.push(line) });
  const reader = createReader(await configOf(data), { env, exposures });
  await reader.ready();
  const sleep = (ms: number) => {
    at += ms;
  };
  return { reader, exposures, lines, sleep };
}

export const told = (lines: readonly string[]): Event[] => lines.flatMap((line) => JSON.parse(line).events as Event[]);

/** Runs the questions in the official SDK and returns the events that it sends. */
export async function officialEvents(data: ExposureCase, asks: readonly Ask[], options: object): Promise<Event[]> {
  const directory = mkdtempSync(join(tmpdir(), 'exposures-'));
  behind(() => rmSync(directory, { recursive: true }));
  const file = join(directory, 'flags.json');
  writeFileSync(file, JSON.stringify({ flags: data.flags, segments: data.segments }));
  const recorder = await startEventsRecorder();
  behind(() => recorder.close());
  const client = init('sdk-test', {
    ...{ eventsUri: recorder.uri, diagnosticOptOut: true, logger: silentLog, flushInterval: 3_600 },
    updateProcessor: new integrations.FileDataSourceFactory({ paths: [file] }).getFactory(),
    ...options,
  });
  behind(() => client.close());
  await client.waitForInitialization({ timeout: 60 });
  for (const ask of asks) await ask(client as unknown as Reader);
  await client.flush();
  return recorder.requests.flatMap(({ events }) => events);
}

/**
 * Full events without their dates, sorted, and the counters of all summaries, added up. `ofSeveral`: of several processes. Each notes the
 * first fallback that it meets, so they differ in which one it is.
 */
export function comparable(events: readonly Event[], ofSeveral = false) {
  const others = events
    .filter(({ kind }) => kind !== 'summary')
    .map((event) => sortedJson({ ...event, creationDate: 0 }));
  const counts: Record<string, number> = {};
  const about: Record<string, unknown> = {};
  for (const { features } of events.filter(({ kind }) => kind === 'summary')) {
    for (const [flag, { default: fallback, contextKinds, counters }] of Object.entries(features as Features)) {
      about[flag] ??= { ...(!ofSeveral && { fallback }), kinds: new Set() };
      for (const kind of contextKinds) (about[flag] as { kinds: Set<string> }).kinds.add(kind);
      for (const { count, ...counter } of counters) {
        if (ofSeveral && counter.variation === undefined) delete counter.value;
        const name = `${flag} ${sortedJson(counter)}`;
        counts[name] = (counts[name] ?? 0) + count;
      }
    }
  }
  return { others: others.sort(), counts, about };
}
type Features = Record<
  string,
  { default: unknown; contextKinds: string[]; counters: { count: number; variation?: number; value?: unknown }[] }
>;

const sortedJson = (value: unknown) =>
  JSON.stringify(value, (_, part) =>
    part && typeof part === 'object' && !Array.isArray(part) ? Object.fromEntries(Object.entries(part).sort()) : part,
  );

const FALLBACKS = ['other', null, undefined, { deep: [1] }, 7];
const METHODS = ['variation', 'variationDetail', 'boolVariation', 'numberVariationDetail', 'stringVariation'] as const;

export function randomAsks(data: ExposureCase, random: () => number, count: number): Ask[] {
  const pick = <T>(list: readonly T[]) => list[Math.floor(random() * list.length)] as T;
  return Array.from({ length: count }, () => {
    const method = pick(METHODS);
    const flag = pick([...Object.keys(data.flags), 'unknown']);
    const context = pick(data.contexts) as EvaluationContext & LDContext;
    // One for each flag, since a summary has the first of them only.
    const fallback = FALLBACKS[[...flag].reduce((sum, letter) => sum + letter.charCodeAt(0), 0) % FALLBACKS.length];
    return (from) => (from[method] as Reader['variation'])(flag, structuredClone(context), fallback);
  });
}
