import { createTurnstile } from '../../../relay-task/upstream/turnstile.ts';

/** Jobs that end when they are told to, by name, and the names of those that began, in their order. */
function createJobs(turnstile: ReturnType<typeof createTurnstile>) {
  const begun: string[] = [];
  const ends = new Map<string, (error?: Error) => void>();
  const start = (name: string) =>
    turnstile(() => {
      begun.push(name);
      return new Promise<string>((resolve, reject) => {
        ends.set(name, (error) => (error ? reject(error) : resolve(name)));
      });
    });
  return { begun, ends, start };
}

const settled = () => new Promise((resolve) => setImmediate(resolve));

test('lets so many in, the others in their order, and nobody past those who wait', async () => {
  const { begun, ends, start } = createJobs(createTurnstile({ maxInside: 2, maxWaiting: 2 }));
  const jobs = ['a', 'b', 'c', 'd'].map(start);
  await expect(start('e')).rejects.toThrow('2 questions are under way and 2 wait');
  expect(begun).toEqual(['a', 'b']);
  ends.get('b')?.();
  await settled();
  expect(begun).toEqual(['a', 'b', 'c']);
  const late = start('f');
  await settled();
  expect(begun).toEqual(['a', 'b', 'c']);
  for (const name of ['a', 'c', 'd', 'f']) {
    ends.get(name)?.();
    await settled();
  }
  expect(await Promise.all([...jobs, late])).toEqual(['a', 'b', 'c', 'd', 'f']);
});

test('a job that fails makes room as well', async () => {
  const { begun, ends, start } = createJobs(createTurnstile({ maxInside: 1, maxWaiting: 1 }));
  const first = start('a');
  const second = start('b');
  ends.get('a')?.(new Error('no'));
  await expect(first).rejects.toThrow('no');
  await settled();
  expect(begun).toEqual(['a', 'b']);
  ends.get('b')?.();
  expect(await second).toBe('b');
});
