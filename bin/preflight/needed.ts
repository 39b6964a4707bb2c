/** What a stage file refers to and does not make: secrets, keys, topics, images. Without them no task starts, or the deployment rolls back. */
import { DescribeParametersCommand, type ParameterMetadata, type SSMClient } from '@aws-sdk/client-ssm';
import type { Stage } from '../../lib/infrastructure/stages.ts';
import { explainAwsError } from '../aws/explain.ts';
import type { OpenAws } from '../aws/open.ts';
import { bad, type Check, good, inTurns, unknown } from '../checks/check.ts';

/** One thing to look for; `find` resolves with what is wrong with it. */
interface Needed {
  readonly name: 'secret' | 'encryption-key' | 'topic' | 'image';
  readonly value: string;
  readonly region: string;
  /** Where the stage file names it, and what it is. */
  readonly what: string;
  find(): Promise<string | undefined>;
}

/** Errors by which AWS says that there is no such thing. */
const ABSENT =
  /^(NotFound|NotFoundException|ResourceNotFoundException|RepositoryNotFoundException|ImageNotFoundException)$/;

/** Each thing exists and can be used, where the relay of each region will look for it. */
export async function neededChecks(stage: Stage, open: OpenAws): Promise<Check[]> {
  const all = [...secretsOf(stage, open), ...keysOf(stage, open), ...topicsOf(stage, open), ...imagesOf(stage, open)];
  const checks = await inTurns(
    all,
    async ({ name, value, what, find }) => {
      const problem = await find();
      return problem === undefined ? [] : [bad(name, value, `${what} ${problem}`, adviceOn(name))];
    },
    ({ name, value, what, region }, error) =>
      ABSENT.test((error as Error).name)
        ? bad(name, value, `${what} does not exist in ${region}`, adviceOn(name))
        : unknown(name, value, `cannot look at ${what} in ${region}`, explainAwsError(error, region)),
  );
  if (checks.length > 0 || all.length === 0) return checks;
  return [
    good('needed', String(all.length), `all ${all.length} secrets, keys, topics and images of the stage file exist`),
  ];
}

function adviceOn(name: Needed['name']): string {
  if (name === 'secret') return 'put it there, or correct its name in the stage file: without it no task starts';
  if (name === 'image') return 'push it first, or correct it in the stage file: without it no task starts';
  return 'correct it in the stage file: the deployment would be rolled back';
}

/** Only metadata is read, never a value. */
function secretsOf({ homeRegion, relayRegions, relay }: Stage, { aws, ssm }: OpenAws): Needed[] {
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
      const [, arn, region = relayRegion] = /^(arn:[^:]+:secretsmanager:([^:]+):[^:]+:secret:[^:]+)/.exec(source) ?? [];
      if (arn !== undefined) {
        const find = async () => {
          const secret = await aws.json<{ DeletedDate?: number }>('secretsmanager', region, 'DescribeSecret', {
            SecretId: arn,
          });
          return secret.DeletedDate === undefined ? undefined : `is to be deleted`;
        };
        return { name: 'secret', value: arn, region, what: `${at}: the secret ${arn}`, find };
      }
      const find = () => parameterProblem(ssm(region), source, region, encryptionKeys[region] !== undefined);
      return { name: 'secret', value: source, region, what: `${at}: the parameter ${source}`, find };
    }),
  );
}

async function parameterProblem(
  client: SSMClient,
  name: string,
  region: string,
  hasKey: boolean,
): Promise<string | undefined> {
  const ParameterFilters = [{ Key: 'Name', Option: 'Equals', Values: [name] }];
  let found: ParameterMetadata | undefined;
  let next: string | undefined;
  // A page may be empty though others follow.
  for (let page = 0; page < 20 && found === undefined; page += 1) {
    const answer = await client.send(new DescribeParametersCommand({ ParameterFilters, NextToken: next }));
    found = answer.Parameters?.find((one) => one.Name === name);
    next = answer.NextToken;
    if (next === undefined) break;
  }
  if (found === undefined) return `does not exist in ${region}`;
  const { KeyId: key } = found;
  if (key === undefined || hasKey || /(^|:)alias\/aws\/ssm$/.test(key)) return undefined;
  return `is encrypted in ${region} with ${key}, which tasks may not use: name that key in relay.encryptionKeys`;
}

interface KeyMetadata {
  readonly KeyState?: string;
  readonly KeySpec?: string;
}

function keysOf({ encryptionKeys = {}, relay }: Stage, { aws }: OpenAws): Needed[] {
  const places = [
    ...Object.entries(encryptionKeys).map(([region, key]) => ({ at: `encryptionKeys.${region}`, region, key })),
    ...Object.entries(relay.encryptionKeys).map(([region, key]) => ({
      at: `relay.encryptionKeys.${region}`,
      region,
      key,
    })),
  ];
  // Those of the relay are by default those of the stage.
  const once = places.filter(({ key }, index) => places.findIndex((one) => one.key === key) === index);
  return once.map(({ at, region, key }) => ({
    ...{ name: 'encryption-key', value: key, region, what: `${at}: the key ${key}` },
    async find() {
      const { KeyMetadata: one = {} } = await aws.json<{ KeyMetadata?: KeyMetadata }>('kms', region, 'DescribeKey', {
        KeyId: key,
      });
      if (one.KeyState !== undefined && one.KeyState !== 'Enabled') return `is ${one.KeyState}`;
      if (one.KeySpec !== undefined && one.KeySpec !== 'SYMMETRIC_DEFAULT') return `is ${one.KeySpec}, not symmetric`;
      return undefined;
    },
  }));
}

function topicsOf({ alarms }: Stage, { aws }: OpenAws): Needed[] {
  return [...new Set([...alarms.topics, ...alarms.pageTopics])].map((arn) => {
    const region = regionIn(arn);
    const find = async () => {
      await aws.query('sns', region, 'GetTopicAttributes', { TopicArn: arn });
      return undefined;
    };
    return { name: 'topic', value: arn, region, what: `alarms: the topic ${arn}`, find };
  });
}

/** Only those in ECR: other registries have questions of their own. */
function imagesOf({ relay: { image, agent } }: Stage, { aws }: OpenAws): Needed[] {
  const beside = agent && ('datadog' in agent ? agent.datadog.image : agent.otel.image);
  const images = [
    { at: 'relay.image', image },
    { at: 'relay.agent', image: beside },
  ];
  return images.flatMap(({ at, image: uri = '' }): Needed[] => {
    const [, registryId, region, repositoryName, imageTag = 'latest', imageDigest] =
      /^(\d{12})\.dkr\.ecr\.([a-z\d-]+)\.amazonaws\.com(?:\.cn)?\/([^:@]+)(?::([^@]+))?(?:@(.+))?$/.exec(uri) ?? [];
    if (registryId === undefined || region === undefined) return [];
    const imageIds = [imageDigest === undefined ? { imageTag } : { imageDigest }];
    const find = async () => {
      await aws.json('ecr', region, 'DescribeImages', { registryId, repositoryName, imageIds });
      return undefined;
    };
    return [{ name: 'image', value: uri, region, what: `${at}: the image ${uri}`, find }];
  });
}

function regionIn(arn: string): string {
  return arn.split(':')[3] ?? '';
}
