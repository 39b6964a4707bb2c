/** Whether somebody hears of trouble: alarms, their recipients, and logs that end. */
import { EDGE_EXECUTION_REGIONS, EDGE_REGION, edgeLogRegions } from '../../lib/infrastructure/regions.ts';
import { explainAwsError } from '../aws/explain.ts';
import { listAt, textAt, type Xml } from '../aws/xml.ts';
import { bad, type Check, good, inTurns, note, unknown } from '../checks/check.ts';
import { type Deployment, resourcesIn } from './deployment.ts';

/** As many as DescribeAlarms takes. */
const NAMES_PER_CALL = 100;

/** No alarm of the stage is on. */
export function alarmChecks(deployment: Deployment): Promise<Check[]> {
  const alarms = resourcesIn(deployment, 'AWS::CloudWatch::Alarm', 'AWS::CloudWatch::CompositeAlarm');
  return inTurns(
    new Set(alarms.map(({ region }) => region)),
    async (region) => {
      const names = alarms.filter((one) => one.region === region).map(({ id }) => nameOf(id));
      const found: Xml[] = [];
      for (let start = 0; start < names.length; start += NAMES_PER_CALL) {
        const some = names.slice(start, start + NAMES_PER_CALL);
        const answer = await deployment.aws.query('monitoring', region, 'DescribeAlarms', {
          ...Object.fromEntries(some.map((name, index) => [`AlarmNames.member.${index + 1}`, name])),
          ...{ 'AlarmTypes.member.1': 'MetricAlarm', 'AlarmTypes.member.2': 'CompositeAlarm', MaxRecords: '100' },
        });
        for (const kind of ['MetricAlarms', 'CompositeAlarms']) {
          found.push(...listAt(answer, 'DescribeAlarmsResult', kind, 'member'));
        }
      }
      const inState = (state: string) => found.filter((one) => textAt(one, 'StateValue') === state);
      const on = inState('ALARM').map((one) => {
        const [, runbook] = /Runbook: (\S+)/.exec(textAt(one, 'AlarmDescription')) ?? [];
        const advice = runbook ?? 'docs/operations.md#alarms';
        return bad(
          'alarms',
          region,
          `${textAt(one, 'AlarmName')}: ${textAt(one, 'StateReason') || 'ALARM'}`.slice(0, 300),
          advice,
        );
      });
      const quiet = inState('INSUFFICIENT_DATA').length;
      const missing = names.length - found.length;
      const what = `${inState('OK').length} of ${names.length} alarms are OK${quiet > 0 ? `, ${quiet} have no data yet` : ''}`;
      if (missing > 0)
        on.push(bad('alarms', region, `${missing} of ${names.length} alarms do not exist`, 'deploy again'));
      return on.length > 0 ? on : [good('alarms', region, what)];
    },
    (region, error) => unknown('alarms', region, 'cannot be described', explainAwsError(error, region)),
  );
}

/** A composite alarm's ID may be its ARN. */
function nameOf(id: string): string {
  return id.replace(/^arn:[^:]+:cloudwatch:[^:]*:\d*:alarm:/, '');
}

/** Somebody is notified, and has confirmed the subscription. */
export async function subscriptionChecks(deployment: Deployment): Promise<Check[]> {
  let anybody = false;
  const topics = resourcesIn(deployment, 'AWS::SNS::Topic');
  const checks = await inTurns(
    topics,
    async ({ region, id }) => {
      const answer = await deployment.aws.query('sns', region, 'ListSubscriptionsByTopic', { TopicArn: id });
      const all = listAt(answer, 'ListSubscriptionsByTopicResult', 'Subscriptions', 'member');
      const topic = id.split(':').at(-1) ?? id;
      const open = all.filter((one) => textAt(one, 'SubscriptionArn') === 'PendingConfirmation');
      anybody ||= all.length > open.length;
      if (open.length > 0) {
        const who = open.map((one) => textAt(one, 'Endpoint')).join(', ');
        return [
          bad(
            'recipients',
            region,
            `${topic}: not confirmed by ${who}`,
            'open the link in the e-mail from AWS Notifications; it works for three days',
          ),
        ];
      }
      return all.length > 0 ? [good('recipients', region, `${topic}: ${all.length} confirmed`)] : [];
    },
    ({ region }, error) => unknown('recipients', region, 'cannot be listed', explainAwsError(error, region)),
  );
  if (anybody || checks.length > 0 || topics.length === 0) return checks;
  return [note('recipients', 'none', 'nobody is notified of alarms', 'set alarms.emails, or subscribe to the topics')];
}

interface LogGroups {
  readonly region: string;
  readonly prefix: string;
  /** Those below the prefix that are the stage's. */
  readonly names: readonly string[];
  /** Whether the stage has alarms on them; elsewhere an account may be barred from the region. */
  readonly required: boolean;
}

/** Logs expire, those that Lambda makes for edge functions included. */
export async function logChecks(deployment: Deployment): Promise<Check[]> {
  const { stage, aws } = deployment;
  let there = 0;
  const checks = await inTurns(
    logGroupsOf(deployment),
    async ({ region, prefix, names }) => {
      const input = { logGroupNamePrefix: prefix, limit: 50 };
      const { logGroups = [] } = await aws.json<{
        logGroups?: { logGroupName: string; retentionInDays?: number }[];
      }>('logs', region, 'DescribeLogGroups', input);
      const found = logGroups.filter(({ logGroupName }) => names.includes(logGroupName));
      there += found.length;
      return found.flatMap(({ logGroupName: name, retentionInDays }) => {
        if (retentionInDays !== undefined) return [];
        const command = `aws logs put-retention-policy --region ${region} --log-group-name ${name} --retention-in-days ${stage.logRetentionDays}`;
        return [bad('logs', region, `${name} never expires`, command)];
      });
    },
    ({ region, prefix, required }, error) =>
      (required ? unknown : note)('logs', region, `${prefix}: cannot be described`, explainAwsError(error, region)),
  );
  return checks.length > 0 || there === 0 ? checks : [good('logs', 'all', `all ${there} log groups expire`)];
}

function logGroupsOf(deployment: Deployment): LogGroups[] {
  const { stage } = deployment;
  const own = resourcesIn(deployment, 'AWS::Logs::LogGroup').map(({ region, id }) => ({
    ...{ region, prefix: id, names: [id], required: true },
  }));
  const functions = resourcesIn(deployment, 'AWS::Lambda::Function').filter(
    ({ region, stack }) => region === EDGE_REGION && stack.endsWith('-edge-functions'),
  );
  if (functions.length === 0) return own;
  const names = functions.map(({ id }) => `/aws/lambda/${EDGE_REGION}.${id}`);
  const prefix = `/aws/lambda/${EDGE_REGION}.edge-flag-relay-${stage.name}-`;
  const required = edgeLogRegions(stage);
  const regions = new Set([...required, ...EDGE_EXECUTION_REGIONS]);
  return [...own, ...[...regions].map((region) => ({ region, prefix, names, required: required.includes(region) }))];
}
