import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { SSMClient } from '@aws-sdk/client-ssm';
import { callAwsOnce } from '../../relay-task/common/aws-call.ts';
import type { Outbound } from '../../relay-task/ports.ts';
import { outboundOf } from '../outbound.ts';
import { type Aws, type Credentials, createAws, TIMEOUT_MS } from './ask.ts';
import { regionIn } from './region.ts';

export interface OpenAws {
  readonly aws: Aws;
  /** Rejects without credentials. */
  credentials(): Promise<Credentials>;
  /** By region; each is opened once. */
  ssm(region: string): SSMClient;
  dynamoDB(region: string): DynamoDBClient;
  /** How others than AWS are reached. */
  readonly agentFor: Outbound['agentFor'];
  /** Aborted when the time for everything is over. */
  readonly signal: AbortSignal;
  close(): void;
}

export interface OpenAwsOptions {
  /** For everything together. @default 180,000 */
  readonly deadlineMs?: number;
  /** For one request, and for one question to the SDK's clients with its repetitions. @default 10,000 */
  readonly timeoutMs?: number;
}

/** Somebody may have to type a code for them. */
const CREDENTIALS_MS = 60_000;

/**
 * Everything to ask AWS with: the two clients of its SDK that the relay has, and requests of our own, with the credentials that the SDK
 * finds. All of it ends in time, whatever answers. Throws RelayError CONFIG_INVALID for an invalid proxy, and an Error for an invalid
 * AWS_ENDPOINT_URL.
 */
export function openAws(env: NodeJS.ProcessEnv, options: OpenAwsOptions = {}): OpenAws {
  const { deadlineMs = 180_000, timeoutMs = TIMEOUT_MS } = options;
  checkEndpoints(env);
  const outbound = outboundOf(env);
  const agents = outbound.awsAgents();
  const deadline = new AbortController();
  const late = new Error(`not asked: the ${deadlineMs / 1_000} s that all questions may take are over`);
  const timer = setTimeout(() => deadline.abort(late), deadlineMs);
  const { signal } = deadline;
  // Each client closes its agents.
  const optionsOf = (region: string) => {
    const own = outbound.awsAgents();
    return { region, ...(own && { requestHandler: own }) };
  };
  const ssms = new Map<string, SSMClient>();
  const dynamoDBs = new Map<string, DynamoDBClient>();
  const once = <T>(opened: Map<string, T>, region: string, open: () => T): T => {
    const known = opened.get(region) ?? open();
    opened.set(region, known);
    return known;
  };
  // The SDK's clients wait for as long as a connection is open.
  const limited =
    (service: string) =>
    <In, Out>(next: (input: In) => Promise<Out>) =>
    (input: In) =>
      callAwsOnce(() => next(input), { service, timeoutMs, signal });
  const ssm = (region: string) =>
    once(ssms, region, () => {
      const client = new SSMClient(optionsOf(region));
      client.middlewareStack.add(limited(`SSM in ${region}`), { step: 'initialize', priority: 'high' });
      return client;
    });
  const dynamoDB = (region: string) =>
    once(dynamoDBs, region, () => {
      const client = new DynamoDBClient(optionsOf(region));
      client.middlewareStack.add(limited(`DynamoDB in ${region}`), { step: 'initialize', priority: 'high' });
      return client;
    });
  // The region does not matter: the provider is the same for all of them.
  const credentials = () =>
    callAwsOnce(() => ssm(regionIn(env) ?? 'us-east-1').config.credentials(), {
      ...{ service: 'the source of AWS credentials', timeoutMs: CREDENTIALS_MS, signal },
    });
  return {
    ...{ credentials, ssm, dynamoDB, signal, aws: createAws({ credentials, agents, env, signal, timeoutMs }) },
    agentFor: outbound.agentFor,
    close() {
      clearTimeout(timer);
      for (const client of [...ssms.values(), ...dynamoDBs.values()]) client.destroy();
      agents?.httpAgent.destroy();
      agents?.httpsAgent.destroy();
    },
  };
}

function checkEndpoints(env: NodeJS.ProcessEnv): void {
  for (const [name, value = ''] of Object.entries(env)) {
    if (!name.startsWith('AWS_ENDPOINT_URL') || value === '' || /^https?:$/.test(protocolOf(value))) continue;
    throw new Error(`${name}=${value} is invalid: expected a URL such as http://127.0.0.1:4566`);
  }
}

function protocolOf(text: string): string {
  return URL.canParse(text) ? new URL(text).protocol : '';
}
