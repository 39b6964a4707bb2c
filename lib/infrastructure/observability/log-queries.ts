import { CfnQueryDefinition, type ILogGroup } from 'aws-cdk-lib/aws-logs';
import { Construct } from 'constructs';

interface LogQuery {
  readonly name: string;
  readonly lines: readonly string[];
}

// Metrics are written to the same log, but without a message.
const TROUBLE = 'filter ispresent(message) and level in ["WARN", "ERROR"]';

/** Queries for the relay's log, whose lines are JSON. */
export const recentTrouble: LogQuery = {
  name: 'recent errors and warnings',
  lines: [
    'fields @timestamp, level, message, environment, reason',
    TROUBLE,
    'display @timestamp, level, message, environment, reason, prefix',
    'sort @timestamp desc',
    'limit 50',
  ],
};

export const logQueries: readonly LogQuery[] = [
  recentTrouble,
  {
    name: 'errors and warnings by message',
    lines: [
      TROUBLE,
      'stats count(*) as times, latest(@timestamp) as last by level, message',
      'sort times desc',
      'limit 50',
    ],
  },
  {
    name: 'one environment',
    lines: [
      'fields @timestamp, level, message, reason, @logStream',
      'filter ispresent(message) and (environment = "production" or prefix = "production")',
      'sort @timestamp desc',
      'limit 200',
    ],
  },
  {
    name: 'who writes the flag table',
    lines: [
      'fields @timestamp, message, prefix, reason, @logStream',
      'filter message like /write lease/',
      'sort @timestamp desc',
      'limit 50',
    ],
  },
  {
    name: 'repairs of the flag table',
    lines: [
      'fields @timestamp, message, prefix, item, items',
      'filter message like /store is out of date|not what LaunchDarkly sent/',
      'sort @timestamp desc',
      'limit 100',
    ],
  },
  {
    name: 'streams of each task',
    lines: [
      'filter ispresent(StreamsOpen) and not ispresent(Environment) and not ispresent(Kind)',
      'stats latest(StreamsOpen) as streams by host, bin(1m) as minute',
      'sort minute desc',
      'limit 200',
    ],
  },
];

export interface LogQueriesProps {
  readonly stage: string;
  readonly logGroup: Pick<ILogGroup, 'logGroupName'>;
}

/** Saves the queries: Logs Insights lists them in the folder `edge-flag-relay/<stage>`. */
export class LogQueries extends Construct {
  constructor(scope: Construct, id: string, { stage, logGroup }: LogQueriesProps) {
    super(scope, id);
    for (const { name, lines } of logQueries) {
      new CfnQueryDefinition(this, name, {
        name: `edge-flag-relay/${stage}/${name}`,
        queryString: lines.join('\n| '),
        logGroupNames: [logGroup.logGroupName],
      });
    }
  }
}
