import { createHash, createHmac } from 'node:crypto';
import { type Agent, request as requestPlain } from 'node:http';
import { request as requestSecure, type Agent as SecureAgent } from 'node:https';

/** One request to AWS. */
export interface AwsRequest {
  /** The service name in the signature: `ssm`, `lambda`. */
  readonly service: string;
  readonly region: string;
  /** @default POST */
  readonly method?: 'GET' | 'POST';
  /** With a query, if there is one. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly timeoutMs: number;
  /** Replaces `https://<service>.<region>.amazonaws.com`. */
  readonly endpoint?: string | undefined;
  /** @default Node's own */
  readonly agents?: { readonly httpAgent: Agent; readonly httpsAgent: SecureAgent } | undefined;
}

export interface AwsReply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
}

/**
 * Of an answer. The largest that callers need are templates, which have 1 MiB at most and six times that where XML escapes each
 * character (`&quot;`), and answers of functions, which have 6 MB at most. CloudFormation User Guide, "Understand CloudFormation
 * quotas"; Lambda Developer Guide, "Lambda quotas".
 */
const MAX_ANSWER_BYTES = 8 << 20;

/**
 * Sends the request, signed with the credentials that Lambda puts in `env`. Rejects when no complete answer arrives in time, and when it is
 * too long.
 *
 * Source: AWS General Reference, "Signature Version 4 signing process". The AWS SDK would be most of this function's cold
 * start, for only two calls.
 */
export function sendToAws(
  given: AwsRequest,
  env: Readonly<Record<string, string | undefined>>,
  at = Date.now(),
): Promise<AwsReply> {
  const { service, region, path, body, timeoutMs, method = 'POST', agents } = given;
  const domain = region.startsWith('cn-') ? 'amazonaws.com.cn' : 'amazonaws.com';
  const url = new URL(path, given.endpoint ?? `https://${service}.${region}.${domain}`);
  const headers = signed(given, url, env, at);
  const secure = url.protocol === 'https:';
  const request = secure ? requestSecure : requestPlain;
  const agent = agents && (secure ? agents.httpsAgent : agents.httpAgent);
  return new Promise((resolve, reject) => {
    const signal = AbortSignal.timeout(timeoutMs);
    const fail = (cause: Error) => {
      const why = signal.aborted ? `did not answer within ${timeoutMs} ms` : cause.message;
      reject(new Error(`${service} in ${region}: ${why}`, { cause }));
    };
    const outgoing = request(url, { method, headers, signal, ...(agent && { agent }) }, (incoming) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      incoming.on('data', (chunk: Buffer) => {
        chunks.push(chunk);
        bytes += chunk.length;
        if (bytes > MAX_ANSWER_BYTES) incoming.destroy(new Error(`answered with more than ${MAX_ANSWER_BYTES} bytes`));
      });
      incoming.on('error', fail);
      incoming.on('end', () =>
        resolve({
          status: incoming.statusCode ?? 0,
          headers: incoming.headers,
          body: Buffer.concat(chunks).toString('utf8'),
        }),
      );
    });
    outgoing.on('error', fail);
    outgoing.end(body);
  });
}

function signed(
  { service, region, headers, body, method = 'POST' }: AwsRequest,
  url: URL,
  env: Readonly<Record<string, string | undefined>>,
  at: number,
): Record<string, string> {
  const time = new Date(at).toISOString().replace(/[:-]|\.\d+/g, '');
  const token = env.AWS_SESSION_TOKEN;
  const all: Record<string, string> = {
    ...headers,
    host: url.host,
    'x-amz-date': time,
    ...(token && { 'x-amz-security-token': token }),
  };
  const names = Object.keys(all).sort();
  const lines = names.map((name) => `${name}:${all[name]}\n`).join('');
  const scope = [time.slice(0, 8), region, service, 'aws4_request'];
  const query = [...url.searchParams].map((pair) => pair.map(escaped).join('=')).sort();
  // Signing escapes paths a second time (except for S3); ours contain nothing to escape.
  const canonical = [method, url.pathname, query.join('&'), lines, names.join(';'), sha256(body)].join('\n');
  const key = scope.reduce<string | Buffer>(
    (secret, part) => createHmac('sha256', secret).update(part).digest(),
    `AWS4${env.AWS_SECRET_ACCESS_KEY}`,
  );
  const text = ['AWS4-HMAC-SHA256', time, scope.join('/'), sha256(canonical)].join('\n');
  const signature = createHmac('sha256', key).update(text).digest('hex');
  const credential = `Credential=${env.AWS_ACCESS_KEY_ID}/${scope.join('/')}`;
  const authorization = `AWS4-HMAC-SHA256 ${credential}, SignedHeaders=${names.join(';')}, Signature=${signature}`;
  return { ...all, authorization, 'content-length': String(Buffer.byteLength(body)) };
}

/** As RFC 3986 has it; JavaScript leaves a few more characters alone. */
function escaped(text: string): string {
  const code = (one: string) => `%${one.charCodeAt(0).toString(16).toUpperCase()}`;
  return encodeURIComponent(text).replace(/[!'()*]/g, code);
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
