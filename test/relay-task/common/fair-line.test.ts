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

describe('entering by hand', () => {
  const lanesOf = (address: string) => ['a', address] as const;

  test('begins at once if there is a place, and leaving twice gives it to one other', () => {
    const line = createFairLine({ maxInside: 1 });
    const begun: string[] = [];
    const leaving: (() => void)[] = [];
    const enter = (name: string) =>
      line.enter(lanesOf(name), (leave) => {
        begun.push(name);
        leaving.push(leave);
      });
    enter('first');
    expect(begun).toEqual(['first']);
    enter('second');
    enter('third');
    leaving[0]?.();
    leaving[0]?.();
    expect(begun).toEqual(['first', 'second']);
  });

  test('a job that steps aside gives its place to one other, and none of its lanes begins before it leaves', () => {
    const line = createFairLine({ maxInside: 1 });
    const begun: string[] = [];
    const leaving = new Map<string, () => void>();
    const aside = new Map<string, () => void>();
    const enter = (name: string, address: string) =>
      line.enter(lanesOf(address), (leave, stepAside) => {
        begun.push(name);
        leaving.set(name, leave);
        aside.set(name, stepAside);
      });
    enter('first', 'x');
    enter('same address', 'x');
    enter('other', 'y');
    enter('last', 'z');
    aside.get('first')?.();
    aside.get('first')?.();
    expect(begun).toEqual(['first', 'other']);
    leaving.get('first')?.();
    leaving.get('first')?.();
    expect(begun).toEqual(['first', 'other']);
    leaving.get('other')?.();
    expect(begun).toEqual(['first', 'other', 'last']);
    leaving.get('last')?.();
    aside.get('last')?.();
    expect(begun).toEqual(['first', 'other', 'last', 'same address']);
  });

  test('a job that gives up waiting is skipped, takes no room and is forgotten', () => {
    const line = createFairLine({ maxInside: 1, maxSize: 4 });
    const begun: string[] = [];
    let leave = () => {};
    const enter = (name: string, address: string) =>
      line.enter(lanesOf(address), (leaving) => {
        begun.push(name);
        leave = leaving;
      });
    enter('first', 'x');
    const giveUps = [enter('same address', 'x'), enter('other', 'y'), enter('behind it', 'y')];
    expect(line.fits(lanesOf('z'), 1)).toBe(false);
    for (const giveUp of [...giveUps, ...giveUps]) giveUp();
    expect(line.fits(lanesOf('z'), 3)).toBe(true);
    const last = enter('last', 'y');
    leave();
    expect(begun).toEqual(['first', 'last']);
    // It has begun.
    last();
    leave();
    expect(line.fits(lanesOf('z'), 4)).toBe(true);
  });

  test('thousands that leave as they begin do not pile up on the stack @heavy', () => {
    const line = createFairLine({ maxInside: 1 });
    let leaveFirst = () => {};
    line.enter(lanesOf('first'), (leave) => {
      leaveFirst = leave;
    });
    let begun = 0;
    for (let index = 0; index < 20_000; index++) {
      line.enter(lanesOf(`${index % 100}`), (leave) => {
        begun++;
        leave();
      });
    }
    leaveFirst();
    expect(begun).toBe(20_000);
  });
});
