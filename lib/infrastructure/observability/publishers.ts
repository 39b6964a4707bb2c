import { PolicyStatement, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import type { ITopic } from 'aws-cdk-lib/aws-sns';

/** The accounts whose alarms may publish already, by topic. */
const allowed = new WeakMap<ITopic, Set<string>>();

/**
 * Lets alarms and rules of an account publish to a topic of this app, and use its key. Without it nobody hears of an alarm: the first statement
 * of a topic's policy, such as that of `enforceSSL` or of a rule's target, replaces SNS's default policy, and an alarm's action grants nothing.
 * AWS: "Amazon SNS access control", "Key management", event sources and encrypted topics. An imported topic, or key, stays as it is.
 */
export function letAlarmsPublish(topic: ITopic, account: string): void {
  const accounts = allowed.get(topic) ?? new Set();
  allowed.set(topic, accounts);
  if (accounts.has(account)) return;
  accounts.add(account);
  const [alarms, rules] = ['cloudwatch', 'events'].map((service) => new ServicePrincipal(`${service}.amazonaws.com`));
  const about = { actions: ['sns:Publish'], resources: [topic.topicArn] };
  const fromHere = { StringEquals: { 'aws:SourceAccount': account } };
  topic.addToResourcePolicy(new PolicyStatement({ ...about, principals: [alarms!], conditions: fromHere }));
  // EventBridge tells SNS and KMS no account: with a condition its notifications fail silently.
  topic.addToResourcePolicy(new PolicyStatement({ ...about, principals: [rules!] }));
  topic.masterKey?.addToResourcePolicy(
    new PolicyStatement({
      principals: [alarms!, rules!],
      actions: ['kms:Decrypt', 'kms:GenerateDataKey*'],
      resources: ['*'],
    }),
  );
}
