/** docs/deploying.md matches the code. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseStage, stages } from '../../../lib/infrastructure/stages.ts';

const root = join(import.meta.dirname, '../../..');
const page = readFileSync(join(root, 'docs/deploying.md'), 'utf8');
const settings = readFileSync(join(root, 'lib/infrastructure/stage-settings.ts'), 'utf8');

/** The members of an interface in stage-settings.ts. */
const membersOf = (name: string) =>
  [
    ...settings
      .split(`export interface ${name} {`)[1]!
      .split('\n}')[0]!
      .matchAll(/^ {2}readonly (\w+)\??:/gm),
  ].map(([, member]) => member);

test.each([
  ['relay', 'RelaySettings', 12],
  ['edge', 'EdgeSettings', 3],
  ['alarms', 'AlarmSettings', 1],
])('every %s property in docs/deploying.md exists', (group, type, least) => {
  const named = [
    ...new Set([...page.matchAll(new RegExp(`\`${group}\\.([a-z]\\w+)`, 'g'))].map(([, member]) => member!)),
  ];
  expect(named.length).toBeGreaterThanOrEqual(least);
  expect(membersOf(type)).toEqual(expect.arrayContaining(named));
});

test('the cdk.json in docs/deploying.md is valid', () => {
  const [, json] = /```json\n([\s\S]*?)```/.exec(page)!;
  const shown = JSON.parse(json!).context.stages;
  // Its account differs from that of the certificate in the stage file.
  shown.prod.account = '111122223333';
  expect(parseStage('prod', stages, shown).alarms.emails).toEqual(['team@example.com']);
});

test('the key policy in docs/deploying.md lets the services in that write with a key', () => {
  const [, json] = /(\{\n {2}"Version": "2012-10-17",\n {2}"Statement": \[[\s\S]*?\n\})\n```/.exec(
    page.slice(page.indexOf('## KMS keys of your own')),
  )!;
  const { Statement } = JSON.parse(json!) as { Statement: { Principal: { Service?: string | string[] } }[] };
  const services = Statement.flatMap(({ Principal }) => Principal.Service ?? []);
  expect(services).toEqual(['logs.eu-west-1.amazonaws.com', 'cloudwatch.amazonaws.com', 'events.amazonaws.com']);
});

test('the calculations in docs/deploying.md are correct', () => {
  const sums = [...page.matchAll(/(?<=\| )([\d.,()×+÷⁶ ]+(?: \(of the NAT gateways\))?[\d.,()×+÷⁶ ]*) = ([\d.]+) \|/g)];
  expect(sums.length).toBeGreaterThan(8);
  for (const [, sum, result] of sums) {
    const value = evaluate(sum!.replace('(of the NAT gateways)', '').replaceAll('10⁶', '1000000').replaceAll(',', ''));
    const digits = result!.includes('.') ? 1 : 0;
    expect([sum, value.toFixed(digits)]).toEqual([sum, result]);
  }
});

/** Computes + × ÷ and parentheses, with the usual precedence. */
function evaluate(text: string): number {
  const tokens = text.match(/[\d.]+|[()×÷+]/g)!;
  const product = (): number => {
    let value = factor();
    while (tokens[0] === '×' || tokens[0] === '÷') value = tokens.shift() === '×' ? value * factor() : value / factor();
    return value;
  };
  const total = (): number => {
    let value = product();
    while (tokens[0] === '+') {
      tokens.shift();
      value += product();
    }
    return value;
  };
  const factor = (): number => {
    const token = tokens.shift()!;
    if (token !== '(') return Number(token);
    const value = total();
    tokens.shift();
    return value;
  };
  return total();
}
