import type { Attributes, SnapshotReaderOptions } from '../../../lib/flag-table/index.ts';

/** The snapshot reader's one `Query` as DynamoDB answers it, over a table that is read with `get`. */
export function queryOver(get: SnapshotReaderOptions['get']): NonNullable<SnapshotReaderOptions['query']> {
  return async ({ ExpressionAttributeValues: values }) => {
    const [namespace, from, to, rev] = [':n', ':d', ':h', ':r'].map((name) => (values[name] as { S: string }).S);
    const found = await get([from, to].map((key) => ({ namespace: namespace!, key: key! })));
    const isWanted = (item: Attributes | undefined): item is Attributes =>
      item !== undefined && ('beat' in item || String(Object(item.rev).S) > rev!);
    return found.filter(isWanted);
  };
}
