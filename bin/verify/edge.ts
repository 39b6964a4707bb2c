import { createEdgeCheck } from '../../lambda/canary/edge.ts';
import { DECISION_HEADER } from '../../lambda/edge-router/config.ts';
import { httpRequest } from '../../relay-task/common/http-request.ts';
import type { OpenAws } from '../aws/open.ts';
import { bad, type Check, good, inTurns, note, unknown } from '../checks/check.ts';
import type { Deployment } from './deployment.ts';

/** Requests the site as a viewer does, by every name it has: the router must report a decision. */
export function edgeChecks(
  { stage, stacks }: Deployment,
  { agentFor, signal }: Pick<OpenAws, 'agentFor' | 'signal'>,
  reach: (url: string) => string = (url) => url,
): Promise<Check[]> {
  const { edge } = stage;
  if (!edge) return Promise.resolve([]);
  const { check = edge.distributionId === undefined ? '/' : false, domainNames = [] } = edge;
  if (check === false)
    return Promise.resolve([note('edge', 'site', 'not checked, since edge.check names no page to ask for')]);
  const address = stacks.get(`edge-flag-relay-${stage.name}-edge`)?.outputs.DistributionAddress;
  // A wildcard is not a name that can be requested.
  const names = [...(address === undefined ? [] : [address]), ...domainNames.filter((name) => !name.startsWith('*.'))];
  const urls = check.startsWith('/') ? names.map((name) => `https://${name}${check}`) : [check];
  if (urls.length === 0) {
    const advice = 'deploy again, or set edge.domainNames';
    return Promise.resolve([note('edge', 'site', 'not checked, since its address is not known', advice)]);
  }
  // `fetch` knows neither proxies nor PROXY_CA_CERTS.
  const head = async (address: string, timeoutMs: number) => {
    const url = new URL(address);
    const asked = httpRequest({ url, method: 'HEAD', agent: agentFor(url), timeoutMs, signal });
    // The message contains the cause.
    const { status, headers } = await asked.catch(({ message }: Error) => Promise.reject(new Error(message)));
    const decision = headers[DECISION_HEADER];
    return { status, headers: new Headers(decision === undefined ? {} : { [DECISION_HEADER]: String(decision) }) };
  };
  return inTurns(
    urls,
    async (url) => {
      const { hostname } = new URL(url);
      const ask = createEdgeCheck({
        url: reach(url),
        decisionHeader: DECISION_HEADER,
        namespace: '',
        head,
        write() {},
      });
      const { ok, problem = '', ms } = await ask();
      return [
        ok
          ? good('edge', hostname, `the flag decides, ${ms} ms`)
          : bad(
              'edge',
              hostname,
              problem,
              'docs/edge-router.md explains the header; the log of viewer-request has the reason',
            ),
      ];
    },
    (url, error) => unknown('edge', url, (error as Error).message),
  );
}
