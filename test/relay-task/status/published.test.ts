/** Everything published to CloudWatch comes from an existing metric and its labels. */
import { measureRows } from '../../../relay-task/common/measures.ts';
import { createMetrics } from '../../../relay-task/status/metrics.ts';
import { dimensionLabels, published } from '../../../relay-task/status/published.ts';

const metrics = createMetrics();
afterAll(() => metrics.close());
const rows: Readonly<Record<string, { readonly labels: readonly string[] }>> = measureRows;

test.each(published.map((row) => [row.name, row] as const))(
  '%s comes from an existing metric and its labels',
  (_, { from, by, where = {} }) => {
    const isOfNode = from.startsWith('nodejs_') || from.startsWith('process_');
    if (isOfNode) expect(metrics.registry.getSingleMetric(from)).toBeDefined();
    const labels = isOfNode ? [] : rows[from]?.labels;
    expect(labels).toBeDefined();
    const needed = [...by.flat().map((dimension) => dimensionLabels[dimension]), ...Object.keys(where)];
    expect(needed.filter((label) => !labels?.includes(label))).toEqual([]);
  },
);
