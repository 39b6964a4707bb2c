import { GetParameterCommand, ParameterNotFound, type SSMClient } from '@aws-sdk/client-ssm';
import { alarmRegions } from '../../lib/infrastructure/observability/recipients.ts';
import { otherSources } from '../../lib/infrastructure/relay-contract.ts';
import type { Stage } from '../../lib/infrastructure/stages.ts';
import type { StackTemplate } from '../../lib/infrastructure/template.ts';
import { counted } from '../../relay-task/common/counted.ts';
import { environmentsPath } from '../../relay-task/environments/ssm-parameters.ts';
import { explainAwsError } from '../aws/explain.ts';
import { type OpenAws, type OpenAwsOptions, openAws } from '../aws/open.ts';
import { signIn } from '../aws/sign-in.ts';
import { bad, type Check, countOf, good, inTurns, jsonOf, note, unknown } from '../checks/check.ts';
import { type Paper, sentencesOf } from '../checks/print.ts';
import { describeFailure } from '../cli/usage.ts';
import { cdkContext, STAGES_ARE, stageOf, UnknownStageArgument } from '../stage-of.ts';
import { certificateChecks } from './certificates.ts';
import { differenceChecks, keyChecks } from './keys.ts';
import type { LookedAt } from './looked-at.ts';
import { nameChecks } from './names.ts';
import { neededChecks } from './needed.ts';
import { environmentKeyChecks } from './needed-secrets.ts';
import { networkChecks } from './networks.ts';
import { onlineChecks } from './online.ts';
import { quotaChecks } from './quotas.ts';
import { recipientChecks } from './recipients.ts';
import { type RelayView, readAsRelay } from './relay-view.ts';
import { leftChecks, stackChecks } from './stacks.ts';
import { tableChecks } from './table.ts';
import { updateChecks } from './updates.ts';
import { withoutAws, withoutReason } from './without-aws.ts';
import { zoneChecks } from './zones.ts';

export interface PreflightOptions {
  readonly stage: string;
  /** Ask AWS alone: neither LaunchDarkly about the SDK keys, nor registries about images. */
  readonly offline: boolean;
  /** Read the secrets of Secrets Manager of which tasks need a field. @default false */
  readonly fields?: boolean;
  /** LaunchDarkly's address. Default: the stage's BASE_URI, or LaunchDarkly's own. */
  readonly baseUri?: string | undefined;
  readonly json: boolean;
  readonly paper?: Paper;
  /** For tests: shorter times. */
  readonly times?: OpenAwsOptions;
  /** Stages other than those of the stage files: of a CDK app, or for tests. */
  readonly stages?: Readonly<Record<string, unknown>>;
  /** What synthesis gave, or gives. */
  readonly synthesise?: (stage: Stage) => readonly StackTemplate[];
}

/** Prints every check. Returns the exit code: 1 if anything is wrong. Rejects with UnknownStageArgument. */
export async function runPreflight(options: PreflightOptions, out: (text: string) => void): Promise<number> {
  const all: Check[] = [];
  const tell = (checks: readonly Check[]) => {
    all.push(...checks);
    if (!options.json) out(sentencesOf(checks, options.paper));
  };
  const stage = readStage(options, tell);
  if (stage) await inspect(stage, options, tell);
  const ok = countOf(all).bad === 0;
  out(options.json ? jsonOf(options.stage, all, ok) : verdictOf(all));
  return ok ? 0 : 1;
}

function verdictOf(checks: readonly Check[]): string {
  const { bad: problems, unknown: open } = countOf(checks);
  const rest = open === 0 ? '' : ` ${counted(open, 'thing')} could not be checked (?).`;
  if (problems > 0) return `\n${counted(problems, 'problem')} to fix.${rest}\n`;
  return open === 0 ? '\nReady to deploy.\n' : `\nNo problem found.${rest}\n`;
}

type Tell = (checks: readonly Check[]) => void;

function readStage({ stage, stages }: PreflightOptions, tell: Tell): Stage | undefined {
  try {
    const parsed = stageOf(stage, stages);
    tell([good('stage', stage, `stage ${stage} is valid`)]);
    return parsed;
  } catch (error) {
    if (error instanceof UnknownStageArgument) throw error;
    tell([bad('stage', stage, (error as Error).message, `correct ${STAGES_ARE}`)]);
    return undefined;
  }
}

async function inspect(stage: Stage, options: PreflightOptions, tell: Tell): Promise<void> {
  let open: OpenAws;
  try {
    open = openAws(process.env, options.times);
  } catch (error) {
    return tell([
      bad('environment', 'variables', (error as Error).message, 'correct or unset that environment variable'),
    ]);
  }
  try {
    const { account, check } = await signIn(open, stage);
    tell([check]);
    // In another account everything would seem to be missing, and keys must not be put there.
    if (account !== undefined && check.state !== 'bad') {
      return await inspectAccount({ stage, options, account, open }, tell);
    }
    const what = 'AWS was not asked: what follows could be checked without it, or is marked with ?';
    tell([unknown('credentials', stage.homeRegion, what)]);
    const without = { stage, options, account: stage.account ?? '', open: withoutAws(open) };
    await inspectAccount(without, (checks) => tell(checks.map(withoutReason)));
  } finally {
    open.close();
  }
}

interface Inspection {
  readonly stage: Stage;
  readonly options: PreflightOptions;
  readonly account: string;
  readonly open: OpenAws;
}

async function inspectAccount({ stage, options, account, open }: Inspection, tell: Tell): Promise<void> {
  const { aws, dynamoDB, ssm } = open;
  const source = otherSourceOf(stage);
  const home = source === undefined ? await tellKeys(stage, open, tell) : undefined;
  if (source !== undefined) {
    tell([note('key', source, `environments come from ${source} instead of SSM: preflight cannot look at their keys`)]);
  }
  const wanted = await synthesised(stage, options, tell);
  const { checks, ...found } = await stackChecks(stage, aws, wanted ?? []);
  tell(
    wanted
      ? checks
      : [unknown('stack', stage.name, 'not checked, since synthesis failed: stacks, updates, names, quotas')],
  );
  if (wanted) tell(await leftChecks(stage, open, wanted));
  const looked: LookedAt = { stage, aws, wanted: wanted ?? [], ...found, ...(wanted ? {} : { unseen: 'all' }) };
  tell(await updateChecks(looked));
  tell(await tableChecks(dynamoDB, looked));
  tell(await nameChecks(looked, account));
  tell(await certificateChecks(aws, stage));
  const { offline, fields = false } = options;
  tell(await neededChecks(stage, open, { account, offline, fields }));
  tell(await zoneChecks(looked));
  tell(await recipientChecks(looked));
  tell(await networkChecks(looked));
  tell(await quotaChecks(looked));
  const regions = new Set([...alarmRegions(stage), ...looked.wanted.map(({ region }) => region)]);
  tell(await bootstrapChecks(regions, stage.account ?? account, ssm));
  const baseUri = options.baseUri ?? stage.relay.variables.BASE_URI ?? 'https://sdk.launchdarkly.com';
  if (options.offline) return;
  if (source === undefined && home === undefined)
    tell([
      unknown('launchdarkly', stage.homeRegion, 'LaunchDarkly was not asked about the SDK keys: they are not known'),
    ]);
  else tell(await onlineChecks(baseUri, home?.descriptions ?? [], open));
}

/** The setting by which the relay gets its environments from elsewhere than SSM. */
function otherSourceOf({ relay }: Stage): string | undefined {
  return otherSources.find((name) => Object.hasOwn(relay.secrets, name) || Object.hasOwn(relay.variables, name));
}

async function synthesised(
  stage: Stage,
  { synthesise }: PreflightOptions,
  tell: Tell,
): Promise<readonly StackTemplate[] | undefined> {
  try {
    // The CDK takes a second to load, and an invalid stage should fail at once.
    return (synthesise ?? (await import('./templates.ts')).synthesise)(stage);
  } catch (error) {
    tell([bad('synthesis', stage.name, `the stage cannot be synthesised: ${describeFailure(error)}`)]);
    return undefined;
  }
}

/** What the home region's relay makes of its keys, if they could be read. */
async function tellKeys(stage: Stage, open: OpenAws, tell: Tell): Promise<RelayView | undefined> {
  const { homeRegion, relayRegions } = stage;
  let home: RelayView | undefined;
  for (const region of new Set([homeRegion, ...relayRegions])) {
    try {
      const view = await readAsRelay(open.ssm(region), environmentsPath(stage.name), stage);
      if (region === homeRegion) home = view;
      tell([
        ...keyChecks(stage, region, view),
        ...(home && region !== homeRegion ? differenceChecks(home, region, view) : []),
        ...(await environmentKeyChecks(stage, open, region)),
      ]);
    } catch (error) {
      tell([unknown('key', region, `cannot read the keys in ${region}`, explainAwsError(error, region))]);
    }
  }
  return home;
}

/** What the CDK's templates require, and `cdk rollback`: BOOTSTRAP_STACK_VERSION_FOR_ROLLBACK in the aws-cdk package. */
const BOOTSTRAP = { deploy: 6, rollback: 23 };

/** `cdk bootstrap` stores its version in SSM. */
function bootstrapChecks(
  regions: ReadonlySet<string>,
  account: string,
  ssm: (region: string) => SSMClient,
): Promise<Check[]> {
  const qualifier = cdkContext()['@aws-cdk/core:bootstrapQualifier'] ?? 'hnb659fds';
  const adviceFor = (region: string) => `npx cdk bootstrap aws://${account}/${region}`;
  return inTurns(
    regions,
    async (region) => {
      const Name = `/cdk-bootstrap/${qualifier}/version`;
      const { Parameter } = await ssm(region).send(new GetParameterCommand({ Name }));
      const version = Number(Parameter?.Value);
      const what = `${region} is bootstrapped for the CDK`;
      if (version >= BOOTSTRAP.rollback) return [good('bootstrap', region, `${what} (version ${version})`)];
      if (version >= BOOTSTRAP.deploy) {
        const old = `${what} by version ${version}: a failed update could not be undone by cdk rollback, which needs version ${BOOTSTRAP.rollback}`;
        return [note('bootstrap', region, old, adviceFor(region))];
      }
      const found = Parameter?.Value ?? '';
      const old = `${what} by version ${JSON.stringify(found)}, and the CDK needs version ${BOOTSTRAP.deploy} or later`;
      return [bad('bootstrap', region, old, adviceFor(region))];
    },
    (region, error) =>
      error instanceof ParameterNotFound
        ? bad('bootstrap', region, `${region} is not bootstrapped for the CDK`, adviceFor(region))
        : unknown(
            'bootstrap',
            region,
            `cannot tell whether ${region} is bootstrapped for the CDK`,
            explainAwsError(error, region),
          ),
  );
}
