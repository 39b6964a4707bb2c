import { overlay, readStage } from './parse-stage.ts';
import type { Stage } from './stage.ts';
import { isRecord } from './stage-readers.ts';
import type { StageSettings } from './stage-settings.ts';
import { dev } from './stages/dev.ts';
import { prod } from './stages/prod.ts';

export type { Stage } from './stage.ts';
export type { StageSettings } from './stage-settings.ts';

/** The stage files. Add yours here; its name is what follows `-c stage=`. */
export const stages: Readonly<Record<string, StageSettings>> = { dev, prod };

/** No stage has the name that was asked for. */
export class UnknownStage extends Error {
  override readonly name = 'UnknownStage';
  readonly known: readonly string[];

  constructor(stage: unknown, known: readonly string[]) {
    const use =
      known.length > 0 ? `use -c stage=${known.join(' or ')}` : 'there are no stages in the context of cdk.json';
    super(`stage ${JSON.stringify(stage)} is unknown: ${use}`);
    this.known = known;
  }
}

/**
 * The requested stage with its defaults. `context` is `stages` in `cdk.json`: new stages, or properties that override those
 * of the stage files. Throws UnknownStage, or one Error that lists every problem: the property, its value and what was expected.
 */
export function parseStage(name: unknown, known: Readonly<Record<string, unknown>> = stages, context?: unknown): Stage {
  if (context !== undefined && !isRecord(context)) {
    throw new Error('"stages" in cdk.json must be an object that maps names to stages');
  }
  const all = overlay(known, context) as Record<string, unknown>;
  if (typeof name !== 'string' || !Object.hasOwn(all, name)) {
    throw new UnknownStage(name, Object.keys(all));
  }
  return readStage(name, all[name]);
}
