import { createFairLine } from '../../../relay-task/common/fair-line.ts';
import { eventually } from '../../support/eventually.ts';

function createJobs(maxInside: number) {
  const line = createFairLine({ maxInside });
  const running = new Map<string, () => void>();
  const order: string[] = [];
  return {
    running,
    order,
    add(name: string, environment: string, address: string, job?: () => Promise<void>) {
      return line.run([environment, address], () => {
        order.push(name);
        return job?.() ?? new Promise<void>((resolve) => running.set(name, resolve));
      });
    },
    async end(name: string) {
      await eventually(() => expect([...running.keys()]).toContain(name));
      running.get(name)?.();
      running.delete(name);
    },
  };
}

test('no more jobs run at once than there is room for, and lanes take turns', async () => {
  const jobs = createJobs(2);
  const done = ['1', '2', '3', '4', '5'].map((name) => jobs.add(`flood ${name}`, 'a', `address ${name}`));
  done.push(jobs.add('other', 'b', 'address 1'));
  for (const name of ['flood 1', 'flood 2', 'flood 3', 'other', 'flood 4', 'flood 5']) {
    await eventually(() => expect([...jobs.running.keys()]).toContain(name));
    expect(jobs.running.size).toBeLessThanOrEqual(2);
    await jobs.end(name);
  }
  await Promise.all(done);
  expect(jobs.order).toEqual(['flood 1', 'flood 2', 'flood 3', 'other', 'flood 4', 'flood 5']);
});

test('of one address and environment one job runs at a time', async () => {
  const jobs = createJobs(3);
  const done = [jobs.add('first', 'a', 'x'), jobs.add('second', 'a', 'x'), jobs.add('other', 'a', 'y')];
  await eventually(() => expect([...jobs.running.keys()]).toEqual(['first', 'other']));
  for (const name of ['first', 'second', 'other']) await jobs.end(name);
  await Promise.all(done);
});

test('a job that fails gives its place to the next', async () => {
  const jobs = createJobs(1);
  const failing = jobs.add('bad', 'a', 'x', async () => {
    throw new Error('broken');
  });
  const next = jobs.add('next', 'a', 'x');
  await expect(failing).rejects.toThrow('broken');
  await jobs.end('next');
  await next;
});
