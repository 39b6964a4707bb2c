/**
 * How long the router decides: the built viewer-request function with one flag, and with twenty rules.
 *
 * Method: each bundle runs in a process of its own with Lambda's options for 128 MB, beside a local dynalite. 200,000 requests, one after the
 * other, of 1,000 viewers with a cookie and ten more headers; with rules, each path matches ten of the twenty, and so asks for ten flags
 * (of 200, each with a segment and a rollout). Times are the processor's, of all threads, of single calls after the first 5,000, with the
 * reader's refreshes among them: what the call would take on an idle core. Lambda gives 128 MB the fourteenth part of one.
 *
 * npm run bench -- edge-rules [--json]
 */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Rule } from '../../lambda/edge-router/index.ts';
import { bundleEdge } from '../../lib/infrastructure/edge-size.ts';
import { item, putSnapshot } from '../lambda/edge-reader/table-writer.ts';
import { startTable } from '../support/dynalite.ts';

const directory = mkdtempSync(join(tmpdir(), 'bench-edge-rules-'));
const table = await startTable();
const flags = Array.from({ length: 200 }, (_, index) =>
  item('features', {
    key: `flag-${index}`,
    version: 1,
    on: true,
    salt: `s${index}`,
    variations: ['stable', 'canary'],
    rules: [{ id: 'r', variation: 1, clauses: [{ attribute: '', op: 'segmentMatch', values: ['testers'] }] }],
    fallthrough: {
      rollout: { variations: [0, 1].map((variation) => ({ variation, weight: 50_000 })) },
    },
  }),
);
const testers = item('segments', {
  key: 'testers',
  version: 1,
  included: ['alice'],
  excluded: [],
  rules: [],
  salt: 's',
});
await putSnapshot(table, 'p', [...flags, testers], { epoch: 1, seq: 1 });

const rules = Array.from({ length: 20 }, (_, index): Rule => {
  const even = index % 2 === 0;
  return {
    when: { path: even ? ['/shop/*', '/cart/*'] : '/search/*', cookie: { session: true } },
    flagKey: `flag-${index}`,
    variations: {
      stable: {},
      canary: { origin: 'canary', requestHeaders: { [`x-${index}`]: '1' }, responseHeaders: { 'x-new': '1' } },
    },
    otherwise: 'stable',
  };
});
const { tableName, endpoint } = table;
const reader = { tableName, endpoint, prefix: 'p', replicas: { default: ['us-east-1'] }, coldDeadlineMs: 30_000 };
const site = { reader, variants: ['stable', 'canary'], defaultVariant: 'stable' };

async function measure(name: string, config: Parameters<typeof bundleEdge<'viewer-request'>>[0]['config']) {
  const { file } = await bundleEdge({
    entry: 'viewer-request',
    config,
    outdir: join(directory, name),
    target: 'node20',
  });
  const code = `const { handler, status } = require(${JSON.stringify(file)});
    const ids = Array.from({ length: 1000 }, () => require('crypto').randomUUID());
    const extra = Array.from({ length: 10 }, (_, index) => ['x-extra-' + index, [{ key: 'x-extra-' + index, value: 'v'.repeat(40) }]]);
    const event = (index) => ({ Records: [{ cf: { request: { clientIp: '203.0.113.7', method: 'GET', querystring: 'a=b', uri: index % 2 ? '/search/shoes' : '/shop/shoes',
      headers: { ...Object.fromEntries(extra), host: [{ key: 'Host', value: 'www.example.com' }], 'user-agent': [{ key: 'User-Agent', value: 'Mozilla/5.0' }],
        cookie: [{ key: 'Cookie', value: 'session=1; flag-viewer=' + ids[index % 1000] }] } } } }] });
    (async () => {
      await status();
      const times = [];
      let flags;
      for (let index = 0; index < 205000; index += 1) {
        const given = event(index);
        const start = process.cpuUsage();
        const { headers } = await handler(given);
        const { user, system } = process.cpuUsage(start);
        if (index >= 5000) times.push(user + system);
        flags = headers['x-flag-decision'][0].value.split(', ').length;
        if (index % 1000 === 0) await new Promise(setImmediate);
      }
      times.sort((a, b) => a - b);
      const at = (share) => Number(times[Math.floor(times.length * share)].toFixed(1));
      console.log(JSON.stringify({ flags, p50: at(0.5), p99: at(0.99), p999: at(0.999), rssMb: Math.round(process.memoryUsage.rss() / 2 ** 20) }));
      process.exit();
    })();`;
  const env = { AWS_REGION: 'us-east-1', AWS_ACCESS_KEY_ID: 'a', AWS_SECRET_ACCESS_KEY: 'b' };
  const options = ['--no-warnings', '--max-old-space-size=115', '--max-semi-space-size=7', '-e', code];
  const { stdout } = await promisify(execFile)(process.execPath, options, { env });
  return { name, ...JSON.parse(stdout.trim().split('\n').at(-1)!) };
}

const rows = [
  await measure('one flag', { ...site, flagKey: 'flag-0' }),
  await measure('twenty rules', { ...site, rules }),
];
if (process.argv.includes('--json')) console.log(JSON.stringify({ node: process.version, rows }));
else {
  console.log(`Node ${process.version}, 200,000 requests; microseconds of processor time per call`);
  console.table(rows);
}
await table.close();
rmSync(directory, { recursive: true });
