import { getParameters, invoke, type Send, sdkKeyIn, sdkKeyName } from '../common/aws-calls.ts';
import { sendToAws } from '../common/aws-request.ts';
import { problemOf } from '../common/problem.ts';
import type { Answer, Question } from './check.ts';
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

  const send: Send = (request) => sendToAws({ ...request, region, endpoint: options.endpoint }, env);

  async function question(): Promise<Question> {
    const prefixName = `${parameters}/prefix`;
    const values = await getParameters(send, [sdkKeyName(parameters), prefixName], parameters);
    return { sdkKey: sdkKeyIn(values, parameters), prefix: values.get(prefixName) ?? '' };
  }

  const check = async () => invoke<Answer>(send, readerName, await question(), 25_000);

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
