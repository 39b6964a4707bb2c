import { DynamoDBClient, paginateScan } from '@aws-sdk/client-dynamodb';
import { localCredentials, useLocalCredentials } from '../dev/embedded-dynamodb.ts';
import type { Trial } from './trial.ts';

export async function tryTable({ running, output }: Trial): Promise<number> {
  const { dynamoDBUrl: endpoint, tableName: TableName } = running;
  useLocalCredentials();
  const client = new DynamoDBClient({ endpoint, region: 'us-east-1', credentials: localCredentials });
  const rows: string[][] = [];
  try {
    for await (const { Items = [] } of paginateScan({ client }, { TableName })) {
      for (const item of Items) {
        const bytes = Object.values(item).reduce((sum, value) => sum + JSON.stringify(value).length, 0);
        const version = item.version?.N ?? item.rev?.S ?? item.rev?.N ?? '';
        rows.push([item.namespace?.S ?? '', item.key?.S ?? '', version, `${bytes} bytes`]);
      }
    }
  } finally {
    client.destroy();
  }
  rows.sort((a, b) => (a.join(' ') < b.join(' ') ? -1 : 1));
  const all = [['namespace', 'key', 'version', 'size'], ...rows];
  const widths = [0, 1, 2].map((column) => Math.max(...all.map((row) => row[column]?.length ?? 0)));
  for (const [index, row] of all.entries()) {
    const line = row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ');
    output.out(`${index === 0 ? output.paint('dim', line) : line}\n`);
  }
  return 0;
}
