import { getParameters, invoke, type Send, sdkKeyIn, sdkKeyName } from '../common/aws-calls.ts';
import { sendToAws } from '../common/aws-request.ts';
import { problemOf } from '../common/problem.ts';
import type { Receipt } from './delivery.ts';
import { type LogBatch, parseBatch, parseLine } from './lines.ts';
import { MOST_FALLBACKS } from './merge.ts';
import { type Payload, payloadsOf } from './payloads.ts';

export interface CollectorOptions {
  /** Where key and sender are: the relay's home region. */
  readonly region: string;
  /** The environment's path in SSM: `/edge-flag-relay/<stage>/environments/<environment>`. */
  readonly parameters: string;
  /** The function that reaches the relay. */
  readonly senderName: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Writes one line without its line feed. */
  write?(line: string): void;
  now?(): number;
  /** Tests only: the endpoint of SSM and Lambda. */
  readonly endpoint?: string;
}

/** How long a key is used before it is read again. */
const KEY_MS = 60_000;
/** Payloads that an earlier try of this invocation, or of another one, delivered. */
const REMEMBERED = 1_000;
/** So many unusable lines are named; all are counted. */
const NAMED = 5;

/**
 * The first of two functions, outside any VPC: makes LaunchDarkly's events of the lines that a log's subscription hands over, and has the
 * other function, which runs in the relay's VPC, send them to the relay. It rejects with the reason if that fails, so that
 * Lambda tries again; lines that cannot be understood are counted in its log and cost the others nothing.
 */
export function createCollector(options: CollectorOptions): (event: unknown) => Promise<void> {
  const { region, parameters, senderName, env, write = console.log, now = Date.now } = options;
  const send: Send = (request) => sendToAws({ ...request, region, endpoint: options.endpoint }, env);
  const delivered = new Set<string>();
  let key: { readonly text: string; readonly at: number } | undefined;

  async function sdkKey(): Promise<string> {
    if (key && now() - key.at < KEY_MS) return key.text;
    const text = sdkKeyIn(await getParameters(send, [sdkKeyName(parameters)], parameters), parameters);
    key = { text, at: now() };
    return text;
  }

  async function deliver(payload: Payload): Promise<void> {
    if (delivered.has(payload.id)) return;
    const receipt = await invoke<Receipt>(send, senderName, { ...payload, sdkKey: await sdkKey() }, 25_000);
    if (!receipt.ok) throw new Error(receipt.problem);
    delivered.add(payload.id);
    const [oldest] = delivered;
    if (delivered.size > REMEMBERED && oldest !== undefined) delivered.delete(oldest);
  }

  function say(level: 'INFO' | 'WARN' | 'ERROR', message: string, fields: Readonly<Record<string, unknown>> = {}) {
    write(JSON.stringify({ level, message, ...fields }));
  }

  return async (event) => {
    let batch: LogBatch;
    try {
      batch = parseBatch(event);
    } catch (error) {
      // Another try would find the same.
      return say('ERROR', 'Ignoring an invocation that cannot be understood', { reason: problemOf(error) });
    }
    const lines = batch.logEvents.map(({ id, message }) => ({ id, ...parseLine(message) }));
    const unusable = lines.flatMap(({ id, problems }) => problems.map((reason) => ({ logEvent: id, reason })));
    const lost = lines.reduce((sum, line) => sum + line.lost, 0);
    const { logGroup } = batch;
    if (unusable.length > 0) {
      const fields = { logGroup, count: unusable.length, named: unusable.slice(0, NAMED) };
      say('WARN', 'Lines with exposures, or events in them, cannot be used and are left out', fields);
    }
    if (lost > 0) say('WARN', 'Exposures were too large for a line of the log and are lost', { logGroup, count: lost });
    const used = lines.filter(({ events }) => events.length > 0);
    const { payloads, folded } = payloadsOf(
      used.map(({ id }) => id),
      used.flatMap(({ events }) => events),
    );
    if (folded > 0) {
      const message = `Evaluations with more than ${MOST_FALLBACKS} fallbacks for one flag are counted with the last of these`;
      say('WARN', message, { logGroup, count: folded });
    }
    try {
      for (const payload of payloads) await deliver(payload);
    } catch (error) {
      key = undefined;
      const reason = problemOf(error);
      say('ERROR', 'Exposures did not reach the relay; Lambda tries again', { logGroup, lines: used.length, reason });
      throw new Error(`exposures did not reach the relay: ${reason}`);
    }
    if (payloads.length > 0)
      say('INFO', 'Exposures reached the relay', { lines: used.length, payloads: payloads.length });
  };
}
