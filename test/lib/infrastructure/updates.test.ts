/** What a deployment does to a relay that serves streams already. */
import { drains, maximumPercent, STOP_TIMEOUT_SECONDS } from '../../../lib/infrastructure/relay-contract.ts';

describe('a rolling deployment', () => {
  const sizes = [...Array.from({ length: 300 }, (_, index) => index + 3), 1_000, 4_000];

  /** How many tasks ECS replaces at a time. AWS: "DeploymentConfiguration", maximumPercent is rounded down. */
  const batch = (running: number, percent: number) => Math.floor((running * percent) / 100) - running;

  test('of any fleet replaces about a quarter of it at a time, and three tasks one by one', () => {
    const shares = sizes.map((running) => ({
      running,
      share: batch(running, maximumPercent(running, true)) / running,
    }));
    expect(shares.filter(({ running, share }) => share > 0.341 || share < (running < 8 ? 0.2 : 0.25))).toEqual([]);
    expect(batch(3, maximumPercent(3, true))).toBe(1);
  });

  test('starts a task whatever size the fleet had before: it gets its new size only after the service was updated', () => {
    for (const tasks of [3, 4, 20, 100]) {
      for (const running of [3, 4, 5, 100]) expect(batch(running, maximumPercent(tasks, true))).toBeGreaterThan(0);
      for (const running of [1, 2, 3]) expect(batch(running, maximumPercent(tasks, false))).toBeGreaterThan(0);
    }
    for (const tasks of [1, 2]) expect(batch(1, maximumPercent(tasks, true))).toBeGreaterThan(0);
  });

  test.each(['quick', 'gentle'] as const)(
    'of any fleet ends long before CloudFormation gives up, drain %s',
    (drain) => {
      // Pull and start, LaunchDarkly's answer or INIT_TIMEOUT, two health checks: a generous time for it.
      const startSeconds = 180;
      const each = startSeconds + drains[drain].deregistrationSeconds + STOP_TIMEOUT_SECONDS;
      const longest = Math.max(
        ...sizes.map((running) => Math.ceil(running / batch(running, maximumPercent(running, true))) * each),
      );
      expect(longest).toBeLessThan(1.5 * 3600);
    },
  );
});
