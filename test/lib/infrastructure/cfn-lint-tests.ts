/** cfn-lint, with every rule, finds nothing of ours in a whole stage's templates. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Template } from 'aws-cdk-lib/assertions';
import { cfnLintIsInstalled, type LintFinding, lintTemplates } from '../../support/cfn-lint.ts';
import type { Synthesised } from '../../support/synthesise.ts';
import { checked, made } from './whole-stages.ts';

/** What is not ours to change, and why. */
const allowed: readonly { readonly rule: string; readonly message: RegExp; readonly why: string }[] = [
  { rule: 'I1022', message: /^Prefer using Fn::Sub over Fn::Join/, why: 'the CDK joins texts with Fn::Join' },
  {
    ...{ rule: 'W3005', message: /dependency already enforced by/ },
    why: 'the CDK adds DependsOn for a role and its policies, though a reference says the same',
  },
  {
    ...{ rule: 'W3010', message: /^Avoid hardcoding availability zones/ },
    why: 'synthesis looks nothing up, and zones that are chosen by name stay where they are',
  },
];

const isAllowed = ({ rule, message }: LintFinding) =>
  allowed.some((one) => one.rule === rule && one.message.test(message));

/** One process for each region, since what a region has is looked up. */
async function lint({ stacks }: Pick<Synthesised, 'stacks'>): Promise<LintFinding[]> {
  const directory = mkdtempSync(join(tmpdir(), 'cfn-lint-'));
  const byRegion = new Map<string, string[]>();
  for (const stack of stacks) {
    const file = join(directory, `${stack.stackName}.json`);
    writeFileSync(file, JSON.stringify(Template.fromStack(stack).toJSON()));
    byRegion.set(stack.region, [...(byRegion.get(stack.region) ?? []), file]);
  }
  try {
    const found: LintFinding[] = [];
    for (const [region, files] of byRegion) found.push(...(await lintTemplates(files, region)));
    return found;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

const linted = cfnLintIsInstalled ? test : test.skip;
linted.each(checked)(
  `cfn-lint finds nothing of ours in the stage %s${cfnLintIsInstalled ? '' : ' (needs cfn-lint)'} @heavy`,
  async (name) => {
    const found = await lint(made[name]);
    const ours = found.filter((one) => !isAllowed(one));
    expect(ours.map(({ rule, path, message, file }) => [rule, file, path.join('/'), message].join(' | '))).toEqual([]);
    // It has looked, and nothing is allowed that does not occur.
    expect([...new Set(found.map(({ rule }) => rule))].sort()).toEqual(allowed.map(({ rule }) => rule).sort());
  },
);
