import type { Stage } from '../../lib/infrastructure/stages.ts';
import type { Aws } from '../aws/ask.ts';
import { explainAwsError } from '../aws/explain.ts';
import type { OpenAws } from '../aws/open.ts';
import { listAt, textAt } from '../aws/xml.ts';
import type { Needed, NeededOptions } from './needed-thing.ts';
import { allows, refuseDoubts, Undecided, type Wish } from './policies.ts';

interface KeyMetadata {
  readonly Arn?: string;
  readonly KeyState?: string;
  readonly KeySpec?: string;
}

/** Rejects with NotFoundException. `key`: an ID, an ARN or an alias. */
export async function describeKey(
  aws: Aws,
  region: string,
  key: string,
): Promise<KeyMetadata & { readonly Arn: string }> {
  const { KeyMetadata: one } = await aws.json<{ KeyMetadata?: KeyMetadata }>('kms', region, 'DescribeKey', {
    KeyId: key,
  });
  if (one?.Arn === undefined) throw new Error(`kms in ${region} does not describe the key ${key}`);
  return { ...one, Arn: one.Arn };
}

export function keysOf(
  { encryptionKeys = {}, relay }: Stage,
  { aws }: OpenAws,
  { account }: Pick<NeededOptions, 'account'>,
): Needed[] {
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
      const { Arn, KeyState, KeySpec } = await describeKey(aws, region, key);
      if (KeyState !== undefined && KeyState !== 'Enabled') return `is ${KeyState}`;
      if (KeySpec !== undefined && KeySpec !== 'SYMMETRIC_DEFAULT') return `is ${KeySpec}, not symmetric`;
      const policy = await keyPolicy(aws, region, Arn);
      // Roles are allowed by IAM where the policy lets it.
      const roles = { principal: account, action: 'kms:Decrypt', account };
      if (!allows(policy, roles)) {
        return `leaves nothing to the IAM policies of account ${account}: its policy must allow kms:* to arn:aws:iam::${account}:root`;
      }
      if (encryptionKeys[region] !== key) return refuseDoubts(policy, [roles]);
      const logs = { principal: `logs.${region}.amazonaws.com`, action: 'kms:GenerateDataKey', account };
      if (!allows(policy, logs)) return `cannot be used by ${logs.principal}: no log group could be made`;
      return publishersProblem(policy, account) ?? refuseDoubts(policy, [roles, logs, ...publishersOf(account)]);
    },
    explain: (error: unknown) => explainPolicy(error, region),
  }));
}

async function keyPolicy(aws: Aws, region: string, KeyId: string): Promise<string> {
  const input = { KeyId, PolicyName: 'default' };
  const { Policy } = await aws.json<{ Policy?: string }>('kms', region, 'GetKeyPolicy', input);
  if (Policy === undefined) throw new Error(`kms in ${region} does not show the policy of ${KeyId}`);
  return Policy;
}

/** CloudWatch User Guide: "Amazon SNS encryption". EventBridge User Guide: "Amazon SNS permissions". */
function publishersProblem(policy: string, account: string): string | undefined {
  const barred = publishersOf(account).filter((wish) => !allows(policy, wish));
  const who = barred.map(({ principal }) => principal).join(' and ');
  return barred.length === 0 ? undefined : `cannot be used by ${who}: alarms would reach nobody`;
}

function publishersOf(account: string): Wish[] {
  return ['cloudwatch.amazonaws.com', 'events.amazonaws.com'].map((principal) => ({
    ...{ principal, action: 'kms:GenerateDataKey', account },
  }));
}

function explainPolicy(error: unknown, region: string): string {
  return error instanceof Undecided ? error.message : explainAwsError(error, region);
}

/** Topics of the stage file, which the stage cannot give a policy. */
export function topicsOf({ alarms }: Stage, { aws }: OpenAws, { account }: Pick<NeededOptions, 'account'>): Needed[] {
  return [...new Set([...alarms.topics, ...alarms.pageTopics])].map((arn) => {
    const [, , , region = '', owner = ''] = arn.split(':');
    const find = async () => {
      const answer = await aws.query('sns', region, 'GetTopicAttributes', { TopicArn: arn });
      const attributes = new Map(
        listAt(answer, 'GetTopicAttributesResult', 'Attributes', 'entry').map((one) => [
          textAt(one, 'key'),
          textAt(one, 'value'),
        ]),
      );
      const policy = attributes.get('Policy') ?? '{}';
      // To a topic of another account EventBridge publishes with a role of this one.
      const publishers = ['cloudwatch.amazonaws.com', owner === account ? 'events.amazonaws.com' : account];
      const wishes = publishers.map((principal) => ({ principal, action: 'sns:Publish', account }));
      const barred = wishes.filter((wish) => !allows(policy, wish)).map(({ principal }) => principal);
      if (barred.length > 0) return `does not let ${barred.join(' and ')} publish (sns:Publish in its policy)`;
      const key = attributes.get('KmsMasterKeyId');
      if (key === undefined || key === '') return refuseDoubts(policy, wishes);
      if (/(^|:)alias\/aws\/sns$/.test(key)) return `is encrypted with ${key}, which CloudWatch may not use`;
      const { Arn } = await describeKey(aws, region, key);
      const ofKey = await keyPolicy(aws, region, Arn);
      const problem = publishersProblem(ofKey, account);
      if (problem !== undefined) return `is encrypted with ${key}, which ${problem}`;
      refuseDoubts(policy, wishes);
      return refuseDoubts(ofKey, publishersOf(account));
    };
    const explain = (error: unknown) => explainPolicy(error, region);
    return { name: 'topic', value: arn, region, what: `alarms: the topic ${arn}`, find, explain };
  });
}
