import { problemOf } from '../common/problem.ts';
import { type RelayAddress, requestRelay } from '../common/relay-request.ts';
import type { Delivery, Receipt } from './delivery.ts';

export interface SenderOptions extends RelayAddress {
  /** Default 10,000. */
  readonly timeoutMs?: number;
}

/**
 * The second of two functions, in the relay's VPC: posts a payload to the relay, as an SDK does. Never rejects: the first function
 * gets the reason, and Lambda calls that one again.
 */
export function createSender({
  url,
  serverName,
  timeoutMs = 10_000,
}: SenderOptions): (one: Delivery) => Promise<Receipt> {
  const post = ({ id, body, sdkKey }: Delivery) =>
    new Promise<void>((resolve, reject) => {
      const signal = AbortSignal.timeout(timeoutMs);
      const headers = {
        'content-type': 'application/json',
        'content-length': String(Buffer.byteLength(body)),
        'user-agent': 'edge-flag-relay-exposures',
        'x-launchdarkly-event-schema': '4',
        'x-launchdarkly-payload-id': id,
      };
      const about = { url, serverName, sdkKey, headers, signal } as const;
      const outgoing = requestRelay({ ...about, method: 'POST', path: '/bulk' }, (incoming) => {
        const { statusCode = 0 } = incoming;
        incoming.resume();
        if (statusCode >= 200 && statusCode < 300) resolve();
        else reject(new Error(`the relay answered ${statusCode}`));
      });
      outgoing.on('error', (error) => {
        const why = signal.aborted ? `did not answer within ${timeoutMs} ms` : `cannot be reached: ${error.message}`;
        reject(new Error(`the relay ${why}`));
      });
      outgoing.end(body);
    });

  return async (one) => {
    try {
      await post(one);
      return { ok: true };
    } catch (error) {
      return { ok: false, problem: problemOf(error) };
    }
  };
}
