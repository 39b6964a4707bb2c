import { awsNameOf } from '../../relay-task/common/aws-call.ts';
import { type Aws, NotAnAnswer } from '../aws/ask.ts';
import { explainAwsError } from '../aws/explain.ts';
import { isStackOf } from '../aws/left-stacks.ts';
import { ownerOf } from '../aws/stacks.ts';
import { bad, type Check, good, inTurns, unknown } from '../checks/check.ts';
import { type LookedAt, mayOwn, ownedName, ownerUnknown } from './looked-at.ts';

/** A kind of resource that AWS allows one of under a name, and that may be left after its stack is gone. */
interface Kind {
  readonly called: string;
  /** The property of the template that has the name. */
  readonly property: string;
  /** The resource's ID in its stack, from its name. */
  id(name: string, place: Place): string;
  exists(aws: Aws, name: string, place: Place): Promise<boolean>;
  /** The command that removes it. */
  removal(name: string, place: Place): string;
}

interface Place {
  readonly region: string;
  readonly account: string;
}

const topicArn = (name: string, { region, account }: Place) =>
  `arn:${region.startsWith('cn-') ? 'aws-cn' : region.startsWith('us-gov-') ? 'aws-us-gov' : 'aws'}:sns:${region}:${account}:${name}`;

const kinds: Readonly<Record<string, Kind>> = {
  'AWS::Lambda::Function': {
    called: 'function',
    property: 'FunctionName',
    id: (name) => name,
    exists: (aws, name, { region }) =>
      found(aws.getJson('lambda', region, `/2015-03-31/functions/${name}/configuration`), /^ResourceNotFound/),
    removal: (name, { region }) => `aws lambda delete-function --region ${region} --function-name ${name}`,
  },
  'AWS::Logs::LogGroup': {
    called: 'log group',
    property: 'LogGroupName',
    id: (name) => name,
    async exists(aws, name, { region }) {
      const { logGroups } = await aws.json<{ logGroups?: { logGroupName: string }[] }>(
        'logs',
        region,
        'DescribeLogGroups',
        { logGroupNamePrefix: name, limit: 50 },
      );
      if (logGroups === undefined) throw new NotAnAnswer(`logs in ${region}`, 'no log groups');
      return logGroups.some(({ logGroupName }) => logGroupName === name);
    },
    removal: (name, { region }) => `aws logs delete-log-group --region ${region} --log-group-name ${name}`,
  },
  'AWS::SNS::Topic': {
    called: 'topic',
    property: 'TopicName',
    id: topicArn,
    exists: (aws, name, place) =>
      found(aws.query('sns', place.region, 'GetTopicAttributes', { TopicArn: topicArn(name, place) }), /^NotFound/),
    removal: (name, place) => `aws sns delete-topic --region ${place.region} --topic-arn ${topicArn(name, place)}`,
  },
  'AWS::ECS::Cluster': {
    called: 'cluster',
    property: 'ClusterName',
    id: (name) => name,
    async exists(aws, name, { region }) {
      const { clusters } = await aws.json<{ clusters?: { status: string }[] }>('ecs', region, 'DescribeClusters', {
        clusters: [name],
      });
      if (clusters === undefined) throw new NotAnAnswer(`ecs in ${region}`, 'no clusters');
      return clusters.some(({ status }) => status === 'ACTIVE');
    },
    removal: (name, { region }) => `aws ecs delete-cluster --region ${region} --cluster ${name}`,
  },
};

/** Names that the next deployment gives to something new, and that something else has: CloudFormation would roll back. */
export async function nameChecks(looked: LookedAt, account: string): Promise<Check[]> {
  const { aws, wanted, owned } = looked;
  const names = wanted.flatMap(({ region, template }) =>
    Object.values(template.Resources ?? {}).flatMap(({ Type, Properties }) => {
      const kind = Object.hasOwn(kinds, Type) ? kinds[Type] : undefined;
      const name = kind && (Properties as Record<string, unknown> | undefined)?.[kind.property];
      const place = { region, account };
      return kind && typeof name === 'string' && !owned.has(ownedName(region, Type, kind.id(name, place)))
        ? [{ kind, name, place }]
        : [];
    }),
  );
  const taken = await inTurns(
    names,
    async ({ kind, name, place }) => {
      if (!(await kind.exists(aws, name, place))) return [];
      const what = `the ${kind.called} ${name} exists in ${place.region}`;
      if (mayOwn(looked, place.region)) return [ownerUnknown('name', name, what)];
      return [await takenCheck(looked, { kind, name, place, what })];
    },
    ({ kind, name, place }, error) =>
      unknown(
        'name',
        name,
        `cannot tell whether the ${kind.called} ${name} exists in ${place.region}`,
        explainAwsError(error, place.region),
      ),
  );
  if (taken.length > 0 || names.length === 0) return taken;
  return [good('name', String(names.length), `none of the ${names.length} names of new resources is taken`)];
}

interface Taken {
  readonly kind: Kind;
  readonly name: string;
  readonly place: Place;
  /** That it exists. */
  readonly what: string;
}

/** Only what no stack owns may be deleted by itself: a relay of this stage may run in it, or another application. */
async function takenCheck({ aws, stage }: LookedAt, { kind, name, place, what }: Taken): Promise<Check> {
  const { region } = place;
  const id = kind.id(name, place);
  const why = 'the deployment cannot create it';
  let owner: string | undefined;
  try {
    owner = await ownerOf(aws, region, id);
  } catch (error) {
    const advice = `find out what owns it before you delete it: ${explainAwsError(error, region)}`;
    return bad('name', name, `${what}, and no stack of the stage owns it: ${why}`, advice);
  }
  if (owner === undefined) {
    return bad('name', name, `${what}, and no stack of the stage owns it: ${why}`, kind.removal(name, place));
  }
  const advice = isStackOf(stage.name, owner)
    ? `take away that stack first, by "Taking parts away" or "Moving home" in docs/deploying.md`
    : 'give the stage another name, or delete that stack if nothing needs it';
  return bad('name', name, `${what}, and the stack ${owner} owns it: ${why}`, advice);
}

async function found(asked: Promise<unknown>, missing: RegExp): Promise<boolean> {
  try {
    await asked;
    return true;
  } catch (error) {
    if (missing.test(awsNameOf(error))) return false;
    throw error;
  }
}
