/** CloudFormation's view of a stage. */
import type { Aws } from './ask.ts';
import { listAt, textAt, type Xml } from './xml.ts';

export interface DeployedStack {
  readonly name: string;
  readonly region: string;
  /** `CREATE_COMPLETE`, … */
  readonly status: string;
  readonly reason: string;
  readonly isProtected: boolean;
  readonly outputs: Readonly<Record<string, string>>;
}

export interface StackResource {
  readonly logicalId: string;
  /** `AWS::ECS::Service`, … */
  readonly type: string;
  /** A name, an ID or an ARN, as the type has it. */
  readonly id: string;
}

/** At most 100 resources a page, and 500 in a stack. */
const MAX_PAGES = 10;

/** Undefined if there is no such stack. */
export async function describeStack(aws: Aws, region: string, name: string): Promise<DeployedStack | undefined> {
  try {
    const answer = await aws.query('cloudformation', region, 'DescribeStacks', { StackName: name });
    const [stack] = listAt(answer, 'DescribeStacksResult', 'Stacks', 'member');
    if (stack === undefined) return undefined;
    const text = (...path: string[]) => textAt(stack, ...path);
    const outputs = listAt(stack, 'Outputs', 'member').map((one) => [
      textAt(one, 'OutputKey'),
      textAt(one, 'OutputValue'),
    ]);
    return {
      ...{ name, region, status: text('StackStatus'), reason: text('StackStatusReason') },
      isProtected: text('EnableTerminationProtection') === 'true',
      outputs: Object.fromEntries(outputs),
    };
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

/** Those that exist: resources whose creation failed have no ID. */
export async function resourcesOf(aws: Aws, region: string, name: string): Promise<StackResource[]> {
  const found: Xml[] = [];
  let next = '';
  for (let page = 0; page < MAX_PAGES; page += 1) {
    const input = { StackName: name, ...(next !== '' && { NextToken: next }) };
    const answer = await aws.query('cloudformation', region, 'ListStackResources', input);
    found.push(...listAt(answer, 'ListStackResourcesResult', 'StackResourceSummaries', 'member'));
    next = textAt(answer, 'ListStackResourcesResult', 'NextToken');
    if (next === '') break;
  }
  return found
    .filter((one) => textAt(one, 'ResourceStatus') !== 'DELETE_COMPLETE')
    .map((one) => ({
      logicalId: textAt(one, 'LogicalResourceId'),
      type: textAt(one, 'ResourceType'),
      id: textAt(one, 'PhysicalResourceId'),
    }))
    .filter(({ id }) => id !== '');
}

/** The text of the template in force. */
export async function templateOf(aws: Aws, region: string, name: string): Promise<string> {
  const answer = await aws.query('cloudformation', region, 'GetTemplate', { StackName: name });
  return textAt(answer, 'GetTemplateResult', 'TemplateBody');
}

/** `Stack with id … does not exist` is a ValidationError like others. */
function isMissing(error: unknown): boolean {
  return error instanceof Error && error.name === 'ValidationError' && /does not exist/.test(error.message);
}
