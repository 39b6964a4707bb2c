import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import type { Report } from './differential.ts';

/**
 * The comparison runs in its own process: the SDK leaves unhandled rejections, which would fail the test in jest. SEED and CASES
 * choose another run; LONG=1 runs 300,000 cases.
 */
const cases = process.env.CASES ?? (process.env.LONG === '1' ? '300000' : '1500');
const seed = process.env.SEED ?? '1';

test(`the evaluator gives the Node SDK's answers in ${cases} random cases (seed ${seed})`, () => {
  const report = run('--cases', cases, '--seed', seed);
  expect(report.differences).toEqual([]);
  expect(report.cases).toBe(Number(cases));
  const notCompared = Object.entries(report.counts).filter(
    ([label]) => /^(threw|endless|inherited|flag __proto__|wrong types)/.test(label) && !/equal/.test(label),
  );
  // With too many exempted cases, the comparison would prove little.
  expect(notCompared.reduce((sum, [, count]) => sum + count, 0)).toBeLessThan(Number(cases) * 0.05);
  for (const kind of [
    'OFF',
    'FALLTHROUGH',
    'TARGET_MATCH',
    'RULE_MATCH',
    'PREREQUISITE_FAILED',
    'ERROR MALFORMED_FLAG',
  ]) {
    expect(report.counts[`variationDetail ${kind}`]).toBeGreaterThan(Number(cases) * 0.004);
  }
}, 1_200_000);

function run(...args: string[]): Report {
  const command = [...['--import', 'tsx'], join(__dirname, '../../fuzz.ts'), ...args, '--json'];
  try {
    return JSON.parse(
      execFileSync(process.execPath, command, {
        encoding: 'utf8',
        maxBuffer: 2 ** 28,
        stdio: ['ignore', 'pipe', 'ignore'],
      }),
    );
  } catch (error) {
    // It exits with 1 when there are differences; they are on standard output in any case.
    return JSON.parse((error as { stdout: string }).stdout);
  }
}
