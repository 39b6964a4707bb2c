import { mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileStateOf, watchFile } from '../../../relay-task/common/watch-file.ts';
import { eventually } from '../../support/eventually.ts';
import { closeAfterEach } from '../../support/opened.ts';

const { behind, opened } = closeAfterEach();

function createFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'watch-file-'));
  behind(() => rmSync(folder, { recursive: true }));
  return folder;
}

async function watch(path: string, taken: () => boolean = () => true) {
  const seen = await fileStateOf(path);
  const counts = { changes: 0, unchanged: 0 };
  const onChange = async () => {
    counts.changes += 1;
    return taken();
  };
  const onUnchanged = () => {
    counts.unchanged += 1;
  };
  opened(watchFile({ path, seen, pollIntervalMs: 5, settleMs: 1, onChange, onUnchanged }));
  return counts;
}

test('a file that stays the same is never reported as a change', async () => {
  const path = join(createFolder(), 'file');
  writeFileSync(path, 'a');
  const counts = await watch(path);
  await eventually(() => expect(counts.unchanged).toBeGreaterThan(3));
  expect(counts.changes).toBe(0);
});

test.each<[string, (path: string) => void]>([
  ['written in place', (path) => writeFileSync(path, 'longer')],
  [
    'replaced by another under its name',
    (path) => {
      writeFileSync(`${path}.new`, 'b');
      renameSync(`${path}.new`, path);
    },
  ],
  ['removed', (path) => rmSync(path)],
])('a file that is %s is reported as one change', async (_, change) => {
  const path = join(createFolder(), 'file');
  writeFileSync(path, 'a');
  const counts = await watch(path);
  change(path);
  await eventually(() => expect(counts.changes).toBeGreaterThan(0));
  const { unchanged } = counts;
  await eventually(() => expect(counts.unchanged).toBeGreaterThan(unchanged + 2));
  expect(counts.changes).toBe(1);
});

test('a file that appears and a link that is switched to another file are changes', async () => {
  const folder = createFolder();
  const path = join(folder, 'file');
  const counts = await watch(path);
  writeFileSync(join(folder, 'one'), 'a');
  writeFileSync(join(folder, 'two'), 'b');
  symlinkSync('one', path);
  await eventually(() => expect(counts.changes).toBe(1));
  symlinkSync('two', `${path}.new`);
  renameSync(`${path}.new`, path);
  await eventually(() => expect(counts.changes).toBe(2));
});

test('a change that its handler did not accept is reported again until it does', async () => {
  const path = join(createFolder(), 'file');
  writeFileSync(path, 'a');
  let tries = 0;
  const counts = await watch(path, () => {
    tries += 1;
    return tries === 3;
  });
  writeFileSync(path, 'longer');
  await eventually(() => expect(counts.changes).toBe(3));
  const { unchanged } = counts;
  await eventually(() => expect(counts.unchanged).toBeGreaterThan(unchanged + 2));
  expect(counts.changes).toBe(3);
});
