import { Stack, type StackProps } from 'aws-cdk-lib';
import { type ILogGroup, LogGroup, type RetentionDays } from 'aws-cdk-lib/aws-logs';
import { type ITopic, Topic } from 'aws-cdk-lib/aws-sns';
import { EmailSubscription } from 'aws-cdk-lib/aws-sns-subscriptions';
import type { Construct } from 'constructs';
import type { KeysByRegion } from './customer-keys.ts';
import { edgeLogGroupName } from './edge-flag-function.ts';
import { EdgeLogGroups } from './edge-log-groups.ts';
import { FlagReaderLayer } from './flag-reader-layer.ts';
import { letAlarmsPublish } from './observability/publishers.ts';
import { topicsIn } from './observability/recipients.ts';

export interface RegionStackProps extends StackProps {
  readonly stage: string;
  /** Names of the edge functions whose logs are watched in this region. */
  readonly edgeFunctionNames: readonly string[];
  /**
   * In us-east-1: gives the logs of edge functions a retention, in all regions where they run and in those named here, whose stacks are
   * deployed later. Default: another stack does.
   */
  readonly edgeLogs?:
    | {
        readonly functionNames: readonly string[];
        readonly regions: readonly string[];
        readonly encryptionKeys?: KeysByRegion | undefined;
      }
    | undefined;
  readonly readerLayer: boolean;
  readonly logRetentionDays: RetentionDays;
  readonly emails: readonly string[];
  /** Who is paged: adds a second topic. Default none. */
  readonly pageEmails?: readonly string[] | undefined;
}

export function topicName(stage: string, kind: 'alarms' | 'pages'): string {
  return `edge-flag-relay-${stage}-${kind}`;
}

/** Whom alarms in a region notify and page: the stage's own topics there, and existing ones. */
export interface RegionTopics {
  readonly topics: readonly ITopic[];
  readonly pages: readonly ITopic[];
}

/** The stage's own topics for alarms in a stack. Those of another stack are by name: a reference would tie the stacks to each other. */
export function ownTopics(scope: Construct, stage: string): RegionTopics {
  const stack = Stack.of(scope);
  const own = (kind: 'alarms' | 'pages') => {
    if (stack instanceof RegionStack) return kind === 'alarms' ? [stack.topic] : stack.pages ? [stack.pages] : [];
    const arn = stack.formatArn({ service: 'sns', resource: topicName(stage, kind) });
    return [Topic.fromTopicArn(scope, `Named-${kind}`, arn)];
  };
  return { topics: own('alarms'), pages: own('pages') };
}

/** Those and existing ones: `topics` and `pageTopics` are ARNs, of all regions. */
export function topicsFor(
  scope: Construct,
  given: { readonly stage: string; readonly topics: readonly string[]; readonly pageTopics: readonly string[] },
): RegionTopics {
  const own = ownTopics(scope, given.stage);
  const existing = (kind: 'alarms' | 'pages', arns: readonly string[]) =>
    topicsIn(Stack.of(scope).region, arns).map((arn, index) =>
      Topic.fromTopicArn(scope, `Given-${kind}-${index}`, arn),
    );
  return {
    topics: [...own.topics, ...existing('alarms', given.topics)],
    pages: [...own.pages, ...existing('pages', given.pageTopics)],
  };
}

/**
 * The resources of each region: the reader layer and an alarm topic, since alarms must be in the region of their metrics. In us-east-1
 * also the log groups of edge functions, in every region.
 */
export class RegionStack extends Stack {
  readonly topic: Topic;
  readonly pages?: Topic;
  readonly readerLayer?: FlagReaderLayer;
  /** Those of the edge functions, by their names. No stack owns them: a function may have created them. */
  readonly logGroups: ReadonlyMap<string, ILogGroup>;

  constructor(scope: Construct, id: string, { stage, ...rest }: RegionStackProps) {
    const { edgeFunctionNames, edgeLogs, readerLayer, logRetentionDays, emails, pageEmails, ...props } = rest;
    super(scope, id, props);
    this.logGroups = new Map(
      edgeFunctionNames.map((name) => [name, LogGroup.fromLogGroupName(this, `Log-${name}`, edgeLogGroupName(name))]),
    );
    if (edgeLogs) {
      const { regions: requiredRegions, ...logs } = edgeLogs;
      const groups = new EdgeLogGroups(this, 'EdgeLogs', { stage, ...logs, requiredRegions, logRetentionDays });
      for (const logGroup of this.logGroups.values()) logGroup.node.addDependency(groups);
    }
    if (readerLayer) {
      const layerVersionName = `edge-flag-relay-${stage}-reader`;
      this.readerLayer = new FlagReaderLayer(this, 'Reader', { stage, layerVersionName });
    }
    this.topic = this.topicFor('Alarms', topicName(stage, 'alarms'), emails);
    if (pageEmails) this.pages = this.topicFor('Pages', topicName(stage, 'pages'), pageEmails);
  }

  private topicFor(id: string, name: string, emails: readonly string[]): Topic {
    const topic = new Topic(this, id, { topicName: name, enforceSSL: true });
    letAlarmsPublish(topic, this.account);
    for (const email of emails) topic.addSubscription(new EmailSubscription(email));
    return topic;
  }
}
