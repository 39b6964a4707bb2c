/** A collector: a real HTTP server on a free port that takes OTLP in protobuf, and can be made to refuse it. */
import { createServer, type IncomingHttpHeaders, type RequestListener, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import type { TlsOptions } from 'node:tls';
import { gunzipSync } from 'node:zlib';
import { metricsIn, type ReceivedMetric, type ReceivedSpan, spansIn } from './otlp-messages.ts';

interface ReceivedRequest {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  /** Decompressed. */
  readonly body: Buffer;
}

export interface OtlpReceiver {
  readonly uri: string;
  /** Every request so far, the refused ones, too. */
  readonly requests: readonly ReceivedRequest[];
  /** Of requests that were accepted. */
  readonly metrics: readonly ReceivedMetric[];
  readonly spans: readonly ReceivedSpan[];
  /** `hang`: no answer at all. */
  answer: 'take' | 'hang' | { readonly status: number; readonly headers?: Readonly<Record<string, string>> };
  close(): Promise<void>;
}

/** `tls`: it takes https only. */
export async function startOtlpReceiver(tls?: TlsOptions): Promise<OtlpReceiver> {
  const requests: ReceivedRequest[] = [];
  const metrics: ReceivedMetric[] = [];
  const spans: ReceivedSpan[] = [];
  const hanging = new Set<ServerResponse>();
  const listener: RequestListener = async (request, response) => {
    // Who gives up before the end, as at a time-out, has sent no request.
    const sent = await buffer(request).catch(() => undefined);
    if (!sent) return;
    const { headers, url: path = '' } = request;
    const body = headers['content-encoding'] === 'gzip' ? gunzipSync(sent) : sent;
    requests.push({ path, headers, body });
    const { answer } = receiver;
    if (answer === 'hang') {
      hanging.add(response);
      return;
    }
    if (answer !== 'take') {
      response.writeHead(answer.status, answer.headers).end();
      return;
    }
    if (path.endsWith('/v1/traces')) spans.push(...spansIn(body));
    else metrics.push(...metricsIn(body));
    response.writeHead(200, { 'Content-Type': 'application/x-protobuf' }).end();
  };
  const server = tls ? createTlsServer(tls, listener) : createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const receiver: OtlpReceiver = {
    uri: `${tls ? 'https' : 'http'}://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    metrics,
    spans,
    answer: 'take',
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const response of hanging) response.destroy();
        server.closeAllConnections();
      }),
  };
  return receiver;
}
