/** Uses every subpath of the package. A type that became `any` would leave an `@ts-expect-error` unused, which is an error. */
import { OpenFeature } from '@openfeature/server-sdk';
import { App, Stack } from 'aws-cdk-lib';
import { type Call, createChain } from 'edge-flag-relay/chain';
import { EdgeFlagFunction, FlagTable, type FlagTableProps, RelayService } from 'edge-flag-relay/constructs';
import { createOfflineReader, createReader, type EvaluationContext, type Reader } from 'edge-flag-relay/edge-reader';
import { createViewerRequestHandler, type ViewerRequestConfig } from 'edge-flag-relay/edge-router';
import { bucketByHex, compileFlag, createEvaluator, type Detail } from 'edge-flag-relay/evaluation';
import { type Item, KINDS, tableSchema } from 'edge-flag-relay/flag-table';
import { createOpenFeatureProvider } from 'edge-flag-relay/openfeature';

const context: EvaluationContext = { kind: 'user', key: 'alice', plan: 'gold' };
const replicas = { default: ['us-east-1'] };
const reader: Reader = createReader(
  { tableName: 'flags', prefix: 'production', replicas },
  { onDecision: ({ flagKey }) => void flagKey },
);
export const variant: Promise<string> = reader.stringVariation('checkout', context, 'old');
// @ts-expect-error
createReader({ tableName: 'flags', replicas, prefx: 'production' });
// @ts-expect-error
reader.boolVariation('checkout', context, 'old');

const config: ViewerRequestConfig = {
  reader: { tableName: 'flags', replicas },
  flagKey: 'checkout',
  variants: ['old', 'new'],
  defaultVariant: 'old',
};
export const route = createViewerRequestHandler(config, reader);
// @ts-expect-error
createViewerRequestHandler({ ...config, variants: 'old' }, reader);

OpenFeature.setProvider(createOpenFeatureProvider(createOfflineReader({ flagValues: { checkout: 'new' } })));
// @ts-expect-error
createOpenFeatureProvider('reader');

const chain = createChain({ reader, keys: [{ id: 'a', secret: 'x'.repeat(32) }] });
export const call: Call = chain.join({}, context);
// @ts-expect-error
createChain({ reader });

const evaluator = createEvaluator({
  flag: (key) => compileFlag({ key, version: 1, on: true, variations: [1], fallthrough: { variation: 0 } }),
  segment: () => undefined,
  bucket: bucketByHex((text) => text),
});
export const detail: Detail<unknown> = evaluator.evaluate('checkout', context, 0);
// @ts-expect-error
createEvaluator({});

const partitionKey: 'namespace' = tableSchema.partitionKey;
const item: Item = { kind: KINDS[0], key: 'checkout', version: 1, deleted: false, json: '{}' };
export const row = { [partitionKey]: item.key };
// @ts-expect-error
export const misspelt: Item = { ...item, kind: 'flags' };

const stack = new Stack(new App(), 'Flags', { env: { region: 'us-east-1' } });
const props: FlagTableProps = { tableName: 'flags', replicaRegions: [] };
export const parts = [new FlagTable(stack, 'FlagTable', props), EdgeFlagFunction, RelayService];
// @ts-expect-error
new FlagTable(stack, 'Misspelt', { ...props, tabelName: 'flags' });
