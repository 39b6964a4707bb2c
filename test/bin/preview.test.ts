/** `npm run preview`: keys and links, which the router accepts. */
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runPreview } from '../../bin/preview/run.ts';
import { createPreviews } from '../../lambda/edge-router/preview.ts';
import { requestEvent } from '../lambda/edge-router/events.ts';
import { pipeOf } from '../support/fake-terminal.ts';

const directory = mkdtempSync(join(tmpdir(), 'preview-'));
afterAll(() => rmSync(directory, { recursive: true }));

async function run(args: readonly string[], input = '') {
  const terminal = pipeOf(input);
  const exitCode = await runPreview(args, terminal);
  return { exitCode, printed: terminal.printed(), said: terminal.said() };
}

const file = join(directory, 'key.pem');
const link = (...more: string[]) =>
  run(['link', 'prod', 'checkout=canary', '--site', 'https://shop.example.com', '--key', file, ...more]);

let publicKey: string;
beforeAll(async () => {
  publicKey = (await run(['new-key', file])).printed.trim();
});

test('a new private key is in a file that only its owner can read, and is never overwritten', async () => {
  expect(publicKey).toMatch(/^[\w-]{43}$/);
  expect(statSync(file).mode & 0o777).toBe(0o600);
  const before = readFileSync(file, 'utf8');
  const { exitCode, printed, said } = await run(['new-key', file]);
  expect([exitCode, printed]).toEqual([1, '']);
  expect(said).toMatch(/EEXIST/);
  expect(readFileSync(file, 'utf8')).toBe(before);
});

test.each([
  ['from a file', file, ''],
  ['from standard input', '-', 'key'],
])('a link that was made with a key %s is accepted by the site', async (_, from, input) => {
  const pairs = ['checkout=canary', 'banner=true', 'limit=3', 'text="7"'];
  const args = [
    'link',
    'prod',
    ...pairs,
    '--site',
    'https://shop.example.com',
    '--key',
    from,
    '--for',
    '2h',
    '--to',
    '/a?b',
  ];
  const { exitCode, printed, said } = await run(args, input && readFileSync(file, 'utf8'));
  expect([exitCode, said]).toEqual([0, '']);
  const url = new URL(printed.trim());
  expect([url.origin, url.pathname]).toEqual(['https://shop.example.com', '/__flag-preview']);

  const { answer, overrides } = createPreviews({ publicKeys: [publicKey], stage: 'prod' });
  const { request } = requestEvent('viewer-request', { Host: 'shop.example.com' }).Records[0]!.cf;
  const made = answer({ ...request, uri: url.pathname, querystring: url.search.slice(1) });
  expect(made).toMatchObject({ status: '302', headers: { location: [{ value: '/a?b' }] } });
  const cookie = made!.headers!['set-cookie']![0]!.value;
  expect(cookie).toMatch(/; Max-Age=7(199|200|19\d);/);
  request.headers.cookie = [{ key: 'Cookie', value: cookie.split(';')[0]! }];
  expect(overrides(request)).toEqual({ checkout: 'canary', banner: true, limit: 3, text: '7' });
});

test('a link is valid for a day unless told otherwise', async () => {
  const claims = Buffer.from((await link()).printed.split('.')[3]!, 'base64url').toString();
  const { i, e } = JSON.parse(claims) as { i: number; e: number };
  expect(e - i).toBe(86_400);
});

test.each([
  [['link', 'prod', '--site', 'https://a.example', '--key', file], 'No flag given: add <flag>=<value>'],
  [
    ['link', 'prod', 'checkout', '--site', 'https://a.example', '--key', file],
    'checkout is invalid: expected <flag>=<value>',
  ],
  [['link', 'prod', 'a=b', '--key', file], '--site is required'],
  [['link', 'prod', 'a=b', '--site', 'https://a.example/x', '--key', file], '--site is required'],
  [['link', 'prod', 'a=b', '--site', 'https://a.example'], '--key is required'],
  [['link', 'prod', 'a=b', '--site', 'https://a.example', '--key', file, '--to', '//b'], '--to //b is invalid'],
  [
    ['link', 'prod', 'a=b', '--site', 'https://a.example', '--key', file, '--for', '1s'],
    '--for must be a duration of at least 1m',
  ],
  [
    ['link', 'prod', 'a=b', '--site', 'https://a.example', '--key', file, '--for', '2000h'],
    '--for must be at most 720h: no site accepts longer',
  ],
  [
    ['link', 'prod', 'a=b', '--sight', 'x'],
    'Unknown option --sight: expected one of --site, --key, --for, --to, --help',
  ],
  [['new-key'], 'new-key needs one argument'],
  [['new-key', 'a', '--for', '1h'], '--for does not apply to new-key'],
  [['make'], 'Unknown command make: expected one of new-key, link'],
])('%j is refused', async (args, message) => {
  const { exitCode, printed, said } = await run(args);
  expect([exitCode, printed]).toEqual([2, '']);
  expect(said).toContain(message);
});

test('what is no private key is named, but not shown', async () => {
  const other = join(directory, 'other.txt');
  writeFileSync(other, 'my-password');
  const { exitCode, said } = await link('--key', other);
  expect([exitCode, said]).toEqual([
    1,
    `${other} holds no private key of \`npm run preview -- new-key\` (Ed25519, PEM)\n`,
  ]);
  expect((await link('--key', join(directory, 'none'))).said).toMatch(/ENOENT/);
  const many = Array.from({ length: 9 }, (_, index) => `f${index}=1`);
  expect((await link(...many)).said).toBe('a preview has 1 to 8 flags, not 10\n');
});

test('--help explains all of it', async () => {
  const { exitCode, printed } = await run(['--help']);
  expect([exitCode, printed]).toEqual([0, expect.stringContaining('npm run preview -- link <stage> <flag>=<value>')]);
});
