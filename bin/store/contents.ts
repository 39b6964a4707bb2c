/** One environment's whole content of the table, read without a relay. */
import {
  type Attributes,
  compareRev,
  createSnapshotReader,
  type Item,
  namespaces,
  type Snapshot,
} from '../../lib/flag-table/index.ts';
import { type Table, textOf } from '../../relay-task/store/dynamodb-client.ts';
import { readContent, type TableContent } from '../../relay-task/store/dynamodb-database.ts';
import { createReadMemory, startReading } from '../../relay-task/store/read-memory.ts';

export interface Contents extends TableContent {
  readonly prefix: string;
  /** The snapshot's items by sort key: `head`, `body`, `delta`, `part.0.0`, … */
  readonly parts: ReadonlyMap<string, Attributes>;
  /** What readers of the snapshot get; if undefined, `problem` says why. */
  readonly readable: { readonly snapshot: Snapshot; readonly items: readonly Item[] } | undefined;
  readonly problem: string | undefined;
  readonly bigSegments: Attributes | undefined;
}

export async function readContents(table: Table, prefix: string): Promise<Contents> {
  const { bigSegmentsMetadata } = namespaces(prefix);
  const { take } = startReading(createReadMemory());
  const [content, bigSegments] = await Promise.all([
    readContent(table, prefix, take),
    table.get({ namespace: bigSegmentsMetadata, key: bigSegmentsMetadata }),
  ]);
  const parts = new Map(content.snapshot.map((row) => [textOf(row, 'key'), row]));
  const get = async (keys: readonly { key: string }[]) => keys.map(({ key }) => parts.get(key));
  const reading = await createSnapshotReader({ prefix, get }).cold();
  const common = { ...content, prefix, parts, bigSegments };
  const broken = (problem: string) => ({ ...common, readable: undefined, problem });
  if (reading.kind === 'absent') return broken('none');
  if (reading.kind === 'refused') return broken(reading.reason);
  if (reading.kind === 'unchanged') return broken('nothing new');
  const { snapshot, head } = reading;
  const items = [...snapshot.items()];
  if (snapshot.problem !== undefined) return broken(snapshot.problem);
  if (compareRev(snapshot.rev, head.rev) < 0) return broken('the head names a revision that does not exist');
  return { ...common, readable: { snapshot, items }, problem: undefined };
}

/** Whether the table has nothing of this environment. */
export function isEmpty({ rows, inited, snapshot, bigSegments }: Contents): boolean {
  return rows.features.length + rows.segments.length + snapshot.length === 0 && !inited && bigSegments === undefined;
}
