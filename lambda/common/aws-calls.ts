/** The calls to AWS of functions that do without its SDK. */
import type { AwsReply, AwsRequest } from './aws-request.ts';

export type Send = (request: Omit<AwsRequest, 'region' | 'endpoint'>) => Promise<AwsReply>;

/** The values of those SSM parameters that exist, decrypted. `of`: what they belong to, for the message. */
export async function getParameters(send: Send, names: readonly string[], of: string): Promise<Map<string, string>> {
  const { status, body } = await send({
    service: 'ssm',
    path: '/',
    headers: { 'content-type': 'application/x-amz-json-1.1', 'x-amz-target': 'AmazonSSM.GetParameters' },
    body: JSON.stringify({ Names: names, WithDecryption: true }),
    timeoutMs: 5_000,
  });
  if (status !== 200) throw new Error(`SSM answered ${status} to GetParameters of ${of}: ${typeOf(body)}`);
  const { Parameters = [] } = JSON.parse(body) as { Parameters?: { Name: string; Value: string }[] };
  return new Map(Parameters.map(({ Name, Value }) => [Name, Value]));
}

/** The SDK key of an environment. `parameters`: its path, `/edge-flag-relay/<stage>/environments/<environment>`. */
export function sdkKeyIn(values: ReadonlyMap<string, string>, parameters: string): string {
  const name = sdkKeyName(parameters);
  const sdkKey = values.get(name);
  if (!sdkKey) throw new Error(`SSM parameter ${name} does not exist: create it with npm run keys -- put`);
  return sdkKey;
}

export function sdkKeyName(parameters: string): string {
  return `${parameters}/sdk-key`;
}

/** Calls a function and waits for its answer. */
export async function invoke<T>(send: Send, functionName: string, question: unknown, timeoutMs: number): Promise<T> {
  const { status, headers, body } = await send({
    service: 'lambda',
    path: `/2015-03-31/functions/${functionName}/invocations`,
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(question),
    timeoutMs,
  });
  if (status !== 200) throw new Error(`Lambda answered ${status} to Invoke of ${functionName}: ${typeOf(body)}`);
  // An error message may contain anything, keys included, so only its type is reported; the function's own log has the rest.
  if (headers['x-amz-function-error']) throw new Error(`${functionName} failed: ${typeOf(body)}`);
  return JSON.parse(body) as T;
}

/** The type of an error that AWS describes in JSON, such as `AccessDeniedException`. */
export function typeOf(body: string): string {
  try {
    const { __type, errorType, Type } = JSON.parse(body) as Record<string, unknown>;
    return String(__type ?? errorType ?? Type ?? 'no reason given').slice(0, 200);
  } catch {
    return 'no reason given';
  }
}
