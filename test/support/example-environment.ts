import { hash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { bucketByHex, compileFlag, compileSegment, createEvaluator, type Detail } from '../../lib/evaluation/index.ts';

export const exampleFile = join(import.meta.dirname, '../../examples/flags.json');

export interface Environment {
  flags: Record<string, Record<string, unknown>>;
  segments: Record<string, Record<string, unknown>>;
}

export function exampleEnvironment(): Environment {
  return JSON.parse(readFileSync(exampleFile, 'utf8'));
}

/** Contexts that reach every rule, target, rollout and segment of the example file. */
export const exampleContexts: readonly Record<string, unknown>[] = [
  { kind: 'user', key: 'alice' },
  { kind: 'user', key: 'tester', email: 't@example.com' },
  { kind: 'user', key: 'mallory', email: 'm@example.com' },
  { kind: 'user', key: 'carol', email: 'carol@example.com', joined: '2026-06-01T12:00:00Z' },
  { kind: 'user', key: 'dave', app: { version: '2.2.0' } },
  { kind: 'user', key: 'erin', app: { version: '2.1.0-rc.1' }, joined: 1_700_000_000_000 },
  { kind: 'organization', key: 'acme' },
  { kind: 'organization', key: 'globex' },
  { kind: 'multi', user: { key: 'frank' }, organization: { key: 'initech' } },
  ...Array.from({ length: 12 }, (_, index) => ({ kind: 'user', key: `viewer-${index}` })),
];

/** The results of our evaluator for one environment in plain JSON. */
export function evaluateAll(environment: Environment, fallback: unknown): Map<string, Detail> {
  const evaluator = createEvaluator({
    flag: (key) => (environment.flags[key] ? compileFlag(environment.flags[key]) : undefined),
    segment: (key) => (environment.segments[key] ? compileSegment(environment.segments[key]) : undefined),
    bucket: bucketByHex((text) => hash('sha1', text, 'hex')),
  });
  const answers = new Map<string, Detail>();
  for (const flag of Object.keys(environment.flags)) {
    for (const context of exampleContexts) {
      answers.set(JSON.stringify([flag, context]), evaluator.evaluate(flag, context, fallback));
    }
  }
  return answers;
}
