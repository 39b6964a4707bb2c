/** Results as a page for docs/reliability.md: with FAULTS_REPORT=<directory>, `<name>.md` and `<name>.json` are written there. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus, loadavg, totalmem } from 'node:os';
import { join } from 'node:path';
import { root } from '../support/relay-process.ts';

export type Row = Readonly<Record<string, string | number>>;

/** Rows with the same columns in the same order. */
function markdownTable(rows: readonly Row[]): string {
  const columns = Object.keys(rows[0] ?? {});
  const line = (cells: readonly (string | number)[]) => `| ${cells.join(' | ')} |`;
  return [
    line(columns),
    `|${columns.map(() => '---').join('|')}|`,
    ...rows.map((row) => line(Object.values(row))),
  ].join('\n');
}

export function report(name: string, rows: readonly Row[], data: object): void {
  const directory = process.env.FAULTS_REPORT;
  if (directory === undefined) return;
  const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { cwd: root, encoding: 'utf8' }).trim();
  const machine = `${cpus().length} × ${cpus()[0]?.model.trim()}, ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.version}, load ${loadavg()[0]?.toFixed(1)}`;
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, `${name}.md`), `Commit ${commit}; ${machine}.\n\n${markdownTable(rows)}\n`);
  writeFileSync(
    join(directory, `${name}.json`),
    `${JSON.stringify({ commit, machine, rows, ...data }, undefined, 2)}\n`,
  );
}

export const seconds = (ms: number) => (ms / 1_000).toFixed(1);
export const mib = (bytes: number) => Math.round(bytes / 1024 / 1024);
