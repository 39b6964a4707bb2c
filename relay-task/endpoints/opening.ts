/** What a request says about the stream that it opens, beside its credential. */
import type { StreamDetails } from '../ports.ts';
import type { ReadContext } from './evalx.ts';
import { holdContext } from './held-context.ts';
import type { EnvironmentRequest } from './request.ts';
import { type RequestContext, requireSecureMode } from './request-context.ts';

/** May reject or throw Refusal. */
export type ReadOpening = (request: EnvironmentRequest) => StreamDetails | Promise<StreamDetails>;

/** A stream that needs nothing but its credential. */
export function plain(kind: 'all' | 'flags' | 'ping' | 'refetch'): ReadOpening {
  return () => ({ kind });
}

export const fdv2: ReadOpening = ({ query }) => ({ kind: 'fdv2', basis: query.get('basis') ?? '' });

export function evaluated(readContext: ReadContext): ReadOpening {
  return async (request) => ({
    kind: 'eval',
    context: holdContext(await provenContext(request, readContext)),
    withReasons: request.query.get('withReasons') === 'true',
  });
}

/** Pings for SDKs that then poll for this context, which is only checked here. */
export function pingFor(readContext: ReadContext): ReadOpening {
  return async (request) => {
    await provenContext(request, readContext);
    return { kind: 'ping' };
  };
}

async function provenContext(request: EnvironmentRequest, readContext: ReadContext): Promise<RequestContext> {
  const read = await readContext(request);
  if (request.credentialKind === 'environmentId') requireSecureMode(request.environment, read.context, request.query);
  return read;
}
