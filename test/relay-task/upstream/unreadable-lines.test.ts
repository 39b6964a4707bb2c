import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { UnreadableItem } from '../../../relay-task/ports.ts';
import { startFileSource } from '../../../relay-task/upstream/file.ts';
import { createUnreadableLines } from '../../../relay-task/upstream/unreadable-lines.ts';
import { eventually } from '../../support/eventually.ts';
import { flag } from '../../support/items.ts';
import { createLogRecorder } from '../../support/logs.ts';

const bad = (key: string): UnreadableItem => ({ kind: 'features', key, reason: 'is not JSON' });

test.each(['', ' in the flags file'])(
  'items%s that are good again have one line, however many, and only those that were told',
  (where) => {
    const { log, shown } = createLogRecorder();
    const lines = createUnreadableLines({ log, held: () => undefined, where });
    lines.full([bad('a'), bad('b'), bad('c')]);
    lines.full([bad('c')]);
    lines.full([bad('c')]);
    lines.arrived(flag('never-bad', 2));
    expect(shown.map((line) => line.replace(/ \{.*/, ''))).toEqual([
      ...Array.from({ length: 3 }, () => `WARN Item${where} is invalid and was ignored; nothing is served for it`),
      `INFO Items${where} that were invalid no longer are: 2 items`,
    ]);
    expect(shown.at(-1)).toContain('"items":"features a, features b"');
  },
);

test('a flags file that can be read again has one line', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'mended-'));
  const path = join(directory, 'flags.json');
  const { log, shown } = createLogRecorder();
  const messages = () => shown.map((line) => line.replace(/ \{.*/, ''));
  writeFileSync(path, '{"flagValues":{"a":1}}');
  const source = await startFileSource({
    ...{ path, log, held: () => undefined, pollIntervalMs: 5, settleMs: 1 },
    sink: { put() {}, upsert() {}, skip() {} },
  });
  try {
    writeFileSync(path, '{"flagValues":');
    await eventually(() => expect(messages()).toHaveLength(1));
    writeFileSync(path, '{"flagValues":{"a":2}}');
    await eventually(() => expect(messages()).toHaveLength(2));
    expect(messages()).toEqual([
      'WARN Could not read the flags file; still serving the last good version',
      'INFO The flags file can be read again, and is served',
    ]);
  } finally {
    await source.close();
    rmSync(directory, { recursive: true });
  }
});
