import { overlay, readStage, type Stage } from './parse-stage.ts';
import { isRecord } from './stage-readers.ts';
import type { StageSettings } from './stage-settings.ts';
import { dev } from './stages/dev.ts';
import { prod } from './stages/prod.ts';

export type { Stage } from './parse-stage.ts';
export type { StageSettings } from './stage-settings.ts';

/** The stage files. Add yours beside them: its name here is the word after `-c stage=`. */
export const stages: Readonly<Record<string, StageSettings>> = { dev, prod };

/**
 * The stage asked for, defaults filled in. `context` is what `cdk.json` says under `stages`: stages of its own, or
 * properties laid over those of the stage files. Throws one Error that lists every problem, each naming the property, its
 * value and what would do.
 */
export function parseStage(name: unknown, known: Readonly<Record<string, unknown>> = stages, context?: unknown): Stage {
  if (context !== undefined && !isRecord(context)) {
    throw new Error('stages in cdk.json must be an object of stages by name');
  }
  const all = overlay(known, context) as Record<string, unknown>;
  if (typeof name !== 'string' || !Object.hasOwn(all, name)) {
    throw new Error(`stage ${JSON.stringify(name)} is not known: use -c stage=${Object.keys(all).join(' or ')}`);
  }
  return readStage(name, all[name]);
}
