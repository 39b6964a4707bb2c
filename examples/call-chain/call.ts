import { type IncomingHttpHeaders, request as plain } from 'node:http';
import { request as secure } from 'node:https';

export interface Answered {
  readonly statusCode: number;
  readonly headers: IncomingHttpHeaders;
  /** Undefined if it is not JSON. */
  readonly body: unknown;
}

const TIMEOUT_MS = 3_000;
const MOST_BYTES = 64 * 1024;

/** GET on a connection of its own: a kept one would not survive the time between two invocations. Rejects with an Error. */
export function get(url: string, headers: Readonly<Record<string, string>>, timeoutMs = TIMEOUT_MS): Promise<Answered> {
  return new Promise((resolve, reject) => {
    const request = url.startsWith('https:') ? secure : plain;
    const call = request(url, { headers, agent: false, signal: AbortSignal.timeout(timeoutMs) }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        text += chunk;
        if (text.length > MOST_BYTES)
          call.destroy(new Error(`${url} answered with more than ${MOST_BYTES} characters`));
      });
      response.on('error', reject);
      response.on('end', () => {
        resolve({ statusCode: response.statusCode ?? 0, headers: response.headers, body: parse(text) });
      });
    });
    call.on('error', reject);
    call.end();
  });
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
