/** What every line of the log must have, read from the sources. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { eventually } from '../../support/eventually.ts';
import { closeAfterEach } from '../../support/opened.ts';
import { startTestRelay } from '../../support/start-relay.ts';

const { opened } = closeAfterEach();

const root = join(import.meta.dirname, '../../..');

const files = readdirSync(join(root, 'relay-task'), { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts'))
  .map((name) => ({ name, text: readFileSync(join(root, 'relay-task', name), 'utf8') }));

/** From an opening bracket to the one that closes it. */
function bracketed(text: string, from: number): string {
  let depth = 0;
  for (let at = from; at < text.length; at += 1) {
    if (text[at] === '(') depth += 1;
    if (text[at] === ')') depth -= 1;
    if (depth === 0) return text.slice(from, at + 1);
  }
  throw new Error(`no end after ${text.slice(from, from + 80)}`);
}

const calls = files.flatMap(({ name, text }) =>
  [...text.matchAll(/\blog\??(?:\.(?:warn|error)|\[[^\]]*\]+)\(/g)].map((found) => {
    const call = bracketed(text, found.index + found[0].length - 1);
    return {
      name,
      call: call.replace(/\s+/g, ' ').slice(0, 200),
      hasRunbook: /\brunbook\b/.test(call),
    };
  }),
);

test('every warning and error names its runbook', () => {
  // These hand lines on, or make the fields elsewhere in the file; of events, all lines have one by `withRunbook`.
  const elsewhere =
    /^(wiring\/tenant-parts|status\/(levels|flood-guard)|upstream\/outage-lines|environments\/archive|events\/.*)\.ts$/;
  const own = calls.filter(({ name }) => !elsewhere.test(name));
  expect(own.length).toBeGreaterThan(60);
  expect(own.filter(({ hasRunbook }) => !hasRunbook).map(({ name, call }) => `${name}: ${call}`)).toEqual([]);
});

test('every runbook is a heading of docs/operations.md', () => {
  const page = readFileSync(join(root, 'docs/operations.md'), 'utf8');
  const headings = new Set(
    [...page.matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) => heading.toLowerCase().replaceAll(' ', '-')),
  );
  const named = files.flatMap(({ name, text }) =>
    [...text.matchAll(/'operations\.md#([^']*)'/g)].map(([, anchor = '']) => ({ name, anchor })),
  );
  expect(new Set(named.map(({ anchor }) => anchor)).size).toBeGreaterThan(15);
  expect(named.filter(({ anchor }) => !headings.has(anchor))).toEqual([]);
});

test('lines about events and about their spool name theirs', async () => {
  const directory = join(root, 'package.json', 'spool');
  const relay = opened(
    await startTestRelay({
      LD_ENV_production: 'sdk-log-lines-test',
      USE_EVENTS: 'true',
      // Nobody listens on it.
      EVENTS_HOST: 'http://127.0.0.1:9',
      STREAM_URI: 'http://127.0.0.1:9',
      EVENTS_SPOOL_DIR: directory,
    }),
  );
  const runbookOf = (start: string) => relay.lines.find(({ message }) => message.startsWith(start))?.fields.runbook;
  await eventually(() => {
    expect(runbookOf('Cannot deliver events')).toBe('operations.md#events-dropped');
    expect(runbookOf('Cannot use EVENTS_SPOOL_DIR')).toBe('operations.md#event-spool');
  });
});
