import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { SSMClient } from '@aws-sdk/client-ssm';
import { outboundOf } from '../outbound.ts';
import { type Aws, type Credentials, createAws } from './ask.ts';

export interface OpenAws {
  readonly aws: Aws;
  /** Rejects without credentials. */
  credentials(): Promise<Credentials>;
  /** By region; each is opened once. */
  ssm(region: string): SSMClient;
  dynamoDB(region: string): DynamoDBClient;
  close(): void;
}

/**
 * Everything to ask AWS with: the two clients of its SDK that the relay has, and requests of our own, with the credentials that the SDK
 * finds. Throws RelayError CONFIG_INVALID for an invalid proxy.
 */
export function openAws(env: NodeJS.ProcessEnv, signal?: AbortSignal): OpenAws {
  const outbound = outboundOf(env);
  const agents = outbound.awsAgents();
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
  const ssm = (region: string) => once(ssms, region, () => new SSMClient(optionsOf(region)));
  // The region does not matter: the provider is the same for all of them.
  const credentials = () => ssm(env.AWS_REGION ?? 'us-east-1').config.credentials();
  return {
    ...{ credentials, ssm, aws: createAws({ credentials, agents, env, signal }) },
    dynamoDB: (region) => once(dynamoDBs, region, () => new DynamoDBClient(optionsOf(region))),
    close() {
      for (const client of [...ssms.values(), ...dynamoDBs.values()]) client.destroy();
      agents?.httpAgent.destroy();
      agents?.httpsAgent.destroy();
    },
  };
}
