import type { Log } from '../ports.ts';
import type { FileRemark } from './file-entry.ts';

/** Of one reading of the file. */
const MOST_NAMED = 10;

/** Log lines about what is most likely a mistake in a flags file: one for each that the file did not have before. */
export function createRemarkLines(log: Log, path: string): (remarks: readonly FileRemark[]) => void {
  let known = new Set<string>();
  return (remarks) => {
    const news = remarks.filter((remark) => !known.has(nameOf(remark)));
    known = new Set(remarks.map(nameOf));
    for (const remark of news.slice(0, MOST_NAMED)) {
      log.warn('Probably a mistake in the flags file; it is served as it is', {
        path,
        ...remark,
        runbook: 'operations.md#broken-flags-files',
      });
    }
    const others = news.length - MOST_NAMED;
    if (others > 0)
      log.warn('More of the flags file is probably a mistake', {
        path,
        remarks: others,
        runbook: 'operations.md#broken-flags-files',
      });
  };
}

function nameOf({ kind, key, at, reason }: FileRemark): string {
  return JSON.stringify([kind, key, at, reason]);
}
