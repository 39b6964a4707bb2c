import type { EnvironmentDescription } from '../../relay-task/ports.ts';
import { bad, type Check, good, note } from './checks.ts';

const WAIT_MS = 10_000;

/** Whether LaunchDarkly accepts the relay's SDK keys. Response bodies are not read. */
export async function onlineChecks(baseUri: string, descriptions: readonly EnvironmentDescription[]): Promise<Check[]> {
  const checks: Check[] = [];
  for (const { id, sdkKey, flagsFile } of descriptions) {
    if (sdkKey === undefined || flagsFile !== undefined) continue;
    checks.push(await onlineCheck(baseUri, id, sdkKey));
  }
  return checks;
}

async function onlineCheck(baseUri: string, id: string, sdkKey: string): Promise<Check> {
  try {
    const answer = await fetch(`${baseUri.replace(/\/+$/, '')}/sdk/latest-all`, {
      headers: { Authorization: sdkKey, 'User-Agent': 'edge-flag-relay-preflight' },
      signal: AbortSignal.timeout(WAIT_MS),
    });
    await answer.body?.cancel();
    if (answer.ok) return good(`LaunchDarkly accepts the SDK key of ${id}`);
    if (answer.status === 401 || answer.status === 403) {
      return bad(
        `LaunchDarkly rejected the SDK key of ${id} (${answer.status})`,
        'compare it with the environment in LaunchDarkly',
      );
    }
    return note(`LaunchDarkly answered ${answer.status} for ${id}`, 'try again later');
  } catch (error) {
    const { message, cause } = error as Error;
    const reason = cause instanceof Error ? cause.message || String((cause as NodeJS.ErrnoException).code) : message;
    return note(`could not ask LaunchDarkly about ${id}: ${reason}`, `is ${baseUri} reachable from here?`);
  }
}
