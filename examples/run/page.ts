/** `npx tsx examples/run/page.ts <file>`: bundles a script for browsers and serves a page with it, for the relay at `RELAY_URL`. */
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { dirname, resolve } from 'node:path';
import { buildSync } from 'esbuild';
import { listen } from '../../bin/dev/sample-origins.ts';

const file = resolve(process.argv[2] ?? '');
const contents = readFileSync(file, 'utf8').replaceAll(
  'http://127.0.0.1:8030',
  process.env.RELAY_URL ?? 'http://127.0.0.1:8030',
);
const { outputFiles } = buildSync({
  stdin: { contents, resolveDir: dirname(file), sourcefile: file },
  bundle: true,
  write: false,
  format: 'iife',
  platform: 'browser',
  target: 'es2022',
});
const script = outputFiles[0]?.text ?? '';
const server = createServer(({ url }, response) => {
  const [type, body] =
    url === '/app.js'
      ? ['text/javascript', script]
      : ['text/html', '<!doctype html><meta charset="utf-8"><body><script src="/app.js"></script></body>'];
  response.writeHead(200, { 'Content-Type': `${type}; charset=utf-8` }).end(body);
});
console.log(`Open ${await listen(server, 0)} (Ctrl-C to stop)`);
