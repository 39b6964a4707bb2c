import { existsSync } from 'node:fs';
import { join } from 'node:path';

const root = join(import.meta.dirname, '../..');
const installed = join(root, '.cache/interop');
const examples = join(root, 'examples');

export interface Command {
  readonly what: string;
  readonly program: string;
  readonly args: readonly string[];
  /** Default: the repository's root. */
  readonly cwd?: string;
  /** Whether it goes on until Ctrl-C. */
  readonly serves?: boolean;
}

const own = join(installed, 'python/bin/python');
const python = existsSync(own) ? own : 'python3';
const jars = join(installed, 'java/*');
const node = (...args: string[]) => ({ program: process.execPath, args });
const tsx = (...args: string[]) => node('--import', 'tsx', ...args);
const page = (file: string) => ({ ...tsx('examples/run/page.ts', file), serves: true });
const invoke = (...args: string[]) => tsx('examples/run/invoke.ts', ...args);

/** AWS: "Lambda@Edge event structure", the parts that the example uses. */
const VIEWER_REQUEST = {
  Records: [
    { cf: { request: { clientIp: '192.0.2.1', uri: '/checkout', headers: { cookie: [{ value: 'user=tester' }] } } } },
  ],
};

/** Each example's command. They read the variables of `startLocal`, and use what `npm start` prints without them. */
export const commands = {
  node: { what: 'LaunchDarkly’s Node server SDK', ...node('examples/node/app.mjs') },
  'node-daemon': {
    what: 'the same in daemon mode',
    ...node('--require', './examples/run/earlier-packages.cjs', 'examples/node/daemon.cjs'),
  },
  reader: { what: 'one flag by the package’s reader, from the table', ...tsx('examples/reader/flag.mjs') },
  python: { what: 'LaunchDarkly’s Python SDK', program: python, args: ['examples/python/app.py'] },
  'python-daemon': { what: 'the same in daemon mode', program: python, args: ['examples/python/daemon.py'] },
  go: { what: 'LaunchDarkly’s Go SDK', program: 'go', args: ['run', './app'], cwd: join(examples, 'go') },
  'go-daemon': { what: 'the same in daemon mode', program: 'go', args: ['run', './daemon'], cwd: join(examples, 'go') },
  java: { what: 'LaunchDarkly’s Java SDK', program: 'java', args: ['-cp', jars, 'examples/java/App.java'] },
  php: {
    what: 'LaunchDarkly’s PHP SDK',
    program: 'php',
    args: [join(examples, 'php/app.php')],
    cwd: join(installed, 'php'),
  },
  browser: { what: 'LaunchDarkly’s browser SDK', ...page('examples/browser/app.js') },
  openfeature: { what: 'OpenFeature on a server', ...node('examples/openfeature/server.mjs') },
  'openfeature-web': { what: 'OpenFeature in a browser', ...page('examples/openfeature/web.js') },
  lambda: { what: 'the reader in a Lambda function, bundled', ...invoke('examples/lambda/handler.ts') },
  'lambda-reported': { what: 'the same with metrics and exposures', ...invoke('examples/lambda/reported.ts') },
  'lambda-layer': {
    what: 'the reader in a Lambda function, from the layer',
    ...invoke('examples/lambda-layer/index.cjs'),
  },
  'lambda-openfeature': { what: 'OpenFeature in a Lambda function', ...invoke('examples/openfeature/lambda.ts') },
  'lambda-edge': {
    what: 'the reader in a Lambda@Edge function',
    ...invoke('examples/lambda-edge/handler.ts', JSON.stringify(VIEWER_REQUEST)),
  },
} as const satisfies Record<string, Command>;

export type ExampleName = keyof typeof commands;
