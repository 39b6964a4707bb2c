import { type AwsRequest, sendToAws } from './aws-request.ts';
import { type Answer, problemOf, type Question } from './check.ts';
import { metricsLine, valuesOf } from './metrics.ts';

export interface CallerOptions {
  readonly region: string;
  /** The environment's path in SSM: `/edge-flag-relay/<stage>/environments/<environment>`. */
  readonly parameters: string;
  /** The function that does the check. */
  readonly readerName: string;
  /** The CloudWatch namespace of the metrics. */
  readonly namespace: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Writes one line, which includes its line feed. Default: standard output. */
  write?(line: string): void;
  /** Tests only: the endpoint of SSM and Lambda. */
  readonly endpoint?: string;
}

/**
 * The first of two functions: reads the environment's key from SSM, has the other function, which runs in the relay's VPC,
 * check relay and table, and reports the result to CloudWatch. Never rejects: a failed check is a metric, not a retry.
 */
export function createCaller(options: CallerOptions): () => Promise<Answer> {
  const { region, parameters, readerName, namespace, env } = options;
  const write = options.write ?? ((line: string) => void process.stdout.write(line));

  const send = async (request: Omit<AwsRequest, 'region' | 'endpoint'>) =>
    sendToAws({ ...request, region, endpoint: options.endpoint }, env);

  async function question(): Promise<Question> {
    const [keyName, prefixName] = [`${parameters}/sdk-key`, `${parameters}/prefix`];
    const { status, body } = await send({
      service: 'ssm',
      path: '/',
      headers: { 'content-type': 'application/x-amz-json-1.1', 'x-amz-target': 'AmazonSSM.GetParameters' },
      body: JSON.stringify({ Names: [keyName, prefixName], WithDecryption: true }),
      timeoutMs: 5_000,
    });
    if (status !== 200) throw new Error(`SSM answered ${status} to GetParameters of ${parameters}: ${typeOf(body)}`);
    const { Parameters = [] } = JSON.parse(body) as { Parameters?: { Name: string; Value: string }[] };
    const value = (name: string) => Parameters.find(({ Name }) => Name === name)?.Value;
    const sdkKey = value(keyName);
    if (!sdkKey) throw new Error(`SSM parameter ${keyName} does not exist: create it with npm run keys -- put`);
    return { sdkKey, prefix: value(prefixName) ?? '' };
  }

  async function check(): Promise<Answer> {
    const { status, headers, body } = await send({
      service: 'lambda',
      path: `/2015-03-31/functions/${readerName}/invocations`,
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(await question()),
      timeoutMs: 25_000,
    });
    if (status !== 200) throw new Error(`Lambda answered ${status} to Invoke of ${readerName}: ${typeOf(body)}`);
    // An error message may contain anything, keys included, so only its type is reported; the function's own log has the rest.
    if (headers['x-amz-function-error']) throw new Error(`${readerName} failed: ${typeOf(body)}`);
    return JSON.parse(body) as Answer;
  }

  return async () => {
    const startedAt = Date.now();
    const answer = await check().catch((error): Answer => {
      const failed = { ok: false, ms: Date.now() - startedAt, problem: problemOf(error) };
      return { stream: failed, table: failed };
    });
    const { stream, table } = answer;
    write(metricsLine(namespace, valuesOf(answer), { stream, table }, Date.now()));
    return answer;
  };
}

/** The type of an error that AWS describes in JSON, such as `AccessDeniedException`. */
function typeOf(body: string): string {
  try {
    const { __type, errorType, Type } = JSON.parse(body) as Record<string, unknown>;
    return String(__type ?? errorType ?? Type ?? 'no reason given').slice(0, 200);
  } catch {
    return 'no reason given';
  }
}
