/** A request on its way through the router's three functions, each checked as CloudFront checks it. */
import type { CloudFrontHeaders, CloudFrontRequest, CloudFrontResponse, CloudFrontResultResponse } from 'aws-lambda';
import { describeResultProblem } from '../../../bin/dev/cloudfront.ts';
import { checkRouterConfig } from '../../../lambda/edge-router/check-config.ts';
import type { Overrides } from '../../../lambda/edge-router/engine.ts';
import {
  createOriginRequestHandler,
  createViewerRequestHandler,
  createViewerResponseHandler,
} from '../../../lambda/edge-router/index.ts';
import type { Detail } from '../../../lib/evaluation/index.ts';
import { routerConfigs } from '../../../lib/infrastructure/edge-configs.ts';
import type { EdgeSettings } from '../../../lib/infrastructure/stage-settings.ts';
import { requestEvent, responseEvent } from './events.ts';

export const site = {
  origins: {
    stable: { domainName: 'stable.example.com' },
    canary: { domainName: 'canary.example.com' },
    beta: { domainName: 'beta.example.com', fallback: 'stable' },
  },
  defaultVariant: 'stable',
};
export const values = (headers: CloudFrontHeaders | undefined, name: string) =>
  headers?.[name]?.map(({ value }) => value);

/** What flags say: a value, or a whole detail. */
export type Flags = Readonly<Record<string, unknown>>;

export function readerOf(flags: Flags, asked: string[] = [], contexts: unknown[] = []) {
  return {
    async variationDetail(flagKey: string, context: unknown, fallback: unknown): Promise<Detail> {
      asked.push(flagKey);
      contexts.push(context);
      const given = flags[flagKey];
      if (given === undefined)
        return { value: fallback, variationIndex: null, reason: { kind: 'ERROR', errorKind: 'FLAG_NOT_FOUND' } };
      if (typeof given === 'object' && given !== null && 'reason' in given) return given as Detail;
      return { value: given, variationIndex: 0, reason: { kind: 'FALLTHROUGH' } };
    },
  };
}

export type Settings = Partial<Omit<EdgeSettings, 'prefix'>>;

/** Throws what CloudFront would refuse. Returns what the viewer gets, what the origin got, and what is in the cache key. */
export async function serve(
  settings: Settings,
  flags: Flags,
  sent: { uri?: string; querystring?: string; method?: string; headers?: Record<string, string> } = {},
  { overrides, fallbacks }: { overrides?: Overrides; fallbacks?: readonly string[] } = {},
) {
  const asked: string[] = [];
  const contexts: unknown[] = [];
  const configs = routerConfigs({ ...site, ...settings }, { tableName: 'flags', replicas: { default: ['eu-west-1'] } });
  for (const config of Object.values(configs)) checkRouterConfig(config);
  const event = requestEvent('viewer-request', sent.headers);
  const { headers: _, ...rest } = sent;
  Object.assign(event.Records[0]!.cf.request, { querystring: '', ...rest });
  const before = structuredClone(event.Records[0]!.cf.request);
  const handler = createViewerRequestHandler(
    configs['viewer-request'],
    readerOf(flags, asked, contexts),
    undefined,
    overrides && { overrides: () => overrides },
  );
  const viewed = await handler(event);
  const problem = describeResultProblem('viewer-request', viewed, before.headers);
  if (problem) throw new Error(problem);
  const seen = { asked, contexts, decision: values(viewed.headers, 'x-flag-decision')?.[0] };
  if ('status' in viewed) {
    const none = { key: undefined, origin: undefined, forwarded: undefined };
    return { ...seen, ...none, answer: viewed as CloudFrontResultResponse };
  }

  const request = viewed as CloudFrontRequest;
  const key = { variant: values(request.headers, 'x-flag-variant')![0], uri: request.uri, query: request.querystring };
  const missed = requestEvent('origin-request');
  const custom = missed.Records[0]!.cf.request.origin!.custom!;
  if (fallbacks) custom.domainName = fallbacks[0]!;
  Object.assign(missed.Records[0]!.cf.request, structuredClone(request), { origin: { custom } });
  const got = structuredClone(missed.Records[0]!.cf.request.headers);
  const forwarded = await createOriginRequestHandler({
    ...configs['origin-request'],
    ...(fallbacks && { fallbacks }),
  })(missed);
  const wrong = describeResultProblem('origin-request', forwarded, got);
  if (wrong) throw new Error(wrong);

  const answered = responseEvent({}, { 'Set-Cookie': 'theirs=1', 'X-Powered-By': 'origin' });
  Object.assign(answered.Records[0]!.cf, { request });
  const received = structuredClone(answered.Records[0]!.cf.response);
  const answer: CloudFrontResponse = await createViewerResponseHandler(configs['viewer-response'])(answered);
  const bad = describeResultProblem('viewer-response', answer, received.headers, received.status);
  if (bad) throw new Error(bad);
  return { ...seen, answer, key, origin: forwarded.origin?.custom?.domainName, forwarded };
}
