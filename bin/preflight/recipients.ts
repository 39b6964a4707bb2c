import type { Stage } from '../../lib/infrastructure/stages.ts';
import { listAt } from '../aws/xml.ts';
import { type Check, good, note, unknown } from '../checks/check.ts';
import { describeAwsError } from '../keys/store.ts';
import type { LookedAt } from './looked-at.ts';

/** Whether anybody hears of alarms: by e-mail, or by a subscription made elsewhere. */
export async function recipientChecks({ stage, aws, owned }: LookedAt): Promise<Check[]> {
  const { homeRegion } = stage;
  const { emails, pageEmails } = stage.alarms;
  if (emails.length + pageEmails.length > 0) {
    return [
      good(
        'recipients',
        emails.join(' ') || pageEmails.join(' '),
        `alarms are sent to ${[...new Set([...emails, ...pageEmails])].join(', ')}`,
      ),
    ];
  }
  const topics = [...owned].flatMap((one) => {
    const [region, type, arn = ''] = one.split(' ');
    return region === homeRegion && type === 'AWS::SNS::Topic' ? [arn] : [];
  });
  try {
    for (const TopicArn of topics) {
      const answer = await aws.query('sns', homeRegion, 'ListSubscriptionsByTopic', { TopicArn });
      if (listAt(answer, 'ListSubscriptionsByTopicResult', 'Subscriptions', 'member').length > 0) {
        return [good('recipients', TopicArn, `alarms are sent to the subscribers of ${TopicArn}`)];
      }
    }
  } catch (error) {
    return [
      unknown(
        'recipients',
        homeRegion,
        'cannot tell whether anybody is notified of alarms',
        describeAwsError(error, homeRegion),
      ),
    ];
  }
  return [nobody(stage)];
}

function nobody({ name }: Stage): Check {
  return note(
    'recipients',
    'none',
    `nobody is notified of alarms of the stage ${name}`,
    'set alarms.emails, or subscribe to the topics',
  );
}
