/** Stages, synthesised in this process as the CDK's command line would: with `cdk.json`'s context, once per stage. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { App, type Stack, Validations } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import { readStage } from '../../lib/infrastructure/parse-stage.ts';
import { RelayStage } from '../../lib/infrastructure/relay-stage.ts';
import type { StageSettings } from '../../lib/infrastructure/stage-settings.ts';
import { stages } from '../../lib/infrastructure/stages.ts';

export const cdkContext: Record<string, unknown> = JSON.parse(
  readFileSync(join(import.meta.dirname, '../../cdk.json'), 'utf8'),
).context;

// No test reads where a construct was created, and recording it takes a tenth of a synthesis.
process.env.CDK_DISABLE_STACK_TRACE = '1';

const directories: string[] = [];
process.once('exit', () => {
  for (const directory of directories) rmSync(directory, { recursive: true, force: true });
});

/** An app that writes to its own directory and does not run AWS's validator, which has its own suite. */
export function createApp(options: { readonly validated?: boolean } = {}): App {
  const outdir = mkdtempSync(join(tmpdir(), 'cdk-out-'));
  directories.push(outdir);
  return new App({
    outdir,
    context: cdkContext,
    builtinCloudFormationValidation: options.validated ?? false,
    analyticsReporting: false,
  });
}

export interface Synthesised {
  readonly stage: RelayStage;
  readonly outdir: string;
  /** By construct id: Network, Data, Relay, Edge, Region-eu-west-1 and so on. */
  readonly template: (id: string) => Template;
  readonly stacks: readonly Stack[];
  /** A stack's asset manifest. */
  readonly assets: (artifactId: string) => AssetManifest;
}

interface AssetManifest {
  readonly files: Readonly<Record<string, { readonly source: { readonly path: string } }>>;
  readonly dockerImages?: Readonly<Record<string, { readonly source: Readonly<Record<string, unknown>> }>>;
}

/** Synthesises a stage: `raw` is the content of its file. */
export function synthesise(name: string, raw: unknown, app: App = createApp()): Synthesised {
  const reason = 'the stage as shipped, which is right for a first deployment';
  Validations.of(app).acknowledge({ id: 'Annotation::edge-flag-relay:notProtected', reason });
  const stage = new RelayStage(app, name, readStage(name, raw));
  app.synth();
  const stacks = stage.node.children as Stack[];
  const templates = new Map<string, Template>();
  return {
    stage,
    outdir: app.outdir,
    stacks,
    assets: (artifactId) =>
      JSON.parse(readFileSync(join(app.outdir, `assembly-${name}`, `${artifactId}.assets.json`), 'utf8')),
    template: (id) => {
      const stack = stage.node.findChild(id) as Stack;
      const known = templates.get(id) ?? Template.fromStack(stack);
      templates.set(id, known);
      return known;
    },
  };
}

const real = JSON.parse(JSON.stringify(stages).replaceAll('111122223333', '123456789012')) as typeof shipped;
/** The stages in the repository, production with a real account number and somebody to notify, so that there is no warning. */
export const shipped: Readonly<Record<'dev' | 'prod', StageSettings>> = {
  ...real,
  prod: { ...real.prod, alarms: { emails: ['team@example.com'] } },
};

const arn = (region: string, last: string) =>
  `arn:aws:acm:${region}:123456789012:certificate/12345678-1234-1234-1234-${last.padStart(12, '0')}`;

/** A stage with every feature enabled. */
export const full: StageSettings = {
  account: '123456789012',
  homeRegion: 'eu-west-1',
  replicaRegions: ['us-east-1', 'ap-northeast-1', 'us-west-2'],
  relayRegions: ['us-west-2'],
  tableName: 'flags',
  production: true,
  protected: true,
  environments: ['production', 'staging'],
  networks: {
    'us-west-2': {
      vpc: {
        vpcId: 'vpc-0123456789abcdef0',
        cidr: '10.20.0.0/16',
        zones: ['us-west-2a', 'us-west-2b'],
        privateSubnetIds: ['subnet-0123456789abcdef0', 'subnet-0123456789abcdef1'],
        publicSubnetIds: ['subnet-0123456789abcdef2', 'subnet-0123456789abcdef3'],
      },
    },
  },
  relay: {
    certificates: { 'eu-west-1': arn('eu-west-1', '1'), 'us-west-2': arn('us-west-2', '2') },
    allowedCidrs: ['10.0.0.0/8'],
    drain: 'gentle',
    expectedStreams: 20_000,
    reservedCapacityUnits: 100,
    architecture: 'x86_64',
    hostName: 'relay.example.com',
    image: '123456789012.dkr.ecr.eu-west-1.amazonaws.com/relay:1.2.3',
    publicAccess: { requestsPerFiveMinutes: 1_000, paths: ['/own/*'] },
    variables: { BASE_URI: 'https://sdk.eu.launchdarkly.com' },
    secrets: { AUTO_CONFIG_KEY: '/mine/auto-config-key' },
    encryptionKeys: { 'eu-west-1': 'arn:aws:kms:eu-west-1:123456789012:key/12345678-1234-1234-1234-123456789012' },
    eventsSpool: { maxMiB: 512 },
    redeploy: '2026-11-22',
  },
  redis: { serverless: {} },
  edge: {
    prefix: 'production',
    flagKey: 'new-site',
    origins: { old: { domainName: 'old.example.com', path: '/v1' }, new: { domainName: 'new.example.com' } },
    defaultVariant: 'old',
    viewer: {
      ids: [{ header: 'x-user-id' }, 'cookie'],
      without: 'address',
      consent: { cookie: 'consent' },
      epoch: '2',
    },
    cookieName: 'shop-viewer',
    cookieDomain: 'example.com',
    cookieSameSite: 'Strict',
    cookieHttpOnly: false,
    otherOrigins: {
      api: { domainName: 'api.example.com', port: 8443, headers: { 'x-origin-key': 'abc' }, connectionAttempts: 2 },
      assets: { bucket: 'shop-assets', region: 'eu-west-1', path: '/public' },
      sorry: { bucket: 'shop-sorry', region: 'eu-west-1' },
    },
    behaviors: [
      { path: '/api/*', origin: 'api', caching: 'none', forward: 'all' },
      { path: '/assets/*', origin: 'assets' },
      { path: '/pages/*', caching: { defaultSeconds: 60 }, fallback: { origin: 'sorry' } },
      { path: '/live/*', caching: 'none', forward: { headers: ['origin'], cookies: ['session'] } },
    ],
    domainNames: ['www.example.com'],
    certificateArn: arn('us-east-1', '3'),
    reader: { refreshMs: 5_000 },
    heartbeatFlag: 'relay-heartbeat',
    exposures: { environment: 'production', indexEvents: false },
  },
  alarms: {
    emails: ['team@example.com'],
    pageEmails: ['oncall@example.com'],
    topics: ['arn:aws:sns:us-west-2:123456789012:chat'],
    pageTopics: ['arn:aws:sns:us-west-2:123456789012:incidents'],
    thresholds: { 'deployment-5xx': 20, cpu: 75, 'distribution-5xx': 8, 'edge-old-data': 90 },
  },
  tags: { team: 'platform' },
};
