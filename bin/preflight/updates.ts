import { readReplacementRules } from '../../lib/infrastructure/replacement-rules.ts';
import type { StackTemplate, Template } from '../../lib/infrastructure/template.ts';
import { describeUpdateProblems } from '../../lib/infrastructure/update-problems.ts';
import { explainAwsError } from '../aws/explain.ts';
import { type DeployedStack, describeStack, templateOf } from '../aws/stacks.ts';
import { bad, type Check, good, inTurns, note, unknown } from '../checks/check.ts';
import type { LookedAt } from './looked-at.ts';

/** What the next deployment would replace, remove or be refused, from the templates in force and the new ones. */
export async function updateChecks(looked: LookedAt): Promise<Check[]> {
  const { aws, wanted, deployed } = looked;
  // Stacks in these states are not updated: the deployment creates them again.
  const existing = [...deployed.values(), ...(await formerTable(looked))].filter(
    ({ status }) => !/^(ROLLBACK_|REVIEW_|DELETE_)/.test(status),
  );
  const templates: StackTemplate[] = await formerHomes(looked);
  const checks = await inTurns(
    existing,
    async ({ name, region }) => {
      const template = JSON.parse(await templateOf(aws, region, name)) as Template;
      templates.push({ stackName: name, region, template });
      return [];
    },
    ({ name, region }, error) =>
      unknown('update', name, `cannot compare the template of the stack ${name}`, explainAwsError(error, region)),
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

/** The stack of the stage's own table, where the stage file has come to say `table: 'existing'`. */
async function formerTable({ aws, stage, wanted }: LookedAt): Promise<DeployedStack[]> {
  const stackName = `edge-flag-relay-${stage.name}-data`;
  if (wanted.length === 0 || wanted.some((one) => one.stackName === stackName)) return [];
  const { homeRegion: region } = stage;
  // One that cannot be described may exist. Asking for its template then tells why that is unknown.
  const unknownStack = { name: stackName, region, status: '', reason: '', isProtected: false, outputs: {} };
  const stack = await describeStack(aws, region, stackName).catch(() => unknownStack);
  return stack ? [stack] : [];
}

/** The stage's relay in a region that is only a replica's now: homeRegion was another one when it was deployed. */
async function formerHomes({ aws, stage, deployed }: LookedAt): Promise<StackTemplate[]> {
  const stackName = `edge-flag-relay-${stage.name}-relay`;
  if (deployed.has(stackName)) return [];
  const found: StackTemplate[] = [];
  for (const region of stage.replicaRegions) {
    // That stacks cannot be described has been told before.
    const stack = await describeStack(aws, region, stackName).catch(() => undefined);
    if (stack !== undefined) found.push({ stackName, region, template: {} });
  }
  return found;
}
