import { CreateTableCommand, DynamoDBClient, GetItemCommand } from '@aws-sdk/client-dynamodb';
import dynalite from 'dynalite';
import { type Attributes, decodeHead, type Head, namespaces, tableSchema } from '../../lib/flag-table/index.ts';
import { close, listen } from './sample-origins.ts';

export interface EmbeddedDynamoDB {
  readonly endpoint: string;
  /** The current head of an environment's snapshot. */
  head(prefix: string): Promise<Head | undefined>;
  close(): Promise<void>;
}

/** The embedded server accepts any credentials; these keep real ones from being used. */
export const localCredentials = { accessKeyId: 'local', secretAccessKey: 'local' } as const;

/** For everything in this process that talks to AWS. */
export function useLocalCredentials(): void {
  Object.assign(process.env, {
    AWS_ACCESS_KEY_ID: localCredentials.accessKeyId,
    AWS_SECRET_ACCESS_KEY: localCredentials.secretAccessKey,
    AWS_SESSION_TOKEN: '',
    // Hides the SDK's notice about its future releases.
    AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true',
  });
}

/** A DynamoDB server in this process, in memory, on 127.0.0.1, with the flag table. Rejects if the port is in use. */
export async function startEmbeddedDynamoDB(options: { port: number; tableName: string }): Promise<EmbeddedDynamoDB> {
  const { tableName } = options;
  const server = dynalite({ createTableMs: 0 });
  // Node closes idle connections after 5 s, just when the relay renews its lease.
  server.keepAliveTimeout = 0;
  const endpoint = await listen(server, options.port);
  const client = new DynamoDBClient({ endpoint, region: 'us-east-1', credentials: localCredentials });
  const { partitionKey, sortKey } = tableSchema;
  await client.send(
    new CreateTableCommand({
      TableName: tableName,
      BillingMode: 'PAY_PER_REQUEST',
      AttributeDefinitions: [partitionKey, sortKey].map((name) => ({ AttributeName: name, AttributeType: 'S' })),
      KeySchema: [
        { AttributeName: partitionKey, KeyType: 'HASH' },
        { AttributeName: sortKey, KeyType: 'RANGE' },
      ],
    }),
  );
  return {
    endpoint,
    async head(prefix) {
      const Key = { [partitionKey]: { S: namespaces(prefix).snapshot }, [sortKey]: { S: 'head' } };
      const { Item } = await client.send(new GetItemCommand({ TableName: tableName, Key }));
      const head = Item && decodeHead(Item as Attributes);
      return head && !('problem' in head) ? head : undefined;
    },
    async close() {
      client.destroy();
      await close(server);
    },
  };
}
