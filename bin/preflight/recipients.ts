import { describeUntold } from '../../lib/infrastructure/observability/recipients.ts';
import { explainAwsError } from '../aws/explain.ts';
import { listAt } from '../aws/xml.ts';
import { type Check, good, inTurns, note, unknown } from '../checks/check.ts';
import type { LookedAt } from './looked-at.ts';

/** Whether somebody is notified of every alarm: by the stage file, or by a subscription that was made elsewhere. */
export async function recipientChecks(looked: LookedAt): Promise<Check[]> {
  const { stage, aws, owned, unseen } = looked;
  const untold = describeUntold(stage);
  if (untold === undefined) {
    const { emails, topics } = stage.alarms;
    return [good('recipients', stage.name, `alarms are sent to ${[...emails, ...topics].join(', ')}`)];
  }
  const ours = [...owned].flatMap((one) => {
    const [region = '', type, arn = ''] = one.split(' ');
    return type === 'AWS::SNS::Topic' ? [{ region, arn }] : [];
  });
  const silent: string[] = [];
  const checks = await inTurns(
    ours,
    async ({ region, arn }) => {
      const answer = await aws.query('sns', region, 'ListSubscriptionsByTopic', { TopicArn: arn });
      if (listAt(answer, 'ListSubscriptionsByTopicResult', 'Subscriptions', 'member').length === 0) silent.push(arn);
      return [];
    },
    ({ region, arn }, error) =>
      unknown('recipients', arn, `cannot list the subscribers of ${arn}`, explainAwsError(error, region)),
  );
  if (checks.length > 0) return checks;
  if (silent.length === 0 && (unseen === 'all' || unseen.size > 0)) {
    const why = 'preflight must describe all stacks of the stage for it';
    return [unknown('recipients', stage.name, 'cannot tell whether each topic of the stage has a subscriber', why)];
  }
  if (ours.length > 0 && silent.length === 0) {
    return [good('recipients', stage.name, 'each topic of the stage has a subscriber')];
  }
  return [note('recipients', stage.name, untold, 'or subscribe to the topics of the stage in SNS')];
}
