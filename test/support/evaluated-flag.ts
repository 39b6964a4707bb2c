import type { Reason } from '../../lib/evaluation/index.ts';
import type { EvaluatedFlag } from '../../relay-task/ports.ts';

interface Evaluated {
  readonly value: unknown;
  readonly variation: number | null;
  readonly version: number;
  readonly [others: string]: unknown;
}

/** `data`: the flag's member in an evalx answer. */
export function evaluatedFlag(key: string, data: Evaluated, reason: Reason = { kind: 'FALLTHROUGH' }): EvaluatedFlag {
  const { value, ...others } = data;
  const json = JSON.stringify(value ?? null);
  const rest = `,${JSON.stringify(others).slice(1)}`;
  const { variation, version } = data;
  return { key, version, variation, reason, value: { json }, rest, json: `{"value":${json}${rest}` };
}
