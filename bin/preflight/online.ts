import { httpRequest } from '../../relay-task/common/http-request.ts';
import type { EnvironmentDescription } from '../../relay-task/ports.ts';
import type { OpenAws } from '../aws/open.ts';
import { bad, type Check, good, inTurns, unknown } from '../checks/check.ts';

const WAIT_MS = 10_000;

export type Reach = Pick<OpenAws, 'agentFor' | 'signal'>;

/**
 * Whether LaunchDarkly accepts the relay's SDK keys: with a wrong one no task becomes ready. Asked through the proxy of the variables, as
 * AWS is. Response bodies are not read, and redirects not followed.
 */
export function onlineChecks(
  baseUri: string,
  descriptions: readonly EnvironmentDescription[],
  reach: Reach,
): Promise<Check[]> {
  const asked = descriptions.flatMap(({ id, sdkKey, flagsFile }) =>
    sdkKey === undefined || flagsFile !== undefined ? [] : [{ id, sdkKey }],
  );
  const address = `${baseUri.replace(/\/+$/, '')}/sdk/latest-all`;
  if (!/^https?:\/\//.test(address) || !URL.canParse(address)) {
    const what = `LaunchDarkly’s address ${JSON.stringify(baseUri)} is not a URL`;
    return Promise.resolve([bad('launchdarkly', baseUri, what, 'correct relay.variables.BASE_URI or --base-uri')]);
  }
  const url = new URL(address);
  return inTurns(
    asked,
    async ({ id, sdkKey }) => [await onlineCheck(url, { id, sdkKey }, reach)],
    ({ id }, error) => {
      const advice = `is ${baseUri} reachable from here, or does it need HTTPS_PROXY? --offline leaves this out`;
      return unknown('launchdarkly', id, `could not ask LaunchDarkly about ${id}: ${(error as Error).message}`, advice);
    },
  );
}

async function onlineCheck(
  url: URL,
  { id, sdkKey }: { readonly id: string; readonly sdkKey: string },
  { agentFor, signal }: Reach,
): Promise<Check> {
  signal.throwIfAborted();
  const answer = await httpRequest({
    ...{ url, agent: agentFor(url), timeoutMs: WAIT_MS, signal },
    headers: { authorization: sdkKey, 'user-agent': 'edge-flag-relay-preflight' },
  });
  const { status, headers } = answer;
  if (status === 200 && /json/.test(headers['content-type'] ?? '')) {
    return good('launchdarkly', id, `LaunchDarkly accepts the SDK key of ${id}`);
  }
  if (status === 401 || status === 403) {
    const what = `LaunchDarkly rejected the SDK key of ${id} (${status}): no task would become ready`;
    return bad('launchdarkly', id, what, 'compare it with the environment in LaunchDarkly');
  }
  if (status === 200 || (status >= 300 && status < 400) || status === 407) {
    const what = `${url.host} answered ${status} for ${id}, which LaunchDarkly does not`;
    return unknown('launchdarkly', id, what, `is a proxy or a login page in between? --offline leaves this out`);
  }
  return unknown('launchdarkly', id, `LaunchDarkly (${url.host}) answered ${status} for ${id}`, 'try again later');
}
