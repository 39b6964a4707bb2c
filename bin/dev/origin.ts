import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { CloudFrontRequest, CloudFrontResponse } from 'aws-lambda';
import { toCloudFrontHeaders, toNodeHeaders } from './cloudfront.ts';

/** CloudFront's own error responses: 502 for a function's invalid result or an unreachable origin, 503 for a failed function, 504 for a slow origin. */
export class EdgeError extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** The response of the request's custom origin, which is at `hostname`. Rejects with an EdgeError if it does not answer. */
export function fetchOrigin(
  request: CloudFrontRequest,
  body: Buffer,
  hostname: string,
): Promise<{ answer: CloudFrontResponse; body: Buffer }> {
  const { port, protocol, path, readTimeout } = request.origin!.custom!;
  const query = request.querystring && `?${request.querystring}`;
  return new Promise((resolve, reject) => {
    const outgoing = (protocol === 'https' ? httpsRequest : httpRequest)({
      hostname,
      // Connection: Keep-Alive, as CloudFront says, is for its own connections.
      agent: false,
      setHost: false,
      port,
      method: request.method,
      path: `${path}${request.uri}${query}`,
      headers: toNodeHeaders(request.headers),
      timeout: readTimeout * 1_000,
    });
    outgoing.on('timeout', () => {
      reject(new EdgeError(504, `the origin ${hostname}:${port} did not respond within ${readTimeout} s`));
      outgoing.destroy();
    });
    const fail = (problem: Error) =>
      reject(new EdgeError(502, `cannot reach the origin ${hostname}:${port}: ${problem.message}`));
    outgoing.on('error', fail);
    outgoing.on('response', (incoming) => {
      const answer: CloudFrontResponse = {
        status: String(incoming.statusCode),
        statusDescription: incoming.statusMessage ?? '',
        headers: toCloudFrontHeaders(incoming.headers),
      };
      // The body is sent on as a whole, not in the origin's chunks.
      delete answer.headers['transfer-encoding'];
      bytesOf(incoming).then((bytes) => resolve({ answer, body: bytes }), fail);
    });
    outgoing.end(body);
  });
}

export async function bytesOf(incoming: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of incoming) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}
