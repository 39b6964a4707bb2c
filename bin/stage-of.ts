import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { inClone } from '../lib/command-text.ts';
import { parseStage, type Stage, type StageSettings, stages, UnknownStage } from '../lib/infrastructure/stages.ts';
import { isObject } from '../relay-task/common/json.ts';

/** The stage files of the clone. The installed package has none: its example stages are not for deployment. */
export const stageFiles: Readonly<Record<string, StageSettings>> = inClone ? stages : {};

/** Where stages are written, as the end of an advice. */
export const STAGES_ARE = inClone
  ? 'the stage file in lib/infrastructure/stages'
  : '"stages" in the context of cdk.json';

/**
 * The context in `cdk.json`: the CDK's feature flags, and `stages`, which overrides the stage files. It is that of the clone; the installed
 * package reads the one in the current directory, as the CDK's command line does.
 */
export function cdkContext(): Readonly<Record<string, unknown>> {
  const file = inClone ? join(import.meta.dirname, '../cdk.json') : resolve('cdk.json');
  if (!existsSync(file)) return {};
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    throw new Error(`${file} cannot be read: ${(error as Error).message}`, { cause: error });
  }
  const context = isObject(value) ? (value.context ?? {}) : undefined;
  if (!isObject(context)) throw new Error(`${file} must be an object, and its "context" too`);
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
    return known === undefined ? parseStage(name, stageFiles, cdkContext().stages) : parseStage(name, known);
  } catch (error) {
    if (!(error instanceof UnknownStage)) throw error;
    const expected =
      error.known.length > 0
        ? `expected ${error.known.join(' or ')}`
        : 'cdk.json in this directory has no "stages" in its context; for a CDK app of your own pass --app cdk.out';
    throw new UnknownStageArgument(`stage ${JSON.stringify(name)} is unknown: ${expected}`, { cause: error });
  }
}
