import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseStage, type Stage, stages, UnknownStage } from '../lib/infrastructure/stages.ts';

/** The context in `cdk.json`: the CDK's feature flags, and `stages`, which overrides the stage files. */
export function cdkContext(): Readonly<Record<string, unknown>> {
  const file = join(import.meta.dirname, '../cdk.json');
  const { context = {} } = JSON.parse(readFileSync(file, 'utf8')) as { context?: Record<string, unknown> };
  return context;
}

/** The arguments of a command do not name a stage: a usage error. */
export class UnknownStageArgument extends Error {
  override readonly name = 'UnknownStageArgument';
}

/**
 * The stage as the CDK app reads it. `known`: instead of the stage files, for tests. Throws UnknownStageArgument, or one Error that lists
 * every problem of the stage.
 */
export function stageOf(name: string, known?: Readonly<Record<string, unknown>>): Stage {
  try {
    return known === undefined ? parseStage(name, stages, cdkContext().stages) : parseStage(name, known);
  } catch (error) {
    if (!(error instanceof UnknownStage)) throw error;
    const what = `stage ${JSON.stringify(name)} is unknown: expected ${error.known.join(' or ')}`;
    throw new UnknownStageArgument(what, { cause: error });
  }
}
