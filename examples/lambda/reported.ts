import { createExposures, createReader, createReport, type Report } from 'edge-flag-relay/edge-reader';

// #region reader
let report: Report | undefined;
const exposures = createExposures({ everyMs: 10_000, privateAttributes: ['email'] });
const reader = createReader(
  {
    tableName: process.env.FLAG_TABLE ?? 'edge-flag-relay-local',
    prefix: process.env.FLAG_PREFIX ?? 'local',
    replicas: { default: ['eu-west-1', 'us-east-1'] },
    endpoint: process.env.AWS_ENDPOINT_URL_DYNAMODB,
  },
  { exposures, onDecision: (decision) => report?.onDecision(decision) },
);
// Each variation of the flags listed here becomes a metric.
report = createReport({ namespace: 'Shop/flags', flags: ['canary-checkout'] }, reader.status);
// #endregion

export async function handler({ user }: { readonly user: string }) {
  const context = { kind: 'user', key: user, email: `${user}@example.com` };
  return { version: await reader.stringVariation('canary-checkout', context, 'stable') };
}

// Before the process ends, if you know when it does.
process.on('SIGTERM', () => exposures.flush());
