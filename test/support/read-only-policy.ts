import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Service and operation of each action of the policy that docs/deploying.md gives for `preflight` and `verify`. */
export function policyActions(): [service: string, operation: string][] {
  const page = readFileSync(join(import.meta.dirname, '../../docs/deploying.md'), 'utf8');
  const [, json = ''] = /```json\n(\{\n {2}"Version"[\s\S]*?)```/.exec(page) ?? [];
  const { Statement } = JSON.parse(json) as { Statement: { Action: string[] }[] };
  return Statement.flatMap(({ Action }) => Action).map((one) => one.split(':') as [string, string]);
}
