/**
 * Compares the evaluator with LaunchDarkly's Node server SDK over seeded random environments and contexts.
 * `tsx test/fuzz.ts --cases 500000 --seed 7 [--json]`; CASES and SEED in the environment do the same.
 * Exits with 1 when an answer differs, after printing seed, case number and a self-contained reproduction.
 */
import { parseArgs } from 'node:util';
import { compareWithOfficialSdk } from './lib/evaluation/differential.ts';

const { values } = parseArgs({
  options: {
    cases: { type: 'string', default: process.env.CASES ?? '20000' },
    seed: { type: 'string', default: process.env.SEED ?? '1' },
    json: { type: 'boolean', default: false },
  },
});

const started = performance.now();
const report = await compareWithOfficialSdk({ cases: Number(values.cases), seed: values.seed });

if (values.json) {
  console.log(JSON.stringify(report));
} else {
  for (const [label, count] of Object.entries(report.counts).sort(([, a], [, b]) => b - a))
    console.log(`${String(count).padStart(9)}  ${label}`);
  for (const difference of report.differences) {
    console.log(`\nseed ${difference.seed}, case ${difference.case}, ${difference.method}`);
    console.log(`  ours     ${JSON.stringify(difference.ours)}`);
    console.log(`  official ${JSON.stringify(difference.official)}`);
    console.log(`  with     ${difference.reproduction}`);
  }
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  console.log(`\n${report.cases} cases, seed ${report.seed}, ${report.differences.length} differences, ${seconds} s`);
}
process.exitCode = report.differences.length > 0 ? 1 : 0;
