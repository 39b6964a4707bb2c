import type { EnvironmentDescription } from '../../relay-task/ports.ts';
import { bad, type Check, good, inTurns, unknown } from '../checks/check.ts';

const WAIT_MS = 10_000;

/** Whether LaunchDarkly accepts the relay's SDK keys: with a wrong one no task becomes ready. Response bodies are not read. */
export function onlineChecks(baseUri: string, descriptions: readonly EnvironmentDescription[]): Promise<Check[]> {
  const asked = descriptions.flatMap(({ id, sdkKey, flagsFile }) =>
    sdkKey === undefined || flagsFile !== undefined ? [] : [{ id, sdkKey }],
  );
  return inTurns(
    asked,
    async ({ id, sdkKey }) => [await onlineCheck(baseUri, id, sdkKey)],
    ({ id }, error) => {
      const { message, cause } = error as Error;
      const reason = cause instanceof Error ? cause.message || String((cause as NodeJS.ErrnoException).code) : message;
      const advice = `is ${baseUri} reachable from here? --offline leaves this out`;
      return unknown('launchdarkly', id, `could not ask LaunchDarkly about ${id}: ${reason}`, advice);
    },
  );
}

async function onlineCheck(baseUri: string, id: string, sdkKey: string): Promise<Check> {
  const answer = await fetch(`${baseUri.replace(/\/+$/, '')}/sdk/latest-all`, {
    headers: { Authorization: sdkKey, 'User-Agent': 'edge-flag-relay-preflight' },
    signal: AbortSignal.timeout(WAIT_MS),
  });
  await answer.body?.cancel();
  if (answer.ok) return good('launchdarkly', id, `LaunchDarkly accepts the SDK key of ${id}`);
  if (answer.status === 401 || answer.status === 403) {
    const what = `LaunchDarkly rejected the SDK key of ${id} (${answer.status}): no task would become ready`;
    return bad('launchdarkly', id, what, 'compare it with the environment in LaunchDarkly');
  }
  return unknown('launchdarkly', id, `LaunchDarkly answered ${answer.status} for ${id}`, 'try again later');
}
