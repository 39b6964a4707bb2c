/**
 * A process with many readers, which trusts the certificate in NODE_EXTRA_CA_CERTS. Each line of JSON on stdin is a call; the lines on
 * stdout answer them in any order. `config`: of a reader that is made for this call. `skewMs`: how far its clock is ahead.
 */
import { createInterface } from 'node:readline';
import { createReader, type Reader } from '../../../lambda/edge-reader/index.ts';

const readers = new Map<string, { readonly reader: Reader; readonly clock: { skewMs: number } }>();
const env = { AWS_REGION: 'eu-west-1', AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'test' };

createInterface({ input: process.stdin }).on('line', async (line) => {
  const { id, name, config, skewMs } = JSON.parse(line);
  let known = readers.get(name);
  if (config) {
    const clock = { skewMs };
    known = { reader: createReader(config, { env, now: () => Date.now() + clock.skewMs, random: () => 0.5 }), clock };
    readers.set(name, known);
  }
  if (!known) throw new Error(`no reader has the name ${name}`);
  known.clock.skewMs = skewMs;
  const { value, reason } = await known.reader.variationDetail('flag', { kind: 'user', key: 'alice' }, 'fallback');
  process.stdout.write(`${JSON.stringify({ id, value, reason, status: known.reader.status() })}\n`);
});
