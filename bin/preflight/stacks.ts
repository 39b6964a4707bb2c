import type { Stage } from '../../lib/infrastructure/stages.ts';
import type { StackTemplate } from '../../lib/infrastructure/template.ts';
import type { Aws } from '../aws/ask.ts';
import { explainAwsError } from '../aws/explain.ts';
import { findLeftStacks, leftAdvice } from '../aws/left-stacks.ts';
import type { OpenAws } from '../aws/open.ts';
import { type DeployedStack, describeStack, isSettled, resourcesOf, type StackResource } from '../aws/stacks.ts';
import { bad, type Check, good, inTurns, note, unknown } from '../checks/check.ts';
import { ownedName } from './looked-at.ts';

export interface Found {
  readonly checks: readonly Check[];
  readonly deployed: ReadonlyMap<string, DeployedStack>;
  readonly owned: ReadonlySet<string>;
  readonly resources: ReadonlyMap<string, readonly StackResource[]>;
  /** Regions of stacks that could not be described, or not completely. */
  readonly unseen: ReadonlySet<string>;
}

/** The stage's stacks that exist: whether they can be updated, and what they own. */
export async function stackChecks(
  stage: Pick<Stage, 'name' | 'protected'>,
  aws: Aws,
  wanted: readonly StackTemplate[],
): Promise<Found> {
  const deployed = new Map<string, DeployedStack>();
  const owned = new Set<string>();
  const resources = new Map<string, readonly StackResource[]>();
  const absent = new Set<string>();
  const unseen = new Set<string>();
  const checks = await inTurns(
    wanted,
    async ({ region, stackName }) => {
      const stack = await describeStack(aws, region, stackName);
      if (stack === undefined) {
        absent.add(stackName);
        return [];
      }
      deployed.set(stackName, stack);
      const made = await resourcesOf(aws, region, stackName);
      resources.set(stackName, made);
      for (const { type, id } of made) owned.add(ownedName(region, type, id));
      return [stateCheck(stage.name, stack)];
    },
    ({ region, stackName }, error) => {
      unseen.add(region);
      return unknown('stack', stackName, `cannot describe the stack ${stackName}`, explainAwsError(error, region));
    },
  );
  const found = { deployed, owned, resources, unseen };
  const missing = wanted.map(({ stackName }) => stackName).filter((name) => absent.has(name));
  if (stage.protected && missing.length > 0) {
    const what = `protected is true, but ${missing.join(', ')} ${missing.length === 1 ? 'does' : 'do'} not exist yet`;
    const why = 'if the creation failed, it could be neither rolled back nor repeated';
    const advice = 'set protected: false and deploy; then set it to true and deploy again';
    return { ...found, checks: [...checks, bad('stack', 'protected', `${what}: ${why}`, advice)] };
  }
  if (deployed.size === 0 && checks.length === 0) {
    return { ...found, checks: [good('stack', 'none', 'no stack of the stage exists yet')] };
  }
  return { ...found, checks };
}

/** The stage's stacks that its file does not ask for. */
export async function leftChecks(stage: Stage, open: OpenAws, wanted: readonly StackTemplate[]): Promise<Check[]> {
  const { left, checks } = await findLeftStacks(stage, open, wanted);
  return [
    ...checks,
    ...left.map((one) => {
      const { stackName, region, status } = one;
      const runs = status === 'DELETE_IN_PROGRESS' ? 'it is being deleted' : 'the deployment leaves it running';
      const what = `the stack ${stackName} in ${region} is not in the stage file: ${runs}`;
      return note('stack', stackName, what, leftAdvice(one));
    }),
  ];
}

/** What `cdk deploy` makes of a stack in this state. AWS: "Stack status codes"; the rest is the CDK's own (toolkit-lib, deployStack). */
function stateCheck(stage: string, stack: DeployedStack): Check {
  const { name, region, status, reason, isProtected } = stack;
  const what = `the stack ${name} is ${status}${reason ? `: ${reason}` : ''}`;
  if (isSettled(stack)) return good('stack', name, what);
  const at = `--region ${region} --stack-name ${name}`;
  const unprotect = `aws cloudformation update-termination-protection --no-enable-termination-protection ${at}`;
  const remove = `${isProtected ? `${unprotect} && ` : ''}aws cloudformation delete-stack ${at}`;
  switch (status) {
    // Its creation failed. The CDK deletes it, which protection forbids, and creates it again.
    case 'ROLLBACK_COMPLETE':
    case 'ROLLBACK_FAILED':
      return isProtected
        ? bad('stack', name, `${what}, and protected from the deletion that must come first`, remove)
        : note('stack', name, `${what}: the deployment deletes it first`);
    case 'DELETE_FAILED':
      return bad('stack', name, what, remove);
    case 'CREATE_FAILED':
    case 'UPDATE_FAILED':
    case 'UPDATE_ROLLBACK_FAILED':
      return bad('stack', name, what, `npx cdk rollback '${stage}/*' -c stage=${stage}`);
    case 'REVIEW_IN_PROGRESS':
      return note('stack', name, `${what}: it is empty, and the deployment fills it`);
    case 'UPDATE_ROLLBACK_COMPLETE':
      return note('stack', name, `${what}: the last deployment failed and was undone`);
    case 'IMPORT_ROLLBACK_FAILED': {
      const advice = `in the CloudFormation console: continue update rollback; what failed: aws cloudformation describe-stack-events ${at}`;
      return bad('stack', name, what, advice);
    }
    default:
      return status.endsWith('_IN_PROGRESS')
        ? bad('stack', name, what, 'wait until it is done: CloudFormation makes one change at a time')
        : unknown(
            'stack',
            name,
            `the stack ${name} is in the state ${JSON.stringify(status)}, which preflight does not know`,
          );
  }
}
