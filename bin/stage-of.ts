import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseStage, type Stage, stages } from '../lib/infrastructure/stages.ts';

/** The context in `cdk.json`: the CDK's feature flags, and `stages`, which overrides the stage files. */
export function cdkContext(): Readonly<Record<string, unknown>> {
  const file = join(import.meta.dirname, '../cdk.json');
  const { context = {} } = JSON.parse(readFileSync(file, 'utf8')) as { context?: Record<string, unknown> };
  return context;
}

/** The stage as the CDK app reads it. `known`: instead of the stage files, for tests. Throws one Error that lists every problem. */
export function stageOf(name: string, known?: Readonly<Record<string, unknown>>): Stage {
  return known === undefined ? parseStage(name, stages, cdkContext().stages) : parseStage(name, known);
}
