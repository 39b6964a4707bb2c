/** CloudFormation's lists, from answers as AWS's API Reference shows them, and from answers without what they always have. */
import type { Aws } from '../../bin/aws/ask.ts';
import { describeStack, ownerOf, resourcesOf, stacksIn } from '../../bin/aws/stacks.ts';
import { parseXml } from '../../bin/aws/xml.ts';

/** Gives these answers one after the other, then the last again and again. */
function answering(...contents: string[]): { readonly aws: Aws; readonly inputs: object[] } {
  const inputs: object[] = [];
  const no = () => Promise.reject(new Error('not asked'));
  const query: Aws['query'] = async (_, __, action, input = {}) => {
    const content = contents[Math.min(inputs.length, contents.length - 1)];
    inputs.push(input);
    return parseXml(`<${action}Response>${content}</${action}Response>`, `${action}Response`);
  };
  return { aws: { query, json: no, getJson: no, getXml: no }, inputs };
}

const resource = (logicalId: string, status = 'CREATE_COMPLETE', id = `id-of-${logicalId}`) =>
  `<member><LogicalResourceId>${logicalId}</LogicalResourceId><ResourceType>AWS::SNS::Topic</ResourceType>
  <PhysicalResourceId>${id}</PhysicalResourceId><ResourceStatus>${status}</ResourceStatus></member>`;
const page = (members: string, next = '') =>
  `<ListStackResourcesResult><StackResourceSummaries>${members}</StackResourceSummaries>
  ${next && `<NextToken>${next}</NextToken>`}</ListStackResourcesResult>`;

test('the resources of a stack are those of all pages that exist', async () => {
  const { aws, inputs } = answering(
    page(resource('A') + resource('Gone', 'DELETE_COMPLETE'), 'second'),
    page(resource('B') + resource('Failed', 'CREATE_FAILED', '')),
  );
  const type = 'AWS::SNS::Topic';
  expect(await resourcesOf(aws, 'eu-west-1', 'one')).toEqual([
    { logicalId: 'A', type, id: 'id-of-A' },
    { logicalId: 'B', type, id: 'id-of-B' },
  ]);
  expect(inputs).toEqual([{ StackName: 'one' }, { StackName: 'one', NextToken: 'second' }]);
});

test('a stack may have no resources, and a region no stacks', async () => {
  expect(await resourcesOf(answering(page('')).aws, 'eu-west-1', 'one')).toEqual([]);
  const { aws } = answering('<ListStacksResult><StackSummaries/></ListStacksResult>');
  expect(await stacksIn(aws, 'eu-west-1')).toEqual([]);
});

test('resources on pages without end are an error, not a part of the list', async () => {
  const { aws, inputs } = answering(page(resource('A'), 'more'));
  await expect(resourcesOf(aws, 'eu-west-1', 'one')).rejects.toThrow(
    'the stack one has resources on more than 10 pages',
  );
  expect(inputs).toHaveLength(10);
});

describe.each<[string, string, (aws: Aws) => Promise<unknown>]>([
  ['ListStackResources', 'StackResourceSummaries', (aws) => resourcesOf(aws, 'eu-west-1', 'one')],
  ['ListStacks', 'StackSummaries', (aws) => stacksIn(aws, 'eu-west-1')],
  ['DescribeStacks', 'Stacks', (aws) => describeStack(aws, 'eu-west-1', 'one')],
  ['DescribeStackResources', 'StackResources', (aws) => ownerOf(aws, 'eu-west-1', 'id')],
])('an answer to %s', (action, list, ask) => {
  test.each([
    ['without content', ''],
    ['without a result', '<ResponseMetadata><RequestId>1</RequestId></ResponseMetadata>'],
    ['with an empty result', `<${action}Result/>`],
    ['with another list', `<${action}Result><Others/></${action}Result>`],
  ])('%s is not AWS’s', async (_, content) => {
    await expect(ask(answering(content).aws)).rejects.toMatchObject({
      name: 'NotAnAnswer',
      message: `cloudformation in eu-west-1 answered with something that is not AWS’s (no ${list}): is a proxy or a login page in between?`,
    });
  });
});

test('the second page without content is not AWS’s either', async () => {
  const { aws } = answering(page(resource('A'), 'second'), '');
  await expect(resourcesOf(aws, 'eu-west-1', 'one')).rejects.toMatchObject({ name: 'NotAnAnswer' });
});

test.each<[string, string, (aws: Aws) => Promise<unknown>]>([
  ['DescribeStacks', 'Stacks', (aws) => describeStack(aws, 'eu-west-1', 'one')],
  ['DescribeStackResources', 'StackResources', (aws) => ownerOf(aws, 'eu-west-1', 'id')],
])('an empty list is no answer to %s, to which AWS answers with an error', async (action, list, ask) => {
  const { aws } = answering(`<${action}Result><${list}/></${action}Result>`);
  await expect(ask(aws)).rejects.toMatchObject({ name: 'NotAnAnswer' });
});
