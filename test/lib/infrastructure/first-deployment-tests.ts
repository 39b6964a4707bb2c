/** A first deployment that fails, whatever fails in it, can be repeated; and the names of one stage leave room for another. */
import type { Stack } from 'aws-cdk-lib';
import { readStage } from '../../../lib/infrastructure/parse-stage.ts';
import { everyNth } from '../../support/long.ts';
import { full, type Synthesised, shipped, synthesise } from '../../support/synthesise.ts';
import { Account, inOrder, StackError, type StackTemplate } from './cloudformation-simulation.ts';
import { orderOf } from './cloudformation-values.ts';
import { made } from './whole-stages.ts';

/** A stage's stacks as CloudFormation sees them. */
export function stackTemplates({ stage, stacks, template }: Synthesised): StackTemplate[] {
  return stacks.map((stack: Stack) => ({
    id: stack.node.id,
    name: stack.stackName,
    region: stack.region,
    terminationProtection: stack.terminationProtection ?? false,
    dependsOn: stack.dependencies.filter(({ node }) => node.scope === stage).map(({ stackName }) => stackName),
    template: template(stack.node.id).toJSON() as StackTemplate['template'],
  }));
}

const first = new Map<string, StackTemplate[]>();
const unprotected = { ...full, protected: false };

/** The stages as they are deployed first. */
export function firstStages(name: 'dev' | 'prod' | 'full'): StackTemplate[] {
  const known = first.get(name) ?? stackTemplates(name === 'full' ? synthesise('full', unprotected) : made[name]);
  first.set(name, known);
  return known;
}

/** Runs what must fail, and returns why it did. */
export function failure(act: () => void): string {
  try {
    act();
  } catch (error) {
    if (error instanceof StackError) return error.message;
    throw error;
  }
  throw new Error('nothing failed');
}

describe('a first deployment', () => {
  test.each([
    ['dev', ''],
    ['prod', ''],
    ['full', ' @heavy'],
  ] as const)('of %s that fails, at whatever resource, succeeds when it is repeated%s @heavy', (name, _) => {
    const stuck: string[] = [];
    let account = new Account();
    for (const stack of inOrder(firstStages(name))) {
      const undisturbed = account.copy();
      undisturbed.deployStack(stack);
      const names = undisturbed.names().join();
      const resources = [...orderOf(stack.template).keys()];
      const faults = [
        // It exists, and does not become stable: the harder case, since it must be deleted.
        ...resources.map((resource) => ({ resource, exists: true })),
        ...everyNth(4, resources).map((resource) => ({ resource, exists: false })),
      ];
      for (const fault of faults) {
        const disturbed = account.copy();
        failure(() => disturbed.deployStack(stack, fault));
        try {
          disturbed.deployStack(stack);
          if (disturbed.names().join() !== names) stuck.push(`${fault.resource}: other names than without the fault`);
        } catch (error) {
          if (!(error instanceof StackError)) throw error;
          stuck.push(`${fault.resource}: ${error.message}`);
        }
      }
      account = undisturbed;
    }
    expect(stuck).toEqual([]);
    expect(new Set(Object.values(account.statuses()))).toEqual(new Set(['CREATE_COMPLETE']));
  });

  test('that failed leaves nothing but access logs, whose bucket has a name of its own @heavy', () => {
    const account = new Account();
    const stacks = inOrder(firstStages('full'));
    const relay = stacks.find(({ id }) => id === 'Relay')!;
    for (const stack of stacks.slice(0, stacks.indexOf(relay))) account.deployStack(stack);
    const service = Object.entries(relay.template.Resources).find(([, { Type }]) => Type === 'AWS::ECS::Service')!;
    const before = account.orphans();
    failure(() => account.deployStack(relay, { resource: service[0], exists: true }));
    expect(account.orphans().filter((one) => !before.includes(one))).toEqual(['AWS::S3::Bucket eu-west-1']);
  });

  test('can be followed by protection, and then neither stacks nor load balancers nor the table can be deleted @heavy', () => {
    const account = new Account();
    account.deploy(firstStages('full'));
    const guarded = stackTemplates(made.full);
    account.deploy(guarded);
    expect(new Set(Object.values(account.statuses()))).toEqual(new Set(['UPDATE_COMPLETE']));
    for (const stack of guarded) {
      expect(failure(() => account.copy().destroy([stack]))).toMatch(/TerminationProtection/);
    }
    const bare = guarded.map((stack) => ({ ...stack, terminationProtection: false }));
    const open = account.copy();
    open.deploy(bare);
    open.destroy(bare.filter(({ id }) => id === 'Observability'));
    const relay = bare.filter(({ id }) => id === 'Relay');
    expect(failure(() => open.destroy(relay))).toMatch(/deletion protection is enabled/);
  });

  test('of a stage that is protected already cannot be repeated, so protection comes later', () => {
    const account = new Account();
    const [data] = inOrder(stackTemplates(made.full));
    failure(() => account.deployStack(data!, { resource: Object.keys(data!.template.Resources)[0]!, exists: true }));
    expect(failure(() => account.deployStack(data!))).toMatch(/TerminationProtection/);
  });
});

function isAccepted(stage: string): boolean {
  try {
    return Boolean(readStage(stage, shipped.dev));
  } catch {
    return false;
  }
}

/** Every name that a stage gives to a resource, with its type and region. */
function namesOf(stage: Synthesised): string[] {
  const account = new Account();
  const stacks = stackTemplates(stage).map((stack) => ({ ...stack, terminationProtection: false }));
  account.deploy(stacks);
  return [...account.names(), ...stacks.map(({ region, name }) => `stack ${region} ${name}`)];
}

describe('two stages in one account', () => {
  test('share no name, export, metric namespace or cache policy', () => {
    const texts = (stage: Synthesised) => JSON.stringify(stackTemplates(stage).map(({ template }) => template));
    const published = (stage: Synthesised) => [
      ...new Set(
        texts(stage).match(
          /(?<="(?:Namespace|METRICS_NAMESPACE|metricName|Value)":(?:\{"Name":)?")edge-flag-relay[^"]*/gi,
        ),
      ),
      ...new Set(texts(stage).match(/(?<="Export":\{"Name":")[^"]+/g)),
    ];
    const [dev, prod] = [made.dev, made.prod].map((stage) => new Set([...namesOf(stage), ...published(stage)]));
    expect(dev!.size).toBeGreaterThan(100);
    // The value of a tag.
    dev!.delete('edge-flag-relay');
    expect([...prod!].filter((name) => dev!.has(name) && !name.includes('~'))).toEqual([]);
  });

  test('share no name even if one stage’s name begins with the other’s', () => {
    // Stage "full-x" gives the name A + "full-x" + B, and "full" gives A + "full" + B'. They are equal if B' is "-x" + B.
    // In whatever regions, which other stages choose differently.
    const names = namesOf(made.full)
      .filter((name) => name.includes('full'))
      .map((name) => name.replace(/ [a-z]{2}-[a-z]+-\d /, ' '));
    const all = new Set(names);
    const clashes = names.flatMap((name) => {
      const at = name.indexOf('full') + 4;
      const [, ...tails] = name.slice(at).split('-');
      return tails.slice(0, -1).flatMap((_, index) => {
        const longer = `-${tails.slice(0, index + 1).join('-')}`;
        const shorter = name.slice(0, at) + name.slice(at + longer.length);
        return all.has(shorter) && isAccepted(`full${longer}`)
          ? [`${name} is also ${shorter} of stage full${longer}`]
          : [];
      });
    });
    expect(clashes).toEqual([]);
  });
});
