import { DescribeParametersCommand, type ParameterMetadata, type SSMClient } from '@aws-sdk/client-ssm';
import type { Stage } from '../../lib/infrastructure/stages.ts';
import type { Aws } from '../aws/ask.ts';
import type { OpenAws } from '../aws/open.ts';
import { describeKey } from './needed-keys.ts';
import type { Needed, NeededOptions } from './needed-thing.ts';

/** Only metadata is read, and a value only where the fields of its JSON are asked for. */
export function secretsOf(
  { homeRegion, relayRegions, relay }: Stage,
  open: OpenAws,
  { fields }: Pick<NeededOptions, 'fields'>,
): Needed[] {
  const { agent, encryptionKeys } = relay;
  const sources: (readonly [at: string, source: string])[] = Object.entries(relay.secrets).map(([name, source]) => [
    `relay.secrets.${name}`,
    source,
  ]);
  if (agent && 'datadog' in agent) sources.push(['relay.agent.datadog.apiKey', agent.datadog.apiKey]);
  if (agent && 'otel' in agent) {
    for (const part of ['headers', 'secrets'] as const)
      for (const [name, source] of Object.entries(agent.otel[part] ?? {}))
        sources.push([`relay.agent.otel.${part}.${name}`, source]);
  }
  return [homeRegion, ...relayRegions].flatMap((relayRegion) =>
    sources.map(([at, source]): Needed => {
      // arn:…:secret:<name>:<field>:<stage>:<version>
      const [, arn, region = relayRegion, field = ''] =
        /^(arn:[^:]+:secretsmanager:([^:]+):[^:]+:secret:[^:]+)(?::([^:]*))?/.exec(source) ?? [];
      if (arn !== undefined) {
        const find = () => secretProblem(open.aws, region, { arn, field: fields ? field : '' });
        return { name: 'secret', value: source, region, what: `${at}: the secret ${arn}`, find };
      }
      const find = () => parameterProblem(open, { name: source, region, key: encryptionKeys[region] });
      return { name: 'secret', value: source, region, what: `${at}: the parameter ${source}`, find };
    }),
  );
}

async function secretProblem(
  aws: Aws,
  region: string,
  { arn, field }: { readonly arn: string; readonly field: string },
): Promise<string | undefined> {
  const secret = await aws.json<{ DeletedDate?: number }>('secretsmanager', region, 'DescribeSecret', {
    SecretId: arn,
  });
  if (secret.DeletedDate !== undefined) return 'is to be deleted';
  if (field === '') return undefined;
  const { SecretString = '' } = await aws.json<{ SecretString?: string }>('secretsmanager', region, 'GetSecretValue', {
    SecretId: arn,
  });
  const known = fieldsOf(SecretString);
  if (known === undefined) return `is not a JSON object, so it has no field ${field}`;
  // Names of fields are no secrets.
  return known.includes(field) ? undefined : `has no field ${field}, only ${known.join(', ') || 'none'}`;
}

function fieldsOf(text: string): string[] | undefined {
  try {
    const found: unknown = JSON.parse(text);
    return typeof found === 'object' && found !== null && !Array.isArray(found) ? Object.keys(found) : undefined;
  } catch {
    return undefined;
  }
}

interface Wanted {
  readonly name: string;
  readonly region: string;
  /** The KMS key that tasks may use, besides AWS's. */
  readonly key: string | undefined;
}

async function parameterProblem(
  { aws, ssm }: OpenAws,
  { name, region, key: allowed }: Wanted,
): Promise<string | undefined> {
  const found = await describeParameter(ssm(region), name);
  if (found === undefined) return `does not exist in ${region}`;
  const { KeyId: key } = found;
  if (key === undefined || /(^|:)alias\/aws\/ssm$/.test(key)) return undefined;
  if (allowed === undefined) {
    return `is encrypted in ${region} with ${key}, which tasks may not use: name that key in relay.encryptionKeys`;
  }
  if (key === allowed) return undefined;
  // One may be the other's alias.
  const [its, ours] = await Promise.all([describeKey(aws, region, key), describeKey(aws, region, allowed)]);
  if (its.Arn === ours.Arn) return undefined;
  return `is encrypted in ${region} with ${key}, and relay.encryptionKeys names ${allowed}: tasks may not use the former`;
}

async function describeParameter(client: SSMClient, name: string): Promise<ParameterMetadata | undefined> {
  const ParameterFilters = [{ Key: 'Name', Option: 'Equals', Values: [name] }];
  let next: string | undefined;
  // A page may be empty though others follow.
  for (let page = 0; page < 20; page += 1) {
    const answer = await client.send(new DescribeParametersCommand({ ParameterFilters, NextToken: next }));
    const found = answer.Parameters?.find((one) => one.Name === name);
    next = answer.NextToken;
    if (found !== undefined || next === undefined) return found;
  }
  return undefined;
}
