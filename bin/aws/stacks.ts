/** CloudFormation's view of a stage. */
import { type Aws, NotAnAnswer } from './ask.ts';
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

/** The last change is complete, or an import was undone, which changes no resource. CloudFormation User Guide: "Stack status codes". */
export function isSettled({ status }: DeployedStack): boolean {
  return /^(CREATE|UPDATE|IMPORT|IMPORT_ROLLBACK)_COMPLETE$/.test(status);
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
const MAX_STACK_PAGES = 50;

/** The members of a list that AWS always sends, if need be empty: without it nothing is known of what it would hold. */
function listOf(answer: Xml, region: string, action: string, list: string): readonly Xml[] {
  const [content] = listAt(answer, `${action}Result`);
  if (typeof content !== 'object' || !Object.hasOwn(content, list))
    throw new NotAnAnswer(`cloudformation in ${region}`, `no ${list}`);
  return listAt(content, list, 'member');
}

/** Undefined if there is no such stack. */
export async function describeStack(aws: Aws, region: string, name: string): Promise<DeployedStack | undefined> {
  try {
    const answer = await aws.query('cloudformation', region, 'DescribeStacks', { StackName: name });
    const [stack] = listOf(answer, region, 'DescribeStacks', 'Stacks');
    // One that does not exist is an error.
    if (stack === undefined) throw new NotAnAnswer(`cloudformation in ${region}`, 'no stack');
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

/** All states but DELETE_COMPLETE: stacks in it are listed for 90 days. CloudFormation API Reference, ListStacks. */
const STATUSES = [
  'CREATE_IN_PROGRESS',
  'CREATE_FAILED',
  'CREATE_COMPLETE',
  'ROLLBACK_IN_PROGRESS',
  'ROLLBACK_FAILED',
  'ROLLBACK_COMPLETE',
  'DELETE_IN_PROGRESS',
  'DELETE_FAILED',
  'UPDATE_IN_PROGRESS',
  'UPDATE_COMPLETE_CLEANUP_IN_PROGRESS',
  'UPDATE_COMPLETE',
  'UPDATE_FAILED',
  'UPDATE_ROLLBACK_IN_PROGRESS',
  'UPDATE_ROLLBACK_FAILED',
  'UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS',
  'UPDATE_ROLLBACK_COMPLETE',
  'REVIEW_IN_PROGRESS',
  'IMPORT_IN_PROGRESS',
  'IMPORT_COMPLETE',
  'IMPORT_ROLLBACK_IN_PROGRESS',
  'IMPORT_ROLLBACK_FAILED',
  'IMPORT_ROLLBACK_COMPLETE',
];

export interface ListedStack {
  readonly name: string;
  readonly status: string;
}

/** The stacks in a region, 100 a page; an account has 2,000 at most unless AWS allowed more. */
export async function stacksIn(aws: Aws, region: string): Promise<ListedStack[]> {
  const filter = Object.fromEntries(STATUSES.map((one, index) => [`StackStatusFilter.member.${index + 1}`, one]));
  const found: ListedStack[] = [];
  let next = '';
  for (let page = 0; page < MAX_STACK_PAGES; page += 1) {
    const input = { ...filter, ...(next !== '' && { NextToken: next }) };
    const answer = await aws.query('cloudformation', region, 'ListStacks', input);
    for (const one of listOf(answer, region, 'ListStacks', 'StackSummaries')) {
      found.push({ name: textAt(one, 'StackName'), status: textAt(one, 'StackStatus') });
    }
    next = textAt(answer, 'ListStacksResult', 'NextToken');
    if (next === '') return found;
  }
  throw new Error(`there are more than ${found.length} stacks`);
}

/** Those that exist: resources whose creation failed have no ID. */
export async function resourcesOf(aws: Aws, region: string, name: string): Promise<StackResource[]> {
  const found: Xml[] = [];
  let next = '';
  for (let page = 0; page < MAX_PAGES; page += 1) {
    const input = { StackName: name, ...(next !== '' && { NextToken: next }) };
    const answer = await aws.query('cloudformation', region, 'ListStackResources', input);
    found.push(...listOf(answer, region, 'ListStackResources', 'StackResourceSummaries'));
    next = textAt(answer, 'ListStackResourcesResult', 'NextToken');
    if (next === '') return existing(found);
  }
  throw new Error(`the stack ${name} has resources on more than ${MAX_PAGES} pages`);
}

function existing(resources: readonly Xml[]): StackResource[] {
  return resources
    .filter((one) => textAt(one, 'ResourceStatus') !== 'DELETE_COMPLETE')
    .map((one) => ({
      logicalId: textAt(one, 'LogicalResourceId'),
      type: textAt(one, 'ResourceType'),
      id: textAt(one, 'PhysicalResourceId'),
    }))
    .filter(({ id }) => id !== '');
}

/** The name of the stack that owns a resource, of the stage or not; undefined if none does. */
export async function ownerOf(aws: Aws, region: string, id: string): Promise<string | undefined> {
  try {
    const answer = await aws.query('cloudformation', region, 'DescribeStackResources', { PhysicalResourceId: id });
    const [one] = listOf(answer, region, 'DescribeStackResources', 'StackResources');
    const owner = textAt(one, 'StackName');
    if (owner === '') throw new NotAnAnswer(`cloudformation in ${region}`, 'no stack');
    return owner;
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

/** The text of the template in force. */
export async function templateOf(aws: Aws, region: string, name: string): Promise<string> {
  const answer = await aws.query('cloudformation', region, 'GetTemplate', { StackName: name });
  return textAt(answer, 'GetTemplateResult', 'TemplateBody');
}

/** `Stack with id … does not exist`, or `Stack for … does not exist`, is a ValidationError like others. */
function isMissing(error: unknown): boolean {
  return error instanceof Error && error.name === 'ValidationError' && /does not exist/.test(error.message);
}
