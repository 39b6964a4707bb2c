/** The subcommands of `edge-flag-relay`: the same programs that a clone runs as npm scripts. */

export interface Command {
  readonly name: string;
  /** For the list of all commands: one line. */
  readonly says: string;
  /** What may follow its name, for completion in shells. */
  readonly verbs?: readonly string[];
  /** Whether it is a relay, which has many small sockets. */
  readonly smallSemiSpace?: true;
  /** Runs it with the arguments of this process. Imports late, so that a command loads nothing of the others. */
  readonly run: () => Promise<unknown>;
}

export const commands: readonly Command[] = [
  {
    name: 'start',
    says: 'the whole path on your machine: relay, embedded DynamoDB, edge functions',
    run: () => import('../dev.ts'),
  },
  {
    name: 'try',
    says: 'tries, in another terminal, what start runs',
    verbs: ['visit', 'viewers', 'flag', 'stream', 'table', 'received', 'change'],
    run: () => import('../try.ts'),
  },
  {
    name: 'relay',
    says: 'the relay, with the options of ld-relay; the same as the command ld-relay',
    smallSemiSpace: true,
    run: () => import('../../relay-task/main.ts'),
  },
  {
    name: 'keys',
    says: 'keys and settings of environments in SSM Parameter Store',
    verbs: ['list', 'put', 'rotate', 'revoke'],
    run: () => import('../keys.ts'),
  },
  {
    name: 'preflight',
    says: 'finds what would break a deployment before it starts',
    run: () => import('../preflight.ts'),
  },
  {
    name: 'verify',
    says: 'says whether what is deployed works',
    run: () => import('../verify.ts'),
  },
  {
    name: 'store',
    says: 'shows or verifies what a flag table holds',
    verbs: ['show', 'verify', 'drop-snapshot'],
    run: () => import('../store.ts'),
  },
  {
    name: 'compare',
    says: 'tells whether two relays serve the same, such as ld-relay and this one',
    run: () => import('../compare.ts'),
  },
  {
    name: 'preview',
    says: 'links by which testers see values of their choice',
    verbs: ['new-key', 'link'],
    run: () => import('../preview.ts'),
  },
  {
    name: 'dashboard',
    says: 'the CloudWatch dashboard as an HTML page, with sample data; rules and a dashboard for Prometheus and Grafana',
    run: () => import('../dashboard.ts'),
  },
  {
    name: 'app',
    says: 'the CDK app of a stage, for the CDK’s command line: cdk deploy --app "edge-flag-relay app"',
    run: () => import('../app.ts'),
  },
];
