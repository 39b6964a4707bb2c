import { type ChainKey, type ChainReport, createChain, createChainReport } from 'edge-flag-relay/chain';
import { createReader, type ReaderConfig } from 'edge-flag-relay/edge-reader';
import { GREETING } from './hello.ts';

/** The settings of both functions, which the stack passes as JSON in the variable `SETTINGS`. */
export interface ServiceSettings {
  readonly reader: ReaderConfig;
  readonly keys: readonly ChainKey[];
  readonly namespace: string;
}

/** At module load: the first read runs while Lambda initialises. */
export function startService() {
  const { reader: config, keys, namespace }: ServiceSettings = JSON.parse(process.env.SETTINGS ?? '{}');
  let report: ChainReport | undefined;
  const reader = createReader(config, { onDecision: (decision) => report?.onDecision(decision) });
  report = createChainReport({ namespace, flags: [GREETING] }, reader.status);
  return createChain({ reader, prefix: config.prefix ?? '', keys, report });
}
