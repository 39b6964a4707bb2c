import type { Memo } from '../../lib/evaluation/index.ts';

/** Flags evaluated between two looks at the clock. */
const FLAGS_AT_ONCE = 32;
/** Fewer if they cost more: half a millisecond. */
const WORK_AT_ONCE = 500_000;

/** Asked after each flag that is evaluated with the memo: whether it is time to look at the clock. */
export function createPace(memo: Memo): () => boolean {
  let flags = 0;
  let before = memo.work;
  return () => {
    flags++;
    if (flags < FLAGS_AT_ONCE && memo.work - before < WORK_AT_ONCE) return false;
    flags = 0;
    before = memo.work;
    return true;
  };
}
