import { errorText } from '../common/error-text.ts';
import { type HttpAnswer, httpRequest } from '../common/http-request.ts';
import type { Outbound } from '../ports.ts';

interface PostOptions {
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
  readonly outbound?: Outbound | undefined;
  /** For the whole request, from the connection to the end of the response. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

export type PostAnswer =
  | {
      readonly status: number;
      /** LaunchDarkly's clock, Unix ms. */
      readonly serverTime?: number;
      readonly retryAfterMs?: number;
    }
  /** There was no response. The text names the host, but no key. */
  | { readonly problem: string };

/** Why events were not delivered. Without a key. */
export function reasonOf(answer: PostAnswer, host: string): string {
  return 'problem' in answer ? answer.problem : `${host} answered ${answer.status}`;
}

/** One POST. Redirects are not followed. Never rejects. */
export async function post({ outbound, ...request }: PostOptions): Promise<PostAnswer> {
  try {
    return answerOf(await httpRequest({ ...request, method: 'POST', agent: outbound?.agentFor(request.url) }));
  } catch (error) {
    return { problem: errorText(error) };
  }
}

function answerOf({ status, headers }: HttpAnswer): PostAnswer {
  const serverTime = Date.parse(headers.date ?? '');
  const seconds = /^\d{1,6}$/.exec(headers['retry-after'] ?? '')?.[0];
  return {
    status,
    ...(Number.isFinite(serverTime) && { serverTime }),
    ...(seconds !== undefined && { retryAfterMs: Number(seconds) * 1_000 }),
  };
}
