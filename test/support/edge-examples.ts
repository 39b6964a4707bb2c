/** The settings of `edge` that docs/edge-router.md shows. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { EdgeSettings } from '../../lib/infrastructure/stage-settings.ts';

/** Their source, each an object literal's property `edge`. */
export function edgeExampleSources(): string[] {
  const page = readFileSync(join(import.meta.dirname, '../../docs/edge-router.md'), 'utf8');
  // The page hides a value that cannot be a header's.
  return [...page.matchAll(/```ts\n(edge: \{[\s\S]*?)```/g)].map(([, text]) => text!.replace('…', 'abc'));
}

export function edgeExamples(): EdgeSettings[] {
  return edgeExampleSources().map((source) => (new Function(`return { ${source} }`)() as { edge: EdgeSettings }).edge);
}
