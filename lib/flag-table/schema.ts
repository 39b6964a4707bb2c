/** The flag table's attributes with a meaning to DynamoDB itself. The first two are LaunchDarkly's daemon-mode schema. */
export const tableSchema = { partitionKey: 'namespace', sortKey: 'key', timeToLive: 'expiresAt' } as const;
