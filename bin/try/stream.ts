import { sdkKeyOf, type Trial } from './trial.ts';

/** Until the stream or this process ends. */
export async function tryStream(trial: Trial): Promise<number> {
  const { running, output } = trial;
  const response = await fetch(`${running.relayUrl}/all`, { headers: { Authorization: sdkKeyOf(trial) } });
  if (!response.ok || response.body === null) throw new Error(`The relay answered ${response.status}`);
  const decoder = new TextDecoder();
  for await (const chunk of response.body) output.out(decoder.decode(chunk, { stream: true }));
  return 0;
}
