import { readReplacementRules } from '../../lib/infrastructure/replacement-rules.ts';
import type { StackTemplate, Template } from '../../lib/infrastructure/template.ts';
import { describeUpdateProblems } from '../../lib/infrastructure/update-problems.ts';
import { templateOf } from '../aws/stacks.ts';
import { bad, type Check, good, inTurns, note, unknown } from '../checks/check.ts';
import { describeAwsError } from '../keys/store.ts';
import type { LookedAt } from './looked-at.ts';

/** What the next deployment would replace, remove or be refused, from the templates in force and the new ones. */
export async function updateChecks({ aws, wanted, deployed }: LookedAt): Promise<Check[]> {
  // Without these there is nothing to update: the deployment creates them anew.
  const existing = [...deployed.values()].filter(({ status }) => !/^(ROLLBACK_|REVIEW_|DELETE_)/.test(status));
  const templates: StackTemplate[] = [];
  const checks = await inTurns(
    existing,
    async ({ name, region }) => {
      const template = JSON.parse(await templateOf(aws, region, name)) as Template;
      templates.push({ stackName: name, region, template });
      return [];
    },
    ({ name, region }, error) =>
      unknown('update', name, `cannot compare the template of the stack ${name}`, describeAwsError(error, region)),
  );
  if (templates.length === 0) return checks;
  // Compared with what is missing, everything of a stack would be new.
  const known = new Set(templates.map(({ stackName }) => stackName));
  const comparable = wanted.filter(({ stackName }) => known.has(stackName) || !deployed.has(stackName));
  const problems = describeUpdateProblems(templates, comparable, readReplacementRules());
  const found = problems.map(({ refused, stackName, resource = stackName, what, advice }) =>
    (refused ? bad : note)('update', resource, what, advice),
  );
  if (found.length > 0 || checks.length > 0) return [...checks, ...found];
  return [good('update', String(templates.length), 'the deployment replaces nothing that has data or an address')];
}
