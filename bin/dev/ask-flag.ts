import type { SampleContext } from './sample-contexts.ts';

export interface FlagAnswer {
  readonly value?: unknown;
  readonly reason?: string;
  readonly variant?: string;
  readonly errorCode?: string;
  readonly errorDetails?: string;
}

/** What the relay answers for a user, over OFREP. Throws an Error for an answer that is none. */
export async function askFlag(
  { relayUrl, sdkKey }: { readonly relayUrl: string; readonly sdkKey: string },
  flagKey: string,
  { key, attributes }: SampleContext,
): Promise<FlagAnswer> {
  const answer = await fetch(`${relayUrl}/ofrep/v1/evaluate/flags/${encodeURIComponent(flagKey)}`, {
    method: 'POST',
    headers: { Authorization: sdkKey, 'Content-Type': 'application/json' },
    body: JSON.stringify({ context: { ...attributes, targetingKey: key } }),
  });
  const body = (await answer.json()) as FlagAnswer;
  if (!answer.ok && body.errorCode === undefined) throw new Error(`the relay answered ${answer.status}`);
  return body;
}
