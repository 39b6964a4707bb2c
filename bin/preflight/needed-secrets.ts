import {
  DescribeParametersCommand,
  type ParameterMetadata,
  type ParameterStringFilter,
  type SSMClient,
} from '@aws-sdk/client-ssm';
import { commandText } from '../../lib/command-text.ts';
import type { Stage } from '../../lib/infrastructure/stages.ts';
import { environmentsPath } from '../../relay-task/environments/ssm-parameters.ts';
import type { Aws } from '../aws/ask.ts';
import { explainAwsError } from '../aws/explain.ts';
import type { OpenAws } from '../aws/open.ts';
import { bad, type Check, inTurns, unknown } from '../checks/check.ts';
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

/** Environments' parameters that tasks may not decrypt, though these credentials may. */
export function environmentKeyChecks({ name, relay }: Stage, open: OpenAws, region: string): Promise<Check[]> {
  const path: string = environmentsPath(name);
  return inTurns(
    [path],
    async () => {
      const ParameterFilters = [{ Key: 'Path', Option: 'Recursive', Values: [path] }];
      const checks: Check[] = [];
      for (const { Name = '', KeyId } of await describeParameters(open.ssm(region), ParameterFilters)) {
        const problem = await keyProblem(open.aws, region, { key: KeyId, allowed: relay.encryptionKeys[region] });
        const below = Name.slice(path.length + 1);
        const advice = `put it again with ${commandText('keys')}, which takes the key of the stage file`;
        if (problem !== undefined) checks.push(bad('key', below, `${below} ${problem}`, advice));
      }
      return checks;
    },
    (_, error) =>
      unknown('key', region, `cannot tell with which keys ${region} encrypts ${path}`, explainAwsError(error, region)),
  );
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
  const ParameterFilters = [{ Key: 'Name', Option: 'Equals', Values: [name] }];
  const found = (await describeParameters(ssm(region), ParameterFilters)).find((one) => one.Name === name);
  return found ? keyProblem(aws, region, { key: found.KeyId, allowed }) : `does not exist in ${region}`;
}

/** Why tasks could not decrypt a parameter. */
async function keyProblem(
  aws: Aws,
  region: string,
  { key, allowed }: { readonly key: string | undefined; readonly allowed: string | undefined },
): Promise<string | undefined> {
  if (key === undefined || key === allowed || /(^|:)alias\/aws\/ssm$/.test(key)) return undefined;
  if (allowed === undefined) {
    return `is encrypted in ${region} with ${key}, which tasks may not use: name that key in relay.encryptionKeys`;
  }
  // One may be the other's alias.
  const [its, ours] = await Promise.all([describeKey(aws, region, key), describeKey(aws, region, allowed)]);
  if (its.Arn === ours.Arn) return undefined;
  return `is encrypted in ${region} with ${key}, and relay.encryptionKeys names ${allowed}: tasks may not use the former`;
}

async function describeParameters(
  client: SSMClient,
  ParameterFilters: ParameterStringFilter[],
): Promise<ParameterMetadata[]> {
  const found: ParameterMetadata[] = [];
  let next: string | undefined;
  // A page may be empty though others follow.
  for (let page = 0; page < 50; page += 1) {
    const answer = await client.send(new DescribeParametersCommand({ ParameterFilters, NextToken: next }));
    found.push(...(answer.Parameters ?? []));
    next = answer.NextToken;
    if (next === undefined) break;
  }
  return found;
}
