/**
 * A function as Lambda runs it: its reader lives on between invocations, which are lines of JSON on stdin; their answers are lines on
 * stdout. `skewMs` is how far its clock is ahead. Argument: the reader's configuration as JSON.
 */
import { createInterface } from 'node:readline';
import { createReader } from '../../../lambda/edge-reader/index.ts';

let skewMs = 0;
const env = { AWS_REGION: 'eu-west-1', AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'test' };
const around = { env, now: () => Date.now() + skewMs, random: () => 0.5 };
const reader = createReader(JSON.parse(process.argv[2] ?? ''), around);

for await (const line of createInterface({ input: process.stdin })) {
  ({ skewMs } = JSON.parse(line));
  const began = performance.now();
  const value = await reader.variation('flag', { kind: 'user', key: 'alice' }, 'fallback');
  const tookMs = performance.now() - began;
  process.stdout.write(`${JSON.stringify({ value, tookMs, status: reader.status() })}\n`);
}
