/** The flag table's attributes that DynamoDB itself uses. The first two are LaunchDarkly's daemon-mode schema. */
export const tableSchema = { partitionKey: 'namespace', sortKey: 'key', timeToLive: 'expiresAt' } as const;
