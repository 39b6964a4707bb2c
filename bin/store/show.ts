import {
  type Attributes,
  compareRev,
  decodeCounts,
  decodeHead,
  decodeOfficialItem,
  type Head,
  type Item,
  type Kind,
  namespaces,
  type Rev,
} from '../../lib/flag-table/index.ts';
import { sleep } from '../../relay-task/common/pause.ts';
import type { Table } from '../../relay-task/store/dynamodb-client.ts';
import { defaultTimings } from '../../relay-task/store/timings.ts';
import { compareLayouts } from './compare.ts';
import type { Contents } from './contents.ts';

/** What `show` reports about one environment; times are Unix ms, sizes bytes. */
interface Report {
  readonly prefix: string;
  readonly head: Head | undefined;
  /** Why the head cannot be used. */
  readonly headProblem: string | undefined;
  readonly lease: 'renewed' | 'not renewed' | 'not looked at' | 'released' | 'none';
  readonly counts: Head['counts'];
  readonly snapshotProblem: string | undefined;
  readonly body: { readonly bytes: number; readonly items: number; readonly rev: Rev } | undefined;
  readonly delta: { readonly bytes: number; readonly ofBody: boolean } | undefined;
  readonly official: { flags: number; segments: number; deleted: number; unreadable: number; inited: boolean };
  readonly tooLarge: readonly string[];
  readonly bigSegments: { synchronizedOn: number | undefined; lastVersion: string | undefined } | undefined;
  /** Number of items that differ between the layouts; undefined without a snapshot. */
  readonly drift: number | undefined;
}

/** A little longer than the interval between renewals. */
export const usualLeaseWatchMs = defaultTimings.renewMs + 1_500;

/** `leaseWatchMs`: how long to wait for a renewal of the lease; 0 skips it. Rejects as `table` does. */
export async function examine(table: Table, contents: Contents, leaseWatchMs: number): Promise<Report> {
  const { parts, readable, rows, inited, bigSegments, prefix } = contents;
  const attributes = parts.get('head');
  const head = attributes && decodeHead(attributes);
  const good = head && !('problem' in head) ? head : undefined;
  const comparison = readable && compareLayouts(contents, readable.items);
  const delta = parts.get('delta');
  return {
    prefix,
    head: good,
    headProblem: head && 'problem' in head ? head.problem : undefined,
    lease: await lookAtLease(table, prefix, good, leaseWatchMs),
    counts: attributes && decodeCounts(attributes),
    snapshotProblem: contents.problem,
    body: readable && {
      bytes: bodyBytes(contents, readable.snapshot.bank),
      items: readable.items.length,
      rev: readable.snapshot.base,
    },
    delta: readable &&
      delta && { bytes: bytesOf(delta), ofBody: compareRev(readable.snapshot.rev, readable.snapshot.base) !== 0 },
    official: { ...countOfficial(rows), inited },
    tooLarge: comparison?.tooLarge.map(({ item, problem }) => `${item}: ${problem}`) ?? [],
    bigSegments: bigSegments && {
      synchronizedOn: numberOf(bigSegments.synchronizedOn),
      lastVersion: (bigSegments.lastVersion as { S?: string } | undefined)?.S,
    },
    drift: comparison?.differences.length,
  };
}

/** The head has no renewal time, since clocks are never compared; a renewal has to be observed. */
async function lookAtLease(
  table: Table,
  prefix: string,
  head: Head | undefined,
  watchMs: number,
): Promise<Report['lease']> {
  if (!head) return 'none';
  if (head.owner === '') return 'released';
  if (watchMs === 0) return 'not looked at';
  const key = { namespace: namespaces(prefix).snapshot, key: 'head' };
  const until = performance.now() + watchMs;
  while (performance.now() < until) {
    await sleep(Math.min(500, watchMs));
    const later = await table.get(key);
    const now = later && decodeHead(later);
    if (now && !('problem' in now) && (now.beat !== head.beat || now.epoch !== head.epoch)) return 'renewed';
  }
  return 'not renewed';
}

function countOfficial(rows: Contents['rows']): Omit<Report['official'], 'inited'> {
  const counts = { flags: 0, segments: 0, deleted: 0, unreadable: 0 };
  const names = { features: 'flags', segments: 'segments' } as const;
  for (const kind of Object.keys(names) as Kind[]) {
    for (const row of rows[kind]) {
      const item: Item | { problem: string } = decodeOfficialItem(kind, row);
      if ('problem' in item) counts.unreadable += 1;
      else counts[item.deleted ? 'deleted' : names[kind]] += 1;
    }
  }
  return counts;
}

function bodyBytes({ parts }: Contents, bank: 0 | 1 | undefined): number {
  const body = parts.get('body');
  const count = body ? (numberOf(body.parts) ?? 0) : 0;
  const rest = Array.from({ length: count }, (_, index) => parts.get(`part.${bank}.${index}`));
  return [body, ...rest].reduce((sum, part) => sum + (part ? bytesOf(part) : 0), 0);
}

function bytesOf({ data }: Attributes): number {
  return data && 'B' in data ? data.B.length : 0;
}

function numberOf(value: unknown): number | undefined {
  const text = (value as { N?: string } | undefined)?.N;
  return text === undefined ? undefined : Number(text);
}

const leaseTexts: Record<Report['lease'], string> = {
  renewed: 'is being renewed',
  'not renewed': `is not being renewed; another relay takes over after ${defaultTimings.expireMs / 1000} s without renewal`,
  'not looked at': 'is held; omit --quick to see whether it is being renewed',
  released: 'was released; no relay is writing',
  none: 'none; no relay of this project has written here',
};

/** The report as rows of two columns. */
export function reportRows(report: Report, now: number): (readonly [string, string])[] {
  const { head, headProblem, counts, body, delta, official, tooLarge, bigSegments, drift } = report;
  const rows: (readonly [string, string])[] = [['lease', leaseTexts[report.lease]]];
  if (headProblem !== undefined) rows.push(['head', `unusable: ${headProblem}`]);
  if (head) {
    rows.push(['owner', head.owner || 'nobody']);
    rows.push(['term', `epoch ${head.epoch}, beat ${head.beat}`]);
    rows.push(['revision', head.rev ? `${revText(head.rev)}, body ${revText(head.base)}` : 'none yet']);
    rows.push(['checked', head.checkedAt > 0 ? agoText(head.checkedAt, now) : 'never']);
  }
  if (counts) rows.push(['head counts', countText(counts)]);
  rows.push(['snapshot', body ? `${body.items} items, body of ${bytesText(body.bytes)}` : `${report.snapshotProblem}`]);
  if (delta)
    rows.push(['delta', `${bytesText(delta.bytes)}${delta.ofBody ? '' : ', unused: it belongs to an older body'}`]);
  const unreadable = official.unreadable > 0 ? `, ${official.unreadable} unreadable` : '';
  rows.push(['official', `${countText(official)}${unreadable}`]);
  rows.push(['marker', official.inited ? 'present' : 'missing: SDKs in daemon mode treat the environment as empty']);
  for (const one of tooLarge) rows.push(['too large', one]);
  if (bigSegments) {
    const { synchronizedOn, lastVersion } = bigSegments;
    const when = synchronizedOn ? `synchronised ${agoText(synchronizedOn, now)}` : 'never synchronised';
    rows.push(['big segments', `${when}, version ${lastVersion ? JSON.stringify(lastVersion) : 'none'}`]);
  }
  if (drift !== undefined) {
    const text = drift === 0 ? 'none; both layouts are equal' : `${drift} items differ; \`verify\` names them`;
    rows.push(['drift', text]);
  }
  return rows;
}

function revText(rev: Rev | undefined): string {
  return rev ? `${rev.epoch}.${rev.seq}` : 'none';
}

function countText({ flags, segments, deleted }: { flags: number; segments: number; deleted: number }): string {
  return `${flags} flags, ${segments} segments, ${deleted} deleted`;
}

function bytesText(bytes: number): string {
  return `${bytes.toLocaleString('en-US')} bytes`;
}

function agoText(at: number, now: number): string {
  const seconds = Math.max(0, Math.round((now - at) / 1000));
  const text = new Date(at).toISOString().slice(0, 19).replace('T', ' ');
  const [size, unit] = seconds < 120 ? [1, 's'] : seconds < 7_200 ? [60, 'min'] : [3_600, 'h'];
  return `${Math.round(seconds / size)} ${unit} ago (${text} UTC)`;
}
