import { Session } from 'node:inspector/promises';

/**
 * How often the blocks of source files whose paths match were executed by each work, in all: a measure of effort that does not depend on the
 * machine's speed. To be called once per test file, since code that V8 has optimised meanwhile would not be counted.
 */
export async function countExecuted(files: RegExp, works: readonly (() => void)[]): Promise<number[]> {
  const session = new Session();
  session.connect();
  await session.post('Profiler.enable');
  await session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true });
  const counts: number[] = [];
  for (const work of works) {
    work();
    const { result } = await session.post('Profiler.takePreciseCoverage');
    const blocks = result
      .filter(({ url }) => files.test(url))
      .flatMap(({ functions }) => functions.flatMap(({ ranges }) => ranges));
    counts.push(blocks.reduce((sum, { count }) => sum + count, 0));
  }
  await session.post('Profiler.stopPreciseCoverage');
  session.disconnect();
  return counts;
}
