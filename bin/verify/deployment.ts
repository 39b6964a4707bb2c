/** What CloudFormation knows of a deployed stage: the basis of all other questions. */
import { commandText } from '../../lib/command-text.ts';
import type { Stage } from '../../lib/infrastructure/stages.ts';
import type { Aws } from '../aws/ask.ts';
import { explainAwsError } from '../aws/explain.ts';
import { findLeftStacks, leftAdvice } from '../aws/left-stacks.ts';
import type { OpenAws } from '../aws/open.ts';
import { type DeployedStack, describeStack, isSettled, resourcesOf, type StackResource } from '../aws/stacks.ts';
import { bad, type Check, good, inTurns, note, unknown } from '../checks/check.ts';

export interface Resource extends StackResource {
  readonly region: string;
  readonly stack: string;
}

export interface Deployment {
  readonly stage: Stage;
  readonly aws: Aws;
  /** The command that deploys it. */
  readonly deploy: string;
  /** Of all its stacks that exist. */
  readonly resources: readonly Resource[];
  /** By the name of the stack. */
  readonly stacks: ReadonlyMap<string, DeployedStack>;
}

/** Its resources of these types. */
export function resourcesIn({ resources }: Deployment, ...types: readonly string[]): Resource[] {
  return resources.filter(({ type }) => types.includes(type));
}

/** A stack's name without what all of the stage have in common. */
export function shortName({ name }: Stage, stackName: string): string {
  return stackName.replace(`edge-flag-relay-${name}-`, '');
}

export interface WantedPlace {
  readonly stackName: string;
  readonly region: string;
}

/** Every stack of the stage is there, complete and, in production, protected. */
export async function stackChecks(
  stage: Stage,
  aws: Aws,
  wanted: readonly WantedPlace[],
  deploy = `npx cdk deploy '${stage.name}/*' -c stage=${stage.name}`,
): Promise<{ readonly checks: readonly Check[]; readonly deployment: Deployment }> {
  const stacks = new Map<string, DeployedStack>();
  const resources: Resource[] = [];
  const checks = await inTurns(
    wanted,
    async ({ stackName, region }) => {
      const stack = await describeStack(aws, region, stackName);
      if (stack === undefined) {
        return [bad('stack', shortName(stage, stackName), `there is no stack ${stackName} in ${region}`, deploy)];
      }
      stacks.set(stackName, stack);
      const found = await resourcesOf(aws, region, stackName);
      resources.push(...found.map((one) => ({ ...one, region, stack: stackName })));
      return [stateCheck(stage, stack)];
    },
    ({ stackName, region }, error) =>
      unknown('stack', shortName(stage, stackName), 'cannot be described', explainAwsError(error, region)),
  );
  if (stacks.size === 0 && checks.every(({ state }) => state === 'bad')) {
    const none = bad('stack', stage.name, 'the stage is not deployed: none of its stacks exists', deploy);
    return { checks: [none], deployment: { stage, aws, deploy, resources, stacks } };
  }
  if (stage.production && !stage.protected) {
    const advice = 'set protected: true in the stage file, and deploy again';
    checks.push(note('stack', 'protection', 'nothing is protected from deletion yet', advice));
  }
  return { checks, deployment: { stage, aws, deploy, resources, stacks } };
}

/** The stage's stacks that its file does not ask for. */
export async function leftChecks(stage: Stage, open: OpenAws, wanted: readonly WantedPlace[]): Promise<Check[]> {
  const { left, checks } = await findLeftStacks(stage, open, wanted);
  return [
    ...checks,
    ...left.map((one) => {
      const { stackName, region, status } = one;
      const runs = status === 'DELETE_IN_PROGRESS' ? 'is being deleted' : 'runs';
      const what = `${runs} in ${region}, though it is not in the stage file`;
      return note('stack', shortName(stage, stackName), what, leftAdvice(one));
    }),
  ];
}

function stateCheck(stage: Stage, stack: DeployedStack): Check {
  const { name, region, status, reason, isProtected } = stack;
  const short = shortName(stage, name);
  if (!isSettled(stack)) {
    const undone = status === 'UPDATE_ROLLBACK_COMPLETE' ? ': the last deployment failed and was undone' : '';
    return bad(
      'stack',
      short,
      `${status}${reason ? ` (${reason})` : ''}${undone}`,
      commandText('preflight', stage.name),
    );
  }
  if (stage.protected && !isProtected) {
    const command = `aws cloudformation update-termination-protection --enable-termination-protection --region ${region} --stack-name ${name}`;
    return bad('stack', short, `${status}, not protected from deletion`, command);
  }
  return good('stack', short, `${status}${isProtected ? ', protected' : ''}`);
}
