/** Parts of a stage can be taken away in the steps of docs/deploying.md, and come back; so can the whole stage. */
import type { StageSettings } from '../../../lib/infrastructure/stage-settings.ts';
import { full, shipped, synthesise } from '../../support/synthesise.ts';
import { Account, inOrder, type StackTemplate } from './cloudformation-simulation.ts';
import { failure, firstStages, stackTemplates } from './first-deployment-tests.ts';
import { made } from './whole-stages.ts';

let deployed: Account | undefined;

/** An account with a stage of every feature that has served: without protection, as the first step leaves it. */
function account(): Account {
  if (!deployed) {
    deployed = new Account();
    deployed.deploy(firstStages('full'));
    deployed.runEdgeFunctions();
  }
  return deployed.copy();
}

const stacksOf = (...ids: string[]) => {
  const chosen = firstStages('full').filter(({ id }) => ids.includes(id));
  expect(chosen.map(({ id }) => id).sort()).toEqual([...ids].sort());
  return chosen;
};
const withOther = (settings: Partial<StageSettings>) => stackTemplates(synthesise('full', { ...full, ...settings }));

/** Deploys the stage without the part, as protected as before, and finds every stack in order. */
function expectWorks(one: Account, rest: readonly StackTemplate[]): void {
  one.deploy(rest);
  const statuses = one.statuses();
  expect(Object.keys(statuses).sort()).toEqual(rest.map(({ name }) => name).sort());
  expect(Object.values(statuses).filter((status) => !/^(CREATE|UPDATE)_COMPLETE$/.test(status))).toEqual([]);
}

/** Without what every stage has: log groups of edge functions, which no stack owns. */
const orphansOf = (one: Account) => one.orphans().filter((name) => !name.startsWith('AWS::Logs::LogGroup'));
const cannotBeDeleted = /cannot be deleted while TerminationProtection|deletion protection is enabled/;

test('a protected part cannot be taken away, so protection comes off first', () => {
  const one = account();
  one.deploy(stackTemplates(made.full));
  expect(failure(() => one.destroy(stacksOf('Relay-us-west-2')))).toMatch(cannotBeDeleted);
});

test('a relay region can be taken away, and added again @heavy', () => {
  const one = account();
  const relay = { ...full.relay, certificates: { 'eu-west-1': full.relay!.certificates!['eu-west-1']! } };
  const rest = withOther({ relayRegions: [], networks: {}, relay });
  one.destroy(stacksOf('Relay-us-west-2'));
  expectWorks(one, rest);
  expect(orphansOf(one)).toEqual(['AWS::EFS::FileSystem us-west-2', 'AWS::S3::Bucket us-west-2']);
  one.deploy(firstStages('full'));
  expectWorks(one, firstStages('full'));
});

test('a replica can be taken away, and added again where edge functions have written logs @heavy', () => {
  const one = account();
  const rest = withOther({ replicaRegions: ['us-east-1', 'us-west-2'] });
  one.destroy(stacksOf('Region-ap-northeast-1'));
  expectWorks(one, rest);
  // Versions of the reader layer, and old versions of edge functions.
  const kinds = new Set(orphansOf(one).map((name) => name.split(' ')[0]));
  expect([...kinds].sort()).toEqual(['AWS::Lambda::LayerVersion', 'AWS::Lambda::Version']);
  one.runEdgeFunctions();
  one.deploy(firstStages('full'));
  expectWorks(one, firstStages('full'));
});

test('the edge can be taken away hours after its distribution, not before, and be added again at any time @heavy', () => {
  const one = account();
  const rest = withOther({ edge: undefined });
  one.destroy(stacksOf('Edge'));
  expect(failure(() => one.copy().destroy(stacksOf('EdgeFunctions')))).toMatch(/it is a replicated function/);
  const soonBack = one.copy();
  expectWorks(soonBack, firstStages('full'));

  one.waitForCopies();
  one.destroy(stacksOf('EdgeFunctions'));
  expectWorks(one, rest);
  expect(one.names().filter((name) => /viewer-request|CloudFront/.test(name) && !name.startsWith('AWS::Logs'))).toEqual(
    [],
  );
  expectWorks(one, firstStages('full'));
});

test('a region with edge logs can be taken away, and its logs keep their retention @heavy', () => {
  const one = new Account();
  const logRegions = ['eu-west-1', 'us-east-1', 'eu-central-1'];
  const before = stackTemplates(synthesise('dev', { ...shipped.dev, edge: { ...shipped.dev.edge!, logRegions } }));
  one.deploy(before);
  one.runEdgeFunctions();
  one.destroy(before.filter(({ id }) => id === 'Region-eu-central-1'));
  expectWorks(one, firstStages('dev'));
  expect([...one.retentions().values()]).not.toContain(undefined);
  expectWorks(one, before);
});

let fewerParts: StackTemplate[] | undefined;

/** The full stage without the parts that have no stack of their own. */
function withFewerParts(): StackTemplate[] {
  const { publicAccess: _, eventsSpool: _____, ...relay } = full.relay!;
  const { exposures: __, behaviors: ___, otherOrigins: ____, ...edge } = full.edge!;
  const settings = { relay, redis: undefined, readerLayer: false, edge: { ...edge, check: false as const } };
  fewerParts ??= withOther({ ...settings, protected: false });
  return fewerParts;
}

test('a public load balancer, Redis, the spool of events, exposures, the check of the edge, behaviors and the reader layer can be left out of the next deployment @heavy', () => {
  const one = account();
  expectWorks(one, withFewerParts());
  expect(one.names().filter((name) => /exposures|canary|ServerlessCache|WebACL|MountTarget/.test(name))).toEqual([]);
  expectWorks(one, firstStages('full'));
});

test('a deployment that adds such parts and fails is rolled back, and can be repeated; with protection it could not @heavy', () => {
  const before = new Account();
  before.deploy(withFewerParts());
  const stuck: string[] = [];
  for (const stack of inOrder(firstStages('full'))) {
    const known = withFewerParts().find(({ name }) => name === stack.name)!.template.Resources;
    for (const resource of Object.keys(stack.template.Resources).filter((id) => !Object.hasOwn(known, id))) {
      const one = before.copy();
      failure(() => one.deployStack(stack, { resource, exists: true }));
      try {
        one.deployStack(stack);
      } catch (error) {
        stuck.push(String(error));
      }
    }
    before.deployStack(stack);
  }
  expect(stuck).toEqual([]);

  const guarded = new Account();
  guarded.deploy(withFewerParts());
  const relay = stackTemplates(made.full).find(({ id }) => id === 'Relay')!;
  const acl = Object.keys(relay.template.Resources).find((id) => id.startsWith('RelayWebAclAssociation'))!;
  failure(() => guarded.deployStack(relay, { resource: acl, exists: true }));
  expect(failure(() => guarded.deployStack(relay))).toMatch(/UPDATE_ROLLBACK_FAILED/);
});

const small: StageSettings = { ...shipped.dev, edge: undefined, environments: [], readerLayer: false };
const withSmall = (settings: Partial<StageSettings>) => stackTemplates(synthesise('small', { ...small, ...settings }));

test('a stage that comes to be for production keeps its table when its stack is deleted @heavy', () => {
  const one = new Account();
  const dataOf = (stacks: readonly StackTemplate[]) => stacks.filter(({ id }) => id === 'Data');
  one.deploy(dataOf(withSmall({})));
  const production = dataOf(withSmall({ production: true, relay: { loadBalancer: false } }));
  one.deploy(production);
  one.destroy(production);
  expect(orphansOf(one)).toEqual(['AWS::DynamoDB::GlobalTable eu-west-1 edge-flag-relay-dev']);
});

test('a load balancer can be taken away, and comes back in two deployments, not in one @heavy', () => {
  const one = new Account();
  one.deploy(withSmall({}));
  expectWorks(one, withSmall({ relay: { loadBalancer: false } }));
  expect(failure(() => one.copy().deploy(withSmall({})))).toMatch(/grace period is only valid/);
  expectWorks(one, withSmall({ relay: { healthCheckGraceSeconds: 0 } }));
  expectWorks(one, withSmall({}));
});

describe('a whole stage', () => {
  test('of development leaves versions of the layer, goes in two steps some hours apart, and can be deployed again', () => {
    const one = new Account();
    const stacks = firstStages('dev');
    one.deploy(stacks);
    expect(failure(() => one.destroy(stacks))).toMatch(/edge-functions: .*it is a replicated function/);
    one.waitForCopies();
    one.destroy(stacks);
    expect(one.statuses()).toEqual({});
    expect(orphansOf(one)).toEqual(['AWS::Lambda::LayerVersion eu-west-1']);
    expectWorks(one, stacks);
  });

  test('of production leaves the table, access logs and versions of the layer; only the table’s name is taken', () => {
    const one = new Account();
    const stacks = firstStages('prod');
    one.deploy(stacks);
    one.destroy(stacks.filter(({ id }) => id === 'Edge'));
    one.waitForCopies();
    one.destroy(stacks);
    expect(one.statuses()).toEqual({});
    expect(orphansOf(one)).toEqual([
      'AWS::DynamoDB::GlobalTable eu-west-1 edge-flag-relay-prod',
      ...['ap-northeast-1', 'eu-west-1', 'us-east-1'].map((region) => `AWS::Lambda::LayerVersion ${region}`),
      'AWS::S3::Bucket eu-west-1',
    ]);
    const refused = failure(() => one.copy().deploy(stacks));
    expect(refused).toMatch(/edge-flag-relay-prod-data: .*edge-flag-relay-prod already exists/);
    // With `table: 'existing'` there is no such stack.
    expectWorks(
      one,
      stacks.filter(({ id }) => id !== 'Data'),
    );
  });
});

describe('the logs of edge functions', () => {
  test('have a retention wherever the functions run, also those that functions created before the stage, and after it', () => {
    const one = new Account();
    const stacks = firstStages('dev');
    one.deploy(stacks);
    const days = () =>
      [...one.retentions()].filter(([name]) => name.includes('/aws/lambda/us-east-1.')).map(([, value]) => value);
    expect(days()).toEqual(Array(3 * 13).fill(14));
    one.destroy(stacks.filter(({ id }) => id === 'Edge'));
    one.waitForCopies();
    one.destroy(stacks);
    one.deploy(stacks);
    one.runEdgeFunctions();
    expect(days()).toEqual(Array(3 * 13).fill(14));
  });
});
